"""Words that stand for a missing cell, whoever wrote the table."""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MISSING = frozenset(
    {"", "na", "n/a", "n.a.", "#n/a", "<na>", "?", "null", "nan", "nat", "none", "nil", "missing", "-", "--", "."}
)


def without_missing(text: "pl.Series", more: Collection[str] = ()) -> "pl.Series":
    """Return text without blanks at both ends, null where a cell is one of MISSING or `more`, in any case of letters.

    Args:
        text: Cells.
        more: Further words; those that are numbers, "-999", stand for any cell with that value, "-999.0" too.
    """
    import polars as pl

    text = text.str.strip_chars()
    lower = text.str.to_lowercase()
    missing = lower.is_in(sorted(MISSING | {word.strip().lower() for word in more}))
    if numbers := numbers_in(more):
        missing = missing | text.cast(pl.Float64, strict=False).is_in(numbers).fill_null(False)
    return text.set(missing, None) if missing.any() else text


def numbers_in(words: Collection[str]) -> list[float]:
    """Return the words that are numbers, as numbers."""
    found = []
    for word in words:
        try:
            found.append(float(word))
        except ValueError:
            continue
    return found
