"""What the report of a fitted table says, gathered from the fit."""

import numpy as np
import torch

from pushforward.report.table_report import TableReport
from pushforward.tables.table_fit import TableFit


def report_of(fitted: TableFit, samples: np.ndarray, *, command: str = "") -> TableReport:
    """Return the content of the report; what has not been measured yet is measured.

    Args:
        fitted: The fit.
        samples: (rows, all columns in the table's order), drawn at the contexts of test rows where there are any.
        command: The command line that fitted the table; may be empty.
    """
    schema, split, evaluation = fitted.schema, fitted.split, fitted.evaluation
    modelled = [schema.columns.index(name) for name in schema.modelled]
    return TableReport(
        source=fitted.source,
        columns=schema.modelled,
        context=schema.context,
        num_rows={
            "training": len(split.train),
            "validation": len(split.validation) if split.validation else 0,
            "held out": len(split.test) if split.held_out else 0,
        },
        recipe=fitted.recipe,
        seed=fitted.seed,
        command=command,
        flow=fitted.flow,
        history=fitted.history,
        warnings=fitted.warnings,
        held_out=split.held_out,
        x=split.test.x,
        samples=torch.from_numpy(samples[:, modelled]),
        nll=evaluation.nll,
        baselines=fitted.baselines,
        verdict=fitted.verdict,
        log_scale=fitted.log_scale,
        latent=evaluation.latent,
        round_trip=evaluation.round_trip,
        entropy=evaluation.entropy,
        excess=evaluation.excess,
        seconds=fitted.seconds,
    )
