"""What the commands ask a model about the rows of a table, in a form that goes to other processes."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pushforward.errors import InputError
from pushforward.scale.over_pieces import Answered, Place
from pushforward.tables.anomalies import find_anomalies, usual_among
from pushforward.tables.answers import answers_or_refused
from pushforward.tables.cells import Cells
from pushforward.tables.imputation import filled_with_means
from pushforward.tables.in_pieces.pieces import Pieces
from pushforward.tables.model_cells import repeated_rows
from pushforward.tables.sample_blocks import seed_at
from pushforward.tables.table_model import TableModel

if TYPE_CHECKING:
    import polars as pl

MOST_SHOWN = 10
ADDED = ("log_prob", "score", "p_value", "anomaly", "column", "why")


class Question:
    """A question about rows. Pickled it is its arguments: every process reads the model by itself.

    Args:
        path: The model file, or the folder of a fit.
        **options: What decides the answers besides.

    Attributes:
        called: Its name, and that of the file of answers.
    """

    called: ClassVar[str]

    def __init__(self, path: Path, **options: Any) -> None:
        self.path, self.options = path, options
        self.model = TableModel.load(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.path, **self.options), ()

    @property
    def record(self) -> dict[str, Any]:
        """What decides the answers besides the model, as plain values."""
        return self.options

    def __call__(self, cells: Cells, place: Place) -> Answered:
        """Answer rows."""
        raise NotImplementedError


class LogProb(Question):
    """How probable each row is; told: the sum of the log_prob, and the number of rows outside the support."""

    called = "scores"

    def __call__(self, cells: Cells, place: Place) -> Answered:  # noqa: D102
        import polars as pl

        table = self.model.law.table_of(cells)
        log_prob = self.model.log_prob(table)
        told = (float(log_prob.sum()), int(np.isneginf(log_prob).sum()))
        return Answered(pl.DataFrame({"log_prob": log_prob}), table, told)


class Anomalies(Question):
    """What is unusual about each row; told: how many are, the least p-value, and the most unusual rows in words.

    Args:
        path: The model.
        level: Of p-values up to which a row is an anomaly.
        columns: Those whose cells may be to blame; "" for all.
        reference: File of rows to compare with; None for those held out.
    """

    called = "anomalies"

    def __init__(self, path: Path, *, level: float, columns: str, reference: str | None) -> None:
        super().__init__(path, level=level, columns=columns, reference=reference)
        self._usual = usual_among(self.model.law, reference) if reference else None

    @property
    def record(self) -> dict[str, Any]:  # noqa: D102
        reference = self.options["reference"]
        return {**self.options, "reference": Pieces(reference).identity if reference else None}

    def __call__(self, cells: Cells, place: Place) -> Answered:  # noqa: D102
        if taken := [name for name in ADDED if name in cells.columns]:
            raise InputError(
                f'{cells.source}: has a column "{taken[0]}" already, which anomalies would append (rename it)'
            )
        level, columns = self.options["level"], self.options["columns"] or None
        found = find_anomalies(self.model.law, cells, level=level, columns=columns, reference=self._usual)
        some = found.with_row_index("row", offset=1).filter("anomaly").sort("score", descending=True).head(MOST_SHOWN)
        unusual = [
            (row["score"], f"  {cells.place(row['row'])}, p {row['p_value']:.2g}: {row['why']}")
            for row in some.iter_rows(named=True)
        ]
        told = (int(found["anomaly"].sum()), min([1.0, *found["p_value"].to_list()]), unusual)
        return Answered(found, cells, told)


class Imputation(Question):
    """A table with its missing cells filled in; told: how many these were.

    Args:
        path: The model.
        num: Draws of each row.
        mean: Fill in what is expected instead.
        seed: Decides the draws.
    """

    called = "imputed"

    def __init__(self, path: Path, *, num: int, mean: bool, seed: int) -> None:
        super().__init__(path, num=num, mean=mean, seed=seed)
        self._answers = answers_or_refused(self.model.law.answers)

    def __call__(self, cells: Cells, place: Place) -> Answered:  # noqa: D102
        answers, num = self._answers, self.options["num"]
        values = answers.read(cells)
        filled = (
            filled_with_means(answers, values, every=place.many)
            if self.options["mean"]
            else answers.fill(values, num, seed=seed_at(self.options["seed"], place.piece, place.batch))
        )
        ends = filled.select(
            answers.written_out({name.rpartition("_")[0]: filled[name]})[name.rpartition("_")[0]].alias(name)
            for name in filled.columns
            if name not in values.columns
        )
        filled = answers.written(filled.select(values.columns))
        result, gaps = _filled_in(repeated_rows(cells.frame, num), repeated_rows(values, num), filled, place.many)
        return Answered(ends, replace(cells, frame=result), gaps)


class Prediction(Question):
    """The law of one column given all others.

    Args:
        path: The model.
        column: The column.
    """

    called = "predictions"

    def __init__(self, path: Path, *, column: str) -> None:
        super().__init__(path, column=column)
        self._answers = answers_or_refused(self.model.law.answers)

    def __call__(self, cells: Cells, place: Place) -> Answered:  # noqa: D102
        column = self.options["column"]
        law = self._answers.predict(cells, column)
        named = {name: name if name.startswith("P(") else f"{column}_{name}" for name in law.columns if name != column}
        if column in law.columns:
            named[column] = f"{column}_predicted"
        return Answered(law.rename(named), cells)


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
