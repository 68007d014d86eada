"""What the report of a fitted table says, gathered from the fit."""

from typing import TYPE_CHECKING

from pushforward.report.table_report import TableReport
from pushforward.tables.findings import findings_of
from pushforward.tables.table_fit import TableFit

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.flow_law import FlowLaw


def report_of(fitted: TableFit, law: "FlowLaw", samples: "pl.DataFrame", *, command: str = "") -> TableReport:
    """Return the content of the report; what has not been measured yet is measured.

    Args:
        fitted: The fit.
        law: The law that it made.
        samples: Rows of all columns, drawn at the contexts of test rows where there are any.
        command: The command line that fitted the table; may be empty.
    """
    import polars as pl

    schema, split, evaluation = fitted.schema, fitted.split, fitted.evaluation
    return TableReport(
        source=fitted.source,
        columns=schema.modelled,
        context=schema.context,
        num_rows=fitted.num_rows,
        recipe=fitted.recipe,
        seed=fitted.seed,
        command=command,
        flow=fitted.flow,
        history=fitted.history,
        warnings=fitted.warnings,
        held_out=split.held_out,
        x=split.test.x,
        samples=samples.select(schema.modelled).to_torch(dtype=pl.Float64),
        nll=evaluation.nll,
        baselines=fitted.baselines,
        verdict=fitted.verdict,
        log_scale=fitted.log_scale,
        latent=evaluation.latent,
        round_trip=evaluation.round_trip,
        entropy=evaluation.entropy,
        excess=evaluation.excess,
        seconds=fitted.seconds,
        findings=findings_of(law, fitted, samples),
    )
