"""From categories to codes, and back."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pushforward.rows.cells import Places
from pushforward.tables.encoded import Encoded

if TYPE_CHECKING:
    import polars as pl

MOST_OTHER = 0.5  # probability at most of a category that the table never had


@dataclass(frozen=True)
class CategoryEncoder:
    """A column of categories, each a code.

    Attributes:
        kind: "category" or "boolean".
        values: The categories, as they stand in the table.
        other: Probability of any other value, whatever the rest of the row.
    """

    kind: str
    values: tuple[Any, ...]
    other: float = 0.0
    is_number: ClassVar[bool] = False
    places: ClassVar[Places] = Places()

    @classmethod
    def of(cls, kind: str, cells: "pl.Series") -> "CategoryEncoder":
        """Return the encoder of a column's cells: its categories are all that occur, in their order.

        Any other value is as probable as the values that occur once are together (Good 1953, Biometrika 40, 237-264);
        where none does, as if half a cell had held another.
        """
        if kind == "boolean":
            return cls(kind, (False, True))
        there = cells.drop_nulls()
        once = int(there.is_unique().sum())
        return cls(kind, tuple(there.unique().sort().to_list()), min(max(once, 0.5) / len(there), MOST_OTHER))

    @property
    def num_codes(self) -> int:
        """Number of categories."""
        return len(self.values)

    def encode(self, cells: "pl.Series") -> tuple[Encoded, np.ndarray]:
        """Return the codes, and which cells hold a value that no code stands for, (n,)."""
        import polars as pl

        if self.kind == "boolean":
            code = cells.cast(pl.Int64)
        else:
            code = cells.cast(pl.Enum(self.values), strict=False).to_physical().cast(pl.Int64)
        found = code.fill_null(-1).to_numpy()
        nothing, unknown = np.zeros(len(found)), (found < 0) & cells.is_not_null().to_numpy()
        with np.errstate(divide="ignore"):
            share = np.log(np.where(unknown, self.other, np.where(found < 0, 1.0, 1 - self.other)))
        return Encoded(found, nothing, nothing, share), unknown

    def decode(self, code: np.ndarray, z: np.ndarray) -> "pl.Series":
        """Return cells with these codes, null for -1."""
        import polars as pl

        places = pl.Series(code).cast(pl.Int64)
        return pl.Series(self.values).gather(places.set(places < 0, None))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"kind": self.kind, "values": list(self.values), "other": self.other}
