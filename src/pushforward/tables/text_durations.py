"""From words to durations, as clocks, pandas and ISO 8601 write them, and back."""

import re
from typing import TYPE_CHECKING

from pushforward.tables.column_kind import few_words

if TYPE_CHECKING:
    import polars as pl

_CLOCK = r"(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d(?:\.\d+)?)"
# Forms, and what they look like; days may be negative before a positive clock, as pandas writes them.
FORMS = {
    "h:mm:ss": rf"^(?P<sign>-?){_CLOCK}$",
    "hh:mm:ss": rf"^(?P<sign>-?){_CLOCK}$",
    "d days hh:mm:ss": rf"^(?P<days>-?\d+) days?(?: \+?{_CLOCK})?$",
    "d days, h:mm:ss": rf"^(?:(?P<days>-?\d+) days?, )?{_CLOCK}$",
    "PdDThHmMsS": (
        r"^(?P<sign>-?)P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?"
        r"(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?$"
    ),
}
_UNITS = {"days": 86_400_000_000, "hours": 3_600_000_000, "minutes": 60_000_000, "seconds": 1_000_000}


def durations_in(cells: "pl.Series", *, asked: bool = False) -> tuple["pl.Series", str] | None:
    """Return durations and their form if all cells are such but for a few words, null there.

    What may be times of day are durations where they are asked for, or an hour of three parts has no leading zero, or
    is beyond 23.
    """
    first = next((cell for cell in cells.head(1000).drop_nulls() if re.search(r"\d", cell)), "")
    for form, pattern in FORMS.items():
        if re.match(pattern, first) is None:
            continue
        values = parse_durations(cells, form)
        if few_words(cells, values) is None or (form.startswith("h") and not asked and _may_be_times(cells, values)):
            continue
        if form.startswith("d") and not cells.str.contains(":").any():
            return None  # numbers of days
        if form == "d days, h:mm:ss" and not cells.str.contains("day").any():
            continue
        padded = form == "h:mm:ss" and not cells.str.contains(r"^-?\d:").any()
        return values, "hh:mm:ss" if padded else form
    return None


def _may_be_times(cells: "pl.Series", values: "pl.Series") -> bool:
    hours = values.drop_nulls().dt.total_hours()
    return bool(hours.is_between(0, 23).all()) and not cells.str.contains(r"^\d:").any()


def parse_durations(cells: "pl.Series", form: str) -> "pl.Series":
    """Return text read as durations in a form, null where it is another."""
    import polars as pl

    parts = cells.str.extract_groups(FORMS[form]).struct.unnest()
    microseconds = pl.zeros(len(cells), eager=True)
    for unit, size in _UNITS.items():
        if unit in parts:
            microseconds += (parts[unit].cast(pl.Float64).fill_null(0.0) * size).round()
    if "sign" in parts:
        microseconds = microseconds * ((parts["sign"] == "-").fill_null(False).cast(pl.Float64) * -2 + 1)
    given = cells.str.contains(FORMS[form]) & cells.str.contains(r"\d")
    return microseconds.set(~given | given.is_null(), None).cast(pl.Int64).cast(pl.Duration("us"))


def write_durations(values: "pl.Series", form: str) -> "pl.Series":
    """Return durations as text in a form."""
    import polars as pl

    ticks = values.cast(pl.Duration("us")).to_physical().to_list()
    return pl.Series(values.name, [None if one is None else _text(one, form) for one in ticks], dtype=pl.String)


def _text(microseconds: int, form: str) -> str:
    """Return one duration as text."""
    sign = "-" if microseconds < 0 and not form.startswith("d") else ""
    microseconds = abs(microseconds) if sign else microseconds
    days, rest = divmod(microseconds, _UNITS["days"])
    if form in ("h:mm:ss", "hh:mm:ss"):
        days, rest = 0, microseconds
    hours, rest = divmod(rest, _UNITS["hours"])
    minutes, rest = divmod(rest, _UNITS["minutes"])
    seconds, fraction = divmod(rest, _UNITS["seconds"])
    decimals = f".{fraction:06}".rstrip("0") if fraction else ""
    if form.startswith("P"):
        parts = [f"{hours}H" * (hours > 0), f"{minutes}M" * (minutes > 0), f"{seconds}{decimals}S" * (rest > 0)]
        clock = "".join(parts)
        return f"{sign}P" + (f"{days}D" if days or not clock else "") + (f"T{clock}" if clock else "")
    clock = f"{sign}{hours:02}:" if form.endswith("hh:mm:ss") else f"{sign}{hours}:"
    clock += f"{minutes:02}:{seconds:02}{decimals}"
    if not form.startswith("d"):
        return clock
    before = f"{days} day{'s' * (days != 1 or ',' not in form)}"
    if "," in form:
        return f"{before}, {clock}" if days else clock
    return f"{before} {'+' * (days < 0)}{clock}"
