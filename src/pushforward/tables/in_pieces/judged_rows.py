"""Which rows of a long table break a rule that its sample kept: counted, and one of each kind named."""

from typing import TYPE_CHECKING

import numpy as np

from pushforward.tables.cells import Cells
from pushforward.tables.columns import quoted
from pushforward.tables.rows_of_model import HasKind, what_it_is
from pushforward.training.data.stream import LeftOut

if TYPE_CHECKING:
    import polars as pl


class JudgedRows:
    """Some rows of a table, and which of them are left out.

    Args:
        cells: They.
        held: Positions of rows that are left out for another reason, about which nothing is said.
        file: What is added to the place of a row.
    """

    def __init__(self, cells: Cells, held: np.ndarray, file: str) -> None:
        self._cells, self._file = cells, file
        self.out = np.zeros(cells.frame.height, dtype=bool)
        self.out[held] = True
        self.left_out: LeftOut = {}

    def leave_out(self, rows: np.ndarray, name: str, what: str) -> None:
        """Leave rows out, (n,) of them true, because of what a column holds there."""
        rows = rows & ~self.out
        if not rows.any():
            return
        first = int(rows.argmax())
        cell = self._cells.frame[name][first] if name in self._cells.columns else None
        said = "" if cell is None else f"{quoted(cell) if isinstance(cell, str) else cell} in "
        self.left_out[f'column "{name}" {what}'] = [
            int(rows.sum()),
            f"{said}{self._cells.place(first + 1)}{self._file}",
        ]
        self.out |= rows

    def refuse(self, bad: "pl.Series", cells: "pl.Series", column: HasKind, table: Cells) -> None:
        """Leave out rows where a cell is no value of its column's kind; see `values_of`."""
        self.leave_out(bad.to_numpy(), column.name, f"is no {what_it_is(column)}")

    def require(self, name: str, values: "pl.Series") -> None:
        """Leave out rows where a column's cell is missing."""
        if values.null_count():
            self.leave_out(values.is_null().to_numpy(), name, "is missing, as in no row of the sample")

    def know(self, name: str, rows: np.ndarray) -> None:
        """Leave out rows, by their positions, where a column's category is unknown."""
        unknown = np.zeros(len(self.out), dtype=bool)
        unknown[rows] = True
        self.leave_out(unknown, name, "is a category that the sample never had")


def in_words(left_out: LeftOut, rows: int) -> list[str]:
    """Say which rows were left out.

    Args:
        left_out: They.
        rows: How many train.
    """
    return [
        f"{number:,} of {rows:,} rows were left out of the training: {what} (such as {example})"
        for what, (number, example) in left_out.items()
    ]
