"""A table as it was read: every cell as it stands, of whatever kind, nothing demanded of any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.columns import Table

Numbers = Callable[["Cells", "str | Sequence[str] | None", "str | Sequence[str]"], "Table"]


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows and columns of a source that is a table, with unique names.

    Attributes:
        frame: The cells: text where the source was text, null where a cell is empty; else of the source's types.
        source: Where the rows came from, for messages.
        to_numbers: What makes a table of numbers of them; raises for the first cell that is none.
        named: False where the source had no names and the columns are called x1, x2, ...
        kind: As `Table.kind`.
        delimiter: What separates the cells of a text; None for anything else.
        notes: What was taken for what where a file left a choice, one line each.
        place: Given a row counted from 1, says where it is.
        array: The source itself where it was an array.
    """

    frame: "pl.DataFrame"
    source: str
    to_numbers: Numbers
    named: bool = True
    kind: str = "polars"
    delimiter: str | None = None
    notes: tuple[str, ...] = ()
    place: Callable[[int], str] = "row {}".format
    array: np.ndarray | None = None

    def numbers(self, columns: Any = None, drop: Any = ()) -> "Table":
        """Return columns as numbers: `columns`, all by default, but for those to drop.

        Raises:
            InputError: If a column is missing, or there are no rows.
            TableProblems: If a cell of them is no finite number.
        """
        return self.to_numbers(self, columns, drop)
