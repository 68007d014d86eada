"""What the words of a column stand for besides numbers and dates; and cells of all kinds as text again."""

import re
from typing import TYPE_CHECKING

from pushforward.tables.column_kind import NUMBERS
from pushforward.tables.number_text import NumberStyle, to_numbers
from pushforward.tables.text_dates import parse, write_dates
from pushforward.tables.text_durations import parse_durations, write_durations
from pushforward.tables.text_numbers import parse_numbers, write_numbers

if TYPE_CHECKING:
    import polars as pl

TRUTHS = {"true": "false", "yes": "no", "y": "n", "t": "f", "on": "off"}
# Of columns that say which row, person or thing it is, and of those whose numbers stand for names.
IDENTIFIER = re.compile(r"(^|[_ .])(id|ids|uuid|guid|key|index|rownames?|row_?id|nr|no|number)$", re.IGNORECASE)
CODES = re.compile(
    r"(^|[_ .-])(sex|gender|class|label|cluster|group|type|category|code|status|race|ethnicity|region|district|zip|"
    r"zip_?code|postcode|postal_?code|plz|id)s?$",
    re.IGNORECASE,
)
WHOLE = "{}"  # the form of categories that are whole numbers


def as_truths(cells: "pl.Series", distinct: "pl.Series") -> tuple["pl.Series", str] | None:
    """Return truth values and their two words, "yes/no"; None if the cells hold other words."""
    lower = set(distinct.str.to_lowercase())
    for true, false in TRUTHS.items():
        if lower <= {true, false}:
            words = dict(zip(distinct.str.to_lowercase(), distinct, strict=True))
            styled = words.get(true) or _like(words[false], true)
            return cells.str.to_lowercase() == true, f"{styled}/{words.get(false) or _like(styled, false)}"
    return None


def _like(word: str, other: str) -> str:
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def written(cells: "pl.Series", kind: str, form: str) -> "pl.Series":
    """Return cells as they stood in the text that was read: formats of dates, words of truth, signs around numbers."""
    import polars as pl

    if not form or kind == "category" or cells.dtype == pl.String:
        return cells
    if kind == "boolean":
        true, _, false = form.partition("/")
        return (
            pl.select(pl.when(cells).then(pl.lit(true)).when(~cells).then(pl.lit(false))).to_series().alias(cells.name)
        )
    if kind == "duration":
        return write_durations(cells, form)
    return write_numbers(cells, form) if kind in NUMBERS else write_dates(cells, kind, form)


def read_again(cells: "pl.Series", kind: str, form: str, style: NumberStyle | None) -> "pl.Series | None":
    """Return what `written` wrote, null where a cell is written in another way; None for kinds without a form."""
    import polars as pl

    if kind in NUMBERS:
        return parse_numbers(cells, form, style)
    if not form:
        return None
    if kind == "category":
        return whole_numbers(cells)
    if kind == "boolean":
        true, _, false = form.lower().partition("/")
        lower = cells.str.to_lowercase()
        return pl.select(pl.when(lower == true).then(True).when(lower == false).then(False)).to_series()
    return parse_durations(cells, form) if kind == "duration" else parse(cells, kind, form)


def whole_numbers(cells: "pl.Series") -> "pl.Series":
    """Return text with whole numbers written plainly, "1" for "1.0" and "01", and other words as they are."""
    import polars as pl

    numbers = to_numbers(cells)
    whole = (numbers % 1 == 0) & (numbers.abs() < 2**53)
    return numbers.set(~whole, None).cast(pl.Int64).cast(pl.String).fill_null(cells)


def looks_like_prose(distinct: "pl.Series") -> bool:
    """Whether words are sentences rather than names."""
    length = distinct.str.len_chars().to_numpy().mean()
    sentences = distinct.str.contains(r"\S\s+\S+\s+\S").to_numpy().mean()
    return bool(length > 30 or sentences > 0.5)
