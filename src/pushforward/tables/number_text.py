"""Numbers as people write them: decimal commas, and marks that group thousands."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pushforward.tables.missing_cells import without_missing

if TYPE_CHECKING:
    import polars as pl

BLANKS = "' \u2019\u00a0\u2009\u202f"
_EXPONENT = r"(?:[eE][+-]?\d+)?$"
_SIGN = "^[+\\-\u2212]?"
# Numbers in groups of three, by the mark of their decimals; "0,126" is none.
_GROUPED = {
    ".": rf"{_SIGN}[1-9]\d{{0,2}}(?:(?:,\d{{3}})+|(?:[{BLANKS}]\d{{3}})+)(?:\.\d*)?{_EXPONENT}",
    ",": rf"{_SIGN}[1-9]\d{{0,2}}(?:(?:\.\d{{3}})+|(?:[{BLANKS}]\d{{3}})+)(?:,\d+)?{_EXPONENT}",
}
_DECIMAL_COMMA = rf"{_SIGN}\d*,\d+{_EXPONENT}"


@dataclass(frozen=True)
class NumberStyle:
    """How the numbers of a text are written.

    Attributes:
        decimal_comma: Whether their decimals follow a comma.
        note: What was taken for what, in one line; "" where there was no choice.
    """

    decimal_comma: bool = False
    note: str = ""


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number, in any style."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return any(re.match(pattern, cell.strip()) for pattern in (*_GROUPED.values(), _DECIMAL_COMMA))


def to_numbers(column: "pl.Series", style: NumberStyle | None = None) -> "pl.Series":
    """Cast text to float64, null where it is not a number; a column of true and false becomes 1 and 0.

    Args:
        column: Text.
        style: How numbers are written; without one they have a point and no groups.
    """
    import polars as pl

    if style is None:
        numbers = column.cast(pl.Float64, strict=False)
        if numbers.null_count() == 0:
            return numbers
    column = column.str.strip_chars().str.replace("\u2212", "-", literal=True)
    lower = column.str.to_lowercase()
    if lower.is_in(["true", "false"]).all():
        return (lower == "true").cast(pl.Float64)
    if style is None:
        return column.cast(pl.Float64, strict=False)
    decimal, others = (",", ".") if style.decimal_comma else (".", ",")
    grouped = column.str.contains(_GROUPED[decimal]).fill_null(False)
    column = column.str.replace_all(f"[{BLANKS}{others}]", "").zip_with(grouped, column)
    if style.decimal_comma:  # a point that groups nothing is no part of such a number
        column = column.str.replace(".", "?", literal=True).str.replace(",", ".", literal=True)
    return column.cast(pl.Float64, strict=False)


def style_of(text: "pl.DataFrame", numbers: "list[pl.Series]", delimiter: str) -> NumberStyle | None:
    """Return the style that the cells which are no plain numbers are written in; None if they are no numbers at all.

    A cell such as "1,5", "1.234,5" or "12,3456" can only have a decimal comma, "1,234.5" and "1,234,567" only groups.
    Where all could be either, as "1,234", a semicolon between the cells means decimal commas, as spreadsheets write
    them, and anything else groups. Columns that are mostly words have no say.

    Args:
        text: All columns.
        numbers: What each was cast to, null where that failed.
        delimiter: What separates the cells.
    """
    import polars as pl

    seen: dict[bool, str] = {}  # decimal comma? -> a cell that shows it
    either = ""
    for column, cast in zip(text, numbers, strict=True):
        if not cast.null_count():
            continue
        cells = without_missing(column.filter(cast.is_null())).drop_nulls()
        point = cells.str.contains(_GROUPED["."])
        comma = cells.str.contains(_GROUPED[","]) | cells.str.contains(_DECIMAL_COMMA)
        plain = len(cast) - cast.null_count()
        if 2 * (plain + int((point | comma).sum())) < plain + len(cells):
            continue
        for decimal_comma, mask in ((False, point & ~comma), (True, comma & ~point)):
            if mask.any():
                seen.setdefault(decimal_comma, cells.filter(mask)[0])
        both = cells.filter(point & comma)
        either = either or (both[0] if len(both) else "")
    if len(seen) == 2 or not (seen or either):
        return None
    decimal_comma = next(iter(seen)) if seen else delimiter == ";"
    cell = seen.get(decimal_comma, either)
    style = NumberStyle(decimal_comma)
    value = to_numbers(pl.Series([cell]), style)[0]
    how = "decimal commas" if decimal_comma else "marks that group thousands"
    return NumberStyle(decimal_comma, f'numbers are taken to have {how}: "{cell}" is {value:.15g}')
