"""The commands that ask a fitted model about single rows: anomalies, impute, predict."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.cli.model_commands import beside, say_left_out
from pushforward.cli.terminal import say
from pushforward.errors import InputError
from pushforward.tables import write_table
from pushforward.tables.anomalies import find_anomalies
from pushforward.tables.answers import Answers, answers_or_refused
from pushforward.tables.built_in_data import rows_to_score
from pushforward.tables.cells import Cells
from pushforward.tables.from_anything import read_cells
from pushforward.tables.imputation import filled_with_means
from pushforward.tables.model_cells import repeated_rows
from pushforward.tables.table_model import TableModel

if TYPE_CHECKING:
    import polars as pl

MOST_SHOWN = 10
ADDED = ("log_prob", "score", "p_value", "anomaly", "column", "why")


def anomalies_command(
    path: Path, data: str, *, level: float, columns: str, reference: str | None, out: Path | None, overwrite: bool
) -> None:
    """Write a table with what is unusual about each row appended, and print the most unusual rows."""
    out = beside(out, "anomalies", data, overwrite)
    model, table, _ = _opened(path, data)
    if taken := [name for name in ADDED if name in table.columns]:
        raise InputError(f'{data}: has a column "{taken[0]}" already, which anomalies would append (rename it)')
    found = find_anomalies(model.law, table, level=level, columns=columns or None, reference=reference)
    write_table(out, found.columns, found, like=table)
    num, least = int(found["anomaly"].sum()), min(found["p_value"].to_list(), default=0.0)
    say(f"{out}: {found.height:,} rows, {num:,} of them anomalies at level {level:g}")
    if least > level:
        say(f"the least p-value is {least:.2g}: fewer held-out rows tell no smaller one (--level, or --reference)")
    unusual = found.with_row_index("row", offset=1).filter("anomaly").sort("score", descending=True)
    for row in unusual.head(MOST_SHOWN).iter_rows(named=True):
        say(f"  row {row['row']:,}, p {row['p_value']:.2g}: {row['why']}")
    if num > MOST_SHOWN:
        say(f"  and {num - MOST_SHOWN:,} more")


def impute_command(
    path: Path, data: str, *, num: int, mean: bool, out: Path | None, seed: int, overwrite: bool
) -> None:
    """Write a table with its missing cells filled in given the others; whatever else it holds stays as it is."""
    if num < 1:
        raise InputError(f"--num must be at least 1; got {num}")
    if mean and num > 1:
        raise InputError("--mean fills each cell in one way (leave --num out)")
    out = beside(out, "imputed", data, overwrite)
    _, table, answers = _opened(path, data)
    values = answers.read(table)
    filled = filled_with_means(answers, values) if mean else answers.fill(values, num, seed=seed)
    ends = filled.select(
        answers.written_out({name.rpartition("_")[0]: filled[name]})[name.rpartition("_")[0]].alias(name)
        for name in filled.columns
        if name not in values.columns
    )
    filled = answers.written(filled.select(values.columns))
    result, gaps = _filled_in(repeated_rows(table.frame, num), repeated_rows(values, num), filled)
    write_table(out, ends.columns, ends, like=replace(table, frame=result))
    say(f"{out}: {result.height:,} rows, {gaps:,} missing cells filled in" + (f", {num} draws of each row" * (num > 1)))


def _filled_in(table: "pl.DataFrame", values: "pl.DataFrame", filled: "pl.DataFrame") -> "tuple[pl.DataFrame, int]":
    """Return a table as it stands with the cells that have no value taken from another, and how many these are."""
    import polars as pl

    columns, gaps = [], 0
    for cells in table:
        if cells.name in values.columns and (missing := values[cells.name].is_null()).any():
            new = filled[cells.name]
            new = new.cast(cells.dtype if cells.dtype == pl.String else new.dtype)
            old = cells if cells.dtype == pl.String else values[cells.name].cast(new.dtype)
            cells = pl.select(pl.when(missing).then(new).otherwise(old).alias(cells.name)).to_series()
            gaps += int(missing.sum())
        columns.append(cells)
    return pl.DataFrame(columns), gaps


def predict_command(path: Path, data: str, *, column: str, out: Path | None, overwrite: bool) -> None:
    """Write a table with the law of one column given all others appended."""
    out = beside(out, "predictions", data, overwrite)
    _, table, answers = _opened(path, data)
    law = answers.predict(table, column)
    named = {name: name if name.startswith("P(") else f"{column}_{name}" for name in law.columns if name != column}
    law = law.rename({column: f"{column}_predicted", **named} if column in law.columns else named)
    write_table(out, law.columns, law, like=table)
    say(f"{out}: {law.height:,} rows with the law of {column} given their other cells")


def _opened(path: Path, data: str) -> tuple[TableModel, Cells, Answers]:
    """Return a model, a table as it stands, and what answers questions."""
    model = TableModel.load(path)
    answers = answers_or_refused(model.law.answers)
    table = read_cells(rows_to_score(data)[0])
    say_left_out(table, model.schema.columns)
    return model, table, answers
