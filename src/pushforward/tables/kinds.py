"""What kind of column cells are, and why: found from the cells, or as the user says."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from pushforward.errors import InputError
from pushforward.tables.asked_kinds import asked_of_text, asked_of_values, period_of
from pushforward.tables.column_kind import MODELLED, Kind, few_words
from pushforward.tables.columns import quoted
from pushforward.tables.missing_cells import numbers_in as numbers_among
from pushforward.tables.missing_cells import without_missing
from pushforward.tables.number_kinds import ALWAYS_CATEGORIES, EXACT, may_be_categories, of_numbers, some_of
from pushforward.tables.number_text import NumberStyle, to_numbers
from pushforward.tables.text_dates import dates_in
from pushforward.tables.text_durations import durations_in
from pushforward.tables.text_kinds import as_truths, looks_like_prose
from pushforward.tables.text_numbers import numbers_in

if TYPE_CHECKING:
    import polars as pl

_BOUND = re.compile(r"^\s*[<>≤≥~]")


def kind_of(
    cells: "pl.Series",
    *,
    missing: Collection[str] = (),
    style: NumberStyle | None = None,
    asked: str | None = None,
) -> tuple[Kind, "pl.Series"]:
    """Return the kind of a column and its values: null where a cell is missing.

    Args:
        cells: Text, or values of any type; their name is the column's.
        missing: Words, or numbers, that stand for a missing cell besides the usual ones ("NA", "?", "null", "-", ...).
        style: How numbers are written in a text.
        asked: A kind of `MODELLED` that the user wants, "periodic:24" with its period.

    Raises:
        InputError: If the cells cannot be of the kind that was asked for, or a number is infinite.
    """
    import polars as pl

    if asked is not None and asked.partition(":")[0] == "periodic":
        period = period_of(cells.name, asked)
        kind, values = kind_of(cells, missing=missing, style=style, asked="real")
        return Kind("periodic", f"as asked for, comes round after {period:g}", kind.form, period=period), values
    if asked is not None and asked not in MODELLED:
        raise InputError(f'column "{cells.name}" cannot be "{asked}" (kinds: {", ".join(MODELLED)})')
    words = [str(word) for word in missing]
    if cells.dtype in (pl.Categorical, pl.Enum):
        text = without_missing(cells.cast(pl.String), words)
        if asked in (None, "category"):
            cells = cells.set(text.is_null() & cells.is_not_null(), None)
            return _of_levels(cells, asked)
        cells = text
    if cells.dtype == pl.String:
        cells = without_missing(cells, words)
        return asked_of_text(cells, asked, style) if asked else _of_text(cells, style)
    cells = _without_missing_numbers(cells, words)
    return asked_of_values(cells, asked) if asked else _of_values(cells)


# ---- values of a type ------------------------------------------------------------------------------------------------


def _without_missing_numbers(cells: "pl.Series", missing: Collection[str]) -> "pl.Series":
    if not cells.dtype.is_numeric():
        return cells
    for number in numbers_among(missing):
        cells = cells.set(cells == number, None)
    if cells.dtype.is_float():
        cells = cells.fill_nan(None)
        if cells.is_infinite().any():
            row = int(cells.is_infinite().arg_max() or 0)
            raise _infinite(cells, row, str(cells[row]))
    return cells


def _infinite(cells: "pl.Series", row: int, what: str) -> InputError:
    return InputError(
        f'column "{cells.name}", row {row + 1}: {what} is not a finite number (correct it, name it in --missing or'
        " missing=, or leave the column out)"
    )


def _one_or_none(cells: "pl.Series") -> Kind | None:
    """Return the kind of a column without two different cells."""
    distinct = cells.drop_nulls().n_unique()
    if not distinct:
        return Kind("empty", "every cell is missing")
    if distinct == 1 and not cells.null_count():
        return Kind("constant", f"every cell is {quoted(cells[0])}")
    return None


def _of_values(cells: "pl.Series") -> tuple[Kind, "pl.Series"]:
    import polars as pl

    if cells.dtype.is_nested() or cells.dtype in (pl.Object, pl.Binary):
        return Kind("nested", f"its cells are of type {cells.dtype}"), cells
    if kind := _one_or_none(cells):
        return kind, cells
    if cells.dtype == pl.Boolean:
        return Kind("boolean", "true and false"), cells
    many = f"{cells.drop_nulls().n_unique():,} distinct values"
    if cells.dtype == pl.Datetime and bool((cells.dt.truncate("1d") == cells).all()):
        return Kind("date", f"its type, all of them midnights, {many}"), cells.dt.date()
    temporal = {pl.Date: "date", pl.Time: "time", pl.Datetime: "moment", pl.Duration: "duration"}
    for dtype, name in temporal.items():
        if cells.dtype == dtype:
            return Kind(name, f"its type, {many}"), cells
    if not cells.dtype.is_numeric():
        return Kind("nested", f"its cells are of type {cells.dtype}"), cells
    return of_numbers(cells)


def _of_levels(cells: "pl.Series", asked: str | None) -> tuple[Kind, "pl.Series"]:
    """Return the kind of categories that came as such: those with an order keep it."""
    import polars as pl

    ordered = isinstance(cells.dtype, pl.Enum)
    text = cells.cast(pl.String)
    kind = _one_or_none(text) if asked is None else Kind("category", "as asked for")
    if kind is None:
        kind = _of_words(text)[0]
        if ordered and kind.name == "category":
            kind = Kind("category", f"{text.drop_nulls().n_unique():,} levels, in their order")
    return kind, cells if ordered else text


# ---- text ------------------------------------------------------------------------------------------------------------


def _of_text(cells: "pl.Series", style: NumberStyle | None) -> tuple[Kind, "pl.Series"]:
    if kind := _one_or_none(cells):
        return kind, cells
    distinct = cells.drop_nulls().unique(maintain_order=True)
    if truths := as_truths(cells, distinct):
        return Kind("boolean", f"written {truths[1].replace('/', ' and ')}", truths[1]), truths[0]
    if lasted := durations_in(cells):
        values, form = lasted
        if found := _with_few_words(cells, values, Kind("duration", f"written {form}", form)):
            return found
    if dated := dates_in(cells):
        note = f"; {dated.note}" if dated.note else ""
        why = f"written {dated.form}, {dated.values.drop_nulls().n_unique():,} distinct values{note}"
        if found := _with_few_words(cells, dated.values, Kind(dated.kind, why, dated.form)):
            return found
    if distinct.str.contains(r"^\d+$").all():
        if distinct.str.contains(r"^0\d").any():
            return _of_words(cells, "codes with leading zeros")
        if (to_numbers(distinct) >= EXACT).any():
            return _of_words(cells, "numbers beyond 2^53")
    numbers, form = numbers_in(cells, style)
    if numbers.is_infinite().any():
        row = int(numbers.is_infinite().arg_max() or 0)
        raise _infinite(cells, row, quoted(cells[row]))
    if few_words(cells, numbers) is not None and numbers.count():
        if kind := _one_or_none(numbers):
            return Kind("constant", f"every cell is {quoted(cells[0])}"), numbers
        kind, values = of_numbers(numbers.alias(cells.name), form)
        if found := _with_few_words(cells, numbers, kind):
            return found[0], values
    return _of_words(cells, numbers=numbers.count() if numbers.n_unique() > ALWAYS_CATEGORIES else 0)


def _with_few_words(cells: "pl.Series", values: "pl.Series", kind: Kind) -> tuple[Kind, "pl.Series"] | None:
    """Return a kind, and what it says of the words among its values; None if they may be categories as the others."""
    words = few_words(cells, values)
    if not words:
        return kind, values
    if values.drop_nulls().n_unique() <= ALWAYS_CATEGORIES:
        return None
    number = int((values.is_null() & cells.is_not_null()).sum())
    noun = "number" if kind.name in ("real", "integer") else kind.name
    bound = any(map(_BOUND.match, words))
    if number == 1:
        said = f"1 cell, {quoted(words[0])}, is {'a bound, ' * bound}no {noun} and counts as missing"
    else:
        said = f"{number:,} cells such as {quoted(words[0])} are {'bounds, ' * bound}no {noun}s and count as missing"
    return Kind(kind.name, f"{kind.why}; {said}", kind.form, words), values


def _of_words(cells: "pl.Series", what: str = "words", numbers: int = 0) -> tuple[Kind, "pl.Series"]:
    """Return the kind of cells that are words; `numbers` of them could be read as numbers."""
    distinct = cells.drop_nulls().unique(maintain_order=True)
    filled, many = len(cells) - cells.null_count(), len(distinct)
    hint = ""
    if 2 * numbers > filled:
        hint = f"; {numbers:,} of {filled:,} cells are numbers: name the others in --missing or missing= to keep these"
    if may_be_categories(filled, many):
        return Kind("category", f"{many:,} distinct {what}{hint}"), cells
    once = "every value occurs once" if many == filled else f"{many:,} distinct values in {filled:,} cells"
    name = "text" if looks_like_prose(distinct) else "identifier"
    return Kind(name, f"{once}: {some_of(distinct)}{hint}"), cells
