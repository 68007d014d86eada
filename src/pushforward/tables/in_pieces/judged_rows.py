"""Which rows of a long table break a rule that its sample kept: counted, and one of each kind named."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pushforward.tables.cells import Cells
from pushforward.tables.column_kinds import ReadColumn
from pushforward.tables.columns import choose, quoted
from pushforward.tables.rows_of_model import HasKind, values_of, what_it_is
from pushforward.training.data.stream import LeftOut

if TYPE_CHECKING:
    import polars as pl

LARGEST = float(np.finfo(np.float32).max)


class Rules:
    """What holds for every row of a sample, by column.

    Attributes:
        columns: The columns by name.
        values: The sample's values, as `JudgedRows` gives them.
        whole: Columns without a missing cell.
        small: Columns of numbers that are all within what float32 holds.
        categories: What categories there are, by column.
    """

    def __init__(self, columns: Sequence[ReadColumn]) -> None:
        import polars as pl

        self.columns: dict[str, ReadColumn] = {one.name: one for one in columns}
        self.values = pl.DataFrame([one.values.alias(one.name) for one in columns]).with_columns(
            pl.col(pl.Categorical, pl.Enum).cast(pl.String)
        )
        self.whole = [one.name for one in columns if not one.values.null_count()]
        self.categories = {
            one.name: one.values.drop_nulls().cast(pl.String).unique() for one in columns if one.kind.name == "category"
        }
        floats = [one for one in columns if one.values.dtype.is_float()]
        self.small = [one.name for one in floats if not (one.values.abs() > LARGEST).any()]

    def names_in(self, cells: Cells) -> list[str]:
        """Return the columns of a table, as they are called there, that are needed."""
        positions = choose(cells.columns, list(self.columns), source=cells.source, named=cells.named)
        return [cells.columns[position] for position in positions]


class JudgedRows:
    """Some rows of a table, and which of them are left out.

    That are rows with a cell that is no value of its column's kind, is missing where no cell of the sample is, is a
    number beyond float32 where none of the sample's is, or a category that the sample never had.

    Args:
        cells: They.
        held: Positions of rows that are left out for another reason, about which nothing is said.
    """

    def __init__(self, cells: Cells, held: np.ndarray) -> None:
        self._cells = cells
        self._out = np.zeros(cells.frame.height, dtype=bool)
        self._out[held] = True
        self.left_out: LeftOut = {}

    def judged(self, rules: Rules, *, missing: Collection[str]) -> "pl.DataFrame":
        """Return the values of the rows that are not left out.

        Args:
            rules: What every row of the sample keeps.
            missing: Words for missing cells besides the usual ones.

        Raises:
            InputError: If the columns are others, or one has nothing of its kind.
        """
        import polars as pl

        values = values_of(self._cells, rules.columns, list(rules.columns), missing=missing, refuse=self._refuse)
        for name in rules.whole:
            if values[name].null_count():
                self._leave_out(values[name].is_null(), name, "is missing, as in no row of the sample")
        for name in rules.small:
            if values[name].dtype.is_float():
                self._leave_out(values[name].abs() > LARGEST, name, "is beyond 3.4e38, as in no row of the sample")
        for name, known in rules.categories.items():
            new = ~values[name].cast(pl.String).is_in(known.implode())
            self._leave_out(new, name, "is a category that the sample never had")
        return values.filter(~self._out)

    def _leave_out(self, which: "pl.Series", name: str, what: str) -> None:
        """Leave rows out because of what a column holds there."""
        rows = which.fill_null(False).to_numpy() & ~self._out
        if not rows.any():
            return
        first = int(rows.argmax())
        cell = self._cells.frame[name][first] if name in self._cells.columns else None
        said = "" if cell is None else f"{quoted(cell) if isinstance(cell, str) else cell} in "
        place = f"{said}{self._cells.place(first + 1)}"
        self.left_out[f'column "{name}" {what}'] = [int(rows.sum()), place]
        self._out |= rows

    def _refuse(self, bad: "pl.Series", cells: "pl.Series", column: HasKind, table: Cells) -> None:
        """Leave out rows where a cell is no value of its column's kind; see `values_of`."""
        self._leave_out(bad, column.name, f"is no {what_it_is(column)}")


def in_words(left_out: LeftOut, num_read: int) -> list[str]:
    """Say which rows were left out, of so many that were read."""
    return [
        f"{number:,} of the {num_read:,} rows read were left out of the training: {what} (such as {example})"
        for what, (number, example) in left_out.items()
    ]
