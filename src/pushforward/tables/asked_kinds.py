"""A column read as the kind that a user asks for, or the first cell that cannot be so read."""

import math
from typing import TYPE_CHECKING, Any

from pushforward.errors import InputError
from pushforward.tables.circle import LEAST_PERIOD, MOST_PERIOD
from pushforward.tables.column_kind import Kind
from pushforward.tables.columns import quoted
from pushforward.tables.number_kinds import EXACT
from pushforward.tables.number_text import NumberStyle
from pushforward.tables.text_dates import dates_in
from pushforward.tables.text_durations import durations_in
from pushforward.tables.text_kinds import WHOLE, as_truths, whole_numbers
from pushforward.tables.text_numbers import numbers_in

if TYPE_CHECKING:
    import polars as pl

WHY = "as asked for"


def period_of(name: str, asked: str) -> float:
    """Return the period of "periodic:24", which is asked of a column; raise InputError for none."""
    try:
        period = float(asked.partition(":")[2])
    except ValueError:
        period = math.nan
    if not LEAST_PERIOD <= period <= MOST_PERIOD:
        raise InputError(f'column "{name}" cannot be "{asked}" (say after how much it comes round: periodic:24)')
    return period


def asked_of_values(cells: "pl.Series", asked: str) -> tuple[Kind, "pl.Series"]:
    """Return values of a type as a kind; raise InputError where that cannot be."""
    import polars as pl

    try:
        if asked in ("real", "integer"):
            numbers = cells.cast(pl.Float64)
            if asked == "integer" and not bool((numbers.drop_nulls() % 1 == 0).all()):
                raise InputError(f'column "{cells.name}" holds numbers with decimals (ask for real)')
            return Kind(asked, WHY), numbers if asked == "real" else cells.cast(pl.Int64)
        if asked == "category":
            codes = cells.dtype.is_numeric()
            if codes and not cells.dtype.is_integer():
                return Kind(asked, WHY, WHOLE), whole_numbers(cells.cast(pl.String))
            return Kind(asked, WHY, WHOLE if codes else ""), cells if cells.dtype == pl.Enum else cells.cast(pl.String)
        if asked == "boolean":
            if cells.dtype in (pl.Boolean, pl.Null):
                return Kind(asked, WHY), cells.cast(pl.Boolean)
            if set(cells.drop_nulls().unique()) <= {0, 1}:
                return Kind(asked, WHY, "1/0"), cells == 1
            raise InputError(f'column "{cells.name}" holds other values than 0 and 1 (ask for category)')
        if asked == "date" and cells.dtype.is_numeric():
            return asked_of_text(cells.cast(pl.Int64).cast(pl.String), asked, None)
        if asked == "date" and cells.dtype == pl.Datetime:
            if not bool((cells.dt.truncate("1d") == cells).all()):
                raise InputError(f'column "{cells.name}" holds times of day (ask for moment, or cut them off)')
            return Kind(asked, WHY), cells.dt.date()
        types: dict[str, Any] = {
            "date": pl.Date,
            "time": pl.Time,
            "moment": pl.Datetime("us"),
            "duration": pl.Duration("us"),
        }
        return Kind(asked, WHY), cells.cast(types[asked])
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f'column "{cells.name}" cannot be read as {asked}: {reason}') from error


def asked_of_text(cells: "pl.Series", asked: str, style: NumberStyle | None) -> tuple[Kind, "pl.Series"]:
    """Return text as a kind; raise InputError that names the first cell which is none."""
    import polars as pl

    distinct = cells.drop_nulls().unique(maintain_order=True)
    if asked == "category":
        return Kind("category", WHY), cells
    if asked == "boolean":
        if truths := as_truths(cells, distinct):
            return Kind("boolean", WHY, truths[1]), truths[0]
        if set(distinct) <= {"0", "1"}:
            return Kind("boolean", WHY, "1/0"), cells == "1"
        other = next(iter(distinct.filter(~distinct.is_in(["0", "1"]))), "")
        raise _no(cells, cells == other, "a truth value such as yes and no, or 1 and 0")
    if asked in ("real", "integer"):
        numbers, form = numbers_in(cells, style)
        _check(cells, numbers, "a number")
        if asked == "real":
            return Kind(asked, WHY, form), numbers
        whole = (numbers % 1 == 0) & (numbers.abs() < EXACT)
        _check(cells, numbers.set(~whole, None), "a whole number")
        return Kind(asked, WHY, form), numbers.cast(pl.Int64)
    if asked == "duration":
        values, form = durations_in(cells, asked=True) or (cells, "")
    else:
        found = dates_in(cells, fewest=1, midnights=asked == "date")
        values, form = (found.values, found.form) if found else (cells, "")
        if found and (asked, found.kind) == ("moment", "date"):
            values, form = values.cast(pl.Datetime("us")), ""
        elif found and found.kind != asked:
            values = cells
    if values.dtype == pl.String:
        raise _no(cells, cells.is_not_null(), f"a {asked}, or the cells are in several forms")
    _check(cells, values, f"a {asked} in the form of the others")
    return Kind(asked, WHY, form), values


def _check(cells: "pl.Series", values: "pl.Series", what: str) -> None:
    """Raise InputError naming the first cell that was not read."""
    bad = values.is_null() & cells.is_not_null()
    if bad.any():
        raise _no(cells, bad, what)


def _no(cells: "pl.Series", bad: "pl.Series", what: str) -> InputError:
    row = int(bad.fill_null(False).arg_max() or 0)
    return InputError(
        f'column "{cells.name}", row {row + 1}: {quoted(cells[row])} is not {what} (name the word in missing=, or ask'
        " for category)"
    )
