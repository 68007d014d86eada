"""What the report of a fitted table of mixed columns says, gathered from the fit."""

import os
from typing import TYPE_CHECKING

import numpy as np

from pushforward.flows.in_words import num_parameters
from pushforward.report.row_report import ColumnFacts, RowReport, write
from pushforward.tables.calibration import integral_transforms
from pushforward.tables.column_kind import NUMBERS
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.findings import findings_of
from pushforward.tables.number_cells import from_numbers

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.fitted_columns import FittedColumn
    from pushforward.tables.row_fit import RowFit


def write_row_report(
    fitted: "RowFit", samples: "pl.DataFrame", path: str | os.PathLike[str], *, command: str = ""
) -> None:
    """Write the page about a fit; what has not been measured yet is measured."""
    law, evaluation = fitted.law, fitted.evaluation
    columns = law.answers.fitted
    report = RowReport(
        source=fitted.source,
        columns=[
            ColumnFacts(
                one.name, one.role, one.kind, one.why, range_in_words(columns[one.name]), one.missing,
                evaluation.columns.get(one.name),
            )
            for one in law.columns
        ],
        left_out={one.name: one.why for one in fitted.table.left_out},
        num_rows=fitted.num_rows,
        seed=fitted.seed,
        command=command,
        num_parameters=(num_parameters(law.joint), num_parameters(law.answers.questions)),
        histories={"the joint": fitted.history, "questions": fitted.questions},
        warnings=fitted.warnings,
        held_out=fitted.split.held_out,
        scores={"this model": evaluation.nll, **fitted.baselines},
        verdict=fitted.verdict,
        seconds=fitted.seconds,
        findings=findings_of(law, fitted, samples, integral_transforms(law.joint, law.answers, fitted.split.test)),
    )  # fmt: skip
    write(report, path)


def range_in_words(column: "FittedColumn") -> str:
    """Return the ends of a column of numbers, dates or times, or how many categories it has."""
    one = column.encoder
    if not isinstance(one, NumberEncoder):
        return f"{one.num_codes:,} values"
    if one.kind in NUMBERS:
        low, high = one.ends
        return f"{low:.6g} to {high:.6g}"
    low, high = from_numbers(one.kind, np.array([one.low, one.high])).to_list()
    return f"{low} to {high}"
