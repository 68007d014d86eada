"""What a column was read as, and why."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MODELLED = ("real", "integer", "category", "boolean", "date", "time", "moment", "duration", "periodic")
NUMBERS = ("real", "integer", "periodic")  # kinds whose cells are numbers as they stand
FEW_WORDS = 5  # different ones among numbers, dates or durations that are taken for missing values,
MOST_WORDS = 0.02  # and their share of the filled cells


@dataclass(frozen=True)
class Kind:
    """What a column was read as.

    Attributes:
        name: One of `MODELLED`, or what is left out: "constant", "identifier", "text", "nested", "empty".
        why: The reason, in a few words.
        form: How a text writes its values: "" plainly, "%d.%m.%Y", "yes/no", "${:,.2f}", "{}%"; "{}" for categories
            that are whole numbers.
        words: Words among its numbers, dates or durations, which were taken for missing cells.
        period: After how much a periodic column's numbers come round again; 0 of other kinds.
    """

    name: str
    why: str
    form: str = ""
    words: tuple[str, ...] = ()
    period: float = 0.0


def few_words(cells: "pl.Series", values: "pl.Series") -> tuple[str, ...] | None:
    """Return the words among cells that were not read as values, null there; None if they are more than a few."""
    strange = cells.filter(values.is_null() & cells.is_not_null())
    if not len(strange):
        return ()
    words = strange.unique(maintain_order=True)
    few = len(words) <= FEW_WORDS and len(strange) <= MOST_WORDS * (len(cells) - cells.null_count())
    return tuple(words) if few else None
