"""The commands that ask a fitted model about single rows: anomalies, impute, predict."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.cli.model_commands import answer_table
from pushforward.cli.terminal import say
from pushforward.errors import InputError
from pushforward.scale.over_pieces import Place, seed_at
from pushforward.tables.anomalies import find_anomalies, usual_among
from pushforward.tables.answers import answers_or_refused
from pushforward.tables.cells import Cells
from pushforward.tables.imputation import filled_with_means
from pushforward.tables.in_pieces.pieces import Pieces
from pushforward.tables.model_cells import repeated_rows
from pushforward.tables.table_model import TableModel

if TYPE_CHECKING:
    import polars as pl

MOST_SHOWN = 10
ADDED = ("log_prob", "score", "p_value", "anomaly", "column", "why")


def anomalies_command(
    path: Path, data: str, *, level: float, columns: str, reference: str | None, out: Path | None, shard: str,
    overwrite: bool,
) -> None:  # fmt: skip
    """Write a table with what is unusual about each row appended, and print the most unusual rows."""
    model = TableModel.load(path)
    usual = usual_among(model.law, reference) if reference else None
    num, least, unusual = 0, 1.0, list[tuple[float, str]]()

    def answer(cells: Cells, place: Place) -> "tuple[pl.DataFrame, Cells]":
        nonlocal num, least, unusual
        if taken := [name for name in ADDED if name in cells.columns]:
            raise InputError(f'{data}: has a column "{taken[0]}" already, which anomalies would append (rename it)')
        found = find_anomalies(model.law, cells, level=level, columns=columns or None, reference=usual)
        num, least = num + int(found["anomaly"].sum()), min([least, *found["p_value"].to_list()])
        some = found.with_row_index("row", offset=1).filter("anomaly").sort("score", descending=True).head(MOST_SHOWN)
        unusual += [
            (row["score"], f"  {cells.place(row['row'])}, p {row['p_value']:.2g}: {row['why']}")
            for row in some.iter_rows(named=True)
        ]
        unusual = sorted(unusual, key=lambda one: -one[0])[:MOST_SHOWN]
        return found, cells

    out, done = answer_table(
        model, path, data, answer, called="anomalies", out=out, shard=shard, overwrite=overwrite,
        level=level, columns=columns, reference=Pieces(reference).identity if reference else None,
    )  # fmt: skip
    say(f"{out}: {done.rows:,} rows, {num:,} of them anomalies at level {level:g}{done.in_words}")
    if done.rows and least > level:
        say(f"the least p-value is {least:.2g}: fewer held-out rows tell no smaller one (--level, or --reference)")
    for _, line in unusual:
        say(line)
    if num > MOST_SHOWN:
        say(f"  and {num - MOST_SHOWN:,} more")


def impute_command(
    path: Path, data: str, *, num: int, mean: bool, out: Path | None, seed: int, shard: str, overwrite: bool
) -> None:
    """Write a table with its missing cells filled in given the others; whatever else it holds stays as it is."""
    if num < 1:
        raise InputError(f"--num must be at least 1; got {num}")
    if mean and num > 1:
        raise InputError("--mean fills each cell in one way (leave --num out)")
    model, gaps = TableModel.load(path), 0
    answers = answers_or_refused(model.law.answers)

    def answer(cells: Cells, place: Place) -> "tuple[pl.DataFrame, Cells]":
        nonlocal gaps
        values = answers.read(cells)
        filled = (
            filled_with_means(answers, values, every=place.many)
            if mean
            else answers.fill(values, num, seed=seed_at(seed, place))
        )
        ends = filled.select(
            answers.written_out({name.rpartition("_")[0]: filled[name]})[name.rpartition("_")[0]].alias(name)
            for name in filled.columns
            if name not in values.columns
        )
        filled = answers.written(filled.select(values.columns))
        result, more = _filled_in(repeated_rows(cells.frame, num), repeated_rows(values, num), filled, place.many)
        gaps += more
        return ends, replace(cells, frame=result)

    out, done = answer_table(
        model, path, data, answer, called="imputed", out=out, shard=shard, overwrite=overwrite,
        num=num, mean=mean, seed=seed,
    )  # fmt: skip
    draws = f", {num} draws of each row" * (num > 1)
    say(f"{out}: {num * done.rows:,} rows, {gaps:,} missing cells filled in{draws}{done.in_words}")


def _filled_in(
    table: "pl.DataFrame", values: "pl.DataFrame", filled: "pl.DataFrame", alike: bool
) -> "tuple[pl.DataFrame, int]":
    """Return a table as it stands with the cells that have no value taken from another, and how many these are.

    `alike` gives columns the other's types whether a cell is missing or not.
    """
    import polars as pl

    columns, gaps = [], 0
    for cells in table:
        if cells.name in values.columns and ((missing := values[cells.name].is_null()).any() or alike):
            new = filled[cells.name]
            new = new.cast(cells.dtype if cells.dtype == pl.String else new.dtype)
            old = cells if cells.dtype == pl.String else values[cells.name].cast(new.dtype)
            cells = pl.select(pl.when(missing).then(new).otherwise(old).alias(cells.name)).to_series()
            gaps += int(missing.sum())
        columns.append(cells)
    return pl.DataFrame(columns), gaps


def predict_command(path: Path, data: str, *, column: str, out: Path | None, shard: str, overwrite: bool) -> None:
    """Write a table with the law of one column given all others appended."""
    model = TableModel.load(path)
    answers = answers_or_refused(model.law.answers)

    def answer(cells: Cells, place: Place) -> "tuple[pl.DataFrame, Cells]":
        law = answers.predict(cells, column)
        named = {name: name if name.startswith("P(") else f"{column}_{name}" for name in law.columns if name != column}
        return law.rename({column: f"{column}_predicted", **named} if column in law.columns else named), cells

    out, done = answer_table(
        model, path, data, answer, called="predictions", out=out, shard=shard, overwrite=overwrite, column=column
    )
    say(f"{out}: {done.rows:,} rows with the law of {column} given their other cells{done.in_words}")
