"""From words to dates, times of day and moments, in the forms that people and programs write them, and back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from pushforward.tables.column_kind import FEW_WORDS, few_words

if TYPE_CHECKING:
    import polars as pl

# Formats of strftime, the likelier first; without a day they stand for the first of the month, %q is the quarter.
DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%b %d %Y",
    "%b %d, %Y", "%d %b %Y", "%d-%b-%Y", "%d%b%Y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%y", "%d.%m.%y",
    "%Y-%m", "%m/%Y", "%b %Y", "%Y %b", "%b-%Y",
    "%YQ%q", "%Y-Q%q", "%Y Q%q", "%Y/Q%q", "%Y:Q%q", "Q%q %Y", "Q%q-%Y", "Q%q/%Y",
)  # fmt: skip
TIMES = ("%H:%M:%S", "%H:%M", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%H:%M:%S%.f")
MOMENTS = tuple(
    f"{date}{gap}{time}"
    for date in (
        "%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m/%d/%y", "%d/%m/%y", "%d %b %Y",
        "%d-%b-%Y", "%b %d, %Y", "%Y%m%d",
    )
    for gap in (" ", "T", ", ")
    for time in TIMES
)  # fmt: skip
FEWEST_DATES = 4  # distinct values: fewer numbers of eight digits may be anything
TRIED_FIRST = 200  # distinct cells that a format must fit before all are tried
LONGEST = 40
_ZONE = r"(?:Z| ?UTC| ?GMT| ?[+-]\d\d(?::?\d\d)?)"
_ZONED = rf"^(.*\d:\d\d(?:\.\d+)?)({_ZONE})$"
_ZONE_OF_FORM = re.compile(rf"({_ZONE}|%:?z)$")
_LOOKS = {
    "%Y": r"\d{4}", "%y": r"\d\d", "%b": "[A-Za-z]{3,9}", "%q": "[1-4]", "%p": "[AaPp][Mm]", "%.f": r"(?:\.\d+)?",
    **dict.fromkeys(("%m", "%d", "%H", "%I"), r"\d\d?"), **dict.fromkeys(("%M", "%S"), r"\d\d"),
}  # fmt: skip
_QUARTERS = {f"Q{quarter}": f"Q{3 * quarter - 2:02}" for quarter in (1, 2, 3, 4)}


@dataclass(frozen=True, eq=False)
class Dates:
    """Words that are dates, moments or times.

    Attributes:
        kind: "date", "moment" or "time".
        values: Null where a cell is missing, or one of a few words.
        form: A format of strftime, besides %q; moments end in the zone that all have, or in "%:z" for UTC.
        note: What was taken for what, "" where there was no choice.
    """

    kind: str
    values: "pl.Series"
    form: str
    note: str = ""


def dates_in(cells: "pl.Series", *, fewest: int = FEWEST_DATES, midnights: bool = True) -> Dates | None:
    """Return what cells say if all, but for a few words, are dates, times or moments in one form.

    Args:
        cells: Text, null where a cell is missing.
        fewest: Distinct numbers of eight digits that are taken for dates.
        midnights: Whether moments that all are midnights are dates.
    """
    some = cells.drop_nulls().unique(maintain_order=True).head(TRIED_FIRST)
    dated = some.filter(some.str.contains(r"\d"))
    if not len(dated) or len(some) - len(dated) > FEW_WORDS or (dated.str.len_chars() > LONGEST).any():
        return None
    if dated.str.contains(r"^\d{8}$").all() and len(dated) >= fewest:
        found = _fitting(cells, some, [("date", "%Y%m%d")])
        days = None if found is None else found.values.drop_nulls()
        return found if days is not None and days.dt.year().is_between(1900, 2100).all() else None
    if dated.str.contains(r"^[+-]?\d*[.,]?\d+$").all():
        return None
    named = (("date", DATES), ("moment", MOMENTS), ("time", TIMES))
    found = _fitting(cells, some, [(kind, form) for kind, forms in named for form in forms])
    found = found or _moments_of_zones(cells, some)
    return _as_dates(found, cells) if found and found.kind == "moment" and midnights else found


def _fitting(cells: "pl.Series", some: "pl.Series", formats: Sequence[tuple[str, str]]) -> Dates | None:
    """Return cells in the first format that all have, or else all but a few words."""
    for most in (0, FEW_WORDS):
        fewest = max(len(some) - most, 1)
        for kind, form in formats:
            if some.str.contains(_looks(form)).sum() < fewest or parse(some, kind, form).count() < fewest:
                continue
            values = parse(cells, kind, form)
            words = few_words(cells, values)
            if words is None or len(words) > most:
                continue
            swapped = form.replace("m", "*").replace("d", "m").replace("*", "d")
            other = (kind, swapped) in formats and swapped != form and not (
                parse(cells, kind, swapped).null_count() > values.null_count()
            )  # fmt: skip
            return Dates(kind, values, _as_written(some, kind, form), f"{swapped} fits as well" if other else "")
    return None


def _as_written(some: "pl.Series", kind: str, form: str) -> str:
    """Return the format as most words have it: with or without leading zeros, months by short or full names."""
    forms = []
    for day, month, hour, name in product(("%d", "%-d"), ("%m", "%-m"), ("H", "-H"), ("%b", "%B")):
        one = form.replace("%d", day).replace("%m", month).replace("%b", name)
        one = one.replace("%H", f"%{hour}").replace("%I", f"%{hour.replace('H', 'I')}")
        forms += [] if one in forms else [one]
    if len(forms) == 1:
        return form
    values = parse(some, kind, form)
    return max(forms, key=lambda one: int((write_dates(values, kind, one) == some).sum()))


def _as_dates(found: Dates, cells: "pl.Series") -> Dates:
    """Return moments that all are midnights as dates, their time a fixed part of the form."""
    if not bool((found.values.dt.truncate("1d") == found.values).all()):
        return found
    clock = cells.filter(found.values.is_not_null()).str.extract(r"(\d+:.*)$").unique()
    start = re.search(r"%-?[HI]", found.form)
    if len(clock) > 1 or start is None:
        return found
    return Dates("date", found.values.dt.date(), found.form[: start.start()] + clock[0], found.note)


def _moments_of_zones(cells: "pl.Series", some: "pl.Series") -> Dates | None:
    """Return moments that each have a zone: on its clock if there is one zone, in UTC if there are several."""
    parts = some.str.extract_groups(_ZONED).struct.unnest()
    zones = parts[:, 1].drop_nulls().unique().sort()
    if not len(zones) or parts[:, 0].null_count() > FEW_WORDS:
        return None
    found = _fitting(cells.str.extract(_ZONED, 1), parts[:, 0].drop_nulls(), [("moment", form) for form in MOMENTS])
    if found is None or few_words(cells, found.values) is None:
        return None
    zones = cells.str.extract(_ZONED, 2).drop_nulls().unique().sort()
    if len(zones) == 1:
        form = found.form + zones[0]
        return Dates("moment", parse(cells, "moment", form), form, found.note)
    form = found.form + ("%:z" if zones.str.contains(":").any() else "%z")
    some_zones = ", ".join(zone.strip() for zone in zones.head(3)) + (", ..." if len(zones) > 3 else "")
    note = f"{found.note}; " if found.note else ""
    return Dates("moment", parse(cells, "moment", form), form, f"{note}zones {some_zones} are brought to UTC")


def parse(cells: "pl.Series", kind: str, form: str) -> "pl.Series":
    """Return text read as dates, moments or times in a format, null where it is another."""
    import polars as pl

    form = form.replace("%-", "%").replace("%B", "%b")  # names of months are read in full and short
    if kind == "moment" and (zone := _ZONE_OF_FORM.search(form)):
        parts = cells.str.extract_groups(_ZONED).struct.unnest()
        own = 0 if "z" in zone[0] else int(_minutes(pl.Series([zone[0]]))[0])
        late = ((_minutes(parts[:, 1]) - own) * 60_000_000).cast(pl.Duration("us"))
        return parse(parts[:, 0], kind, form[: zone.start()]) - late
    cells = cells.set(~cells.str.contains(_looks(form)), None)
    cells, form = cells if "%.f" in form else _padded(cells), form.replace("%b", "%B")
    if kind == "moment":
        return cells.str.to_datetime(form, strict=False, time_unit="us").cast(pl.Datetime("us"))
    if kind == "time":
        return cells.str.to_time(form, strict=False)
    if "%q" in form:
        cells = cells.str.to_uppercase().str.replace_many(_QUARTERS)
        form = form.replace("%q", "%m")
    if "%d" not in form:
        cells, form = "01 " + cells, f"%d {form}"
    return cells.str.to_date(form, strict=False)


def _looks(form: str) -> str:
    """Return a regular expression of what a format stands for."""
    parts = re.split(r"(%\.?\w)", form)
    return "^" + "".join(_LOOKS.get(part) or re.escape(part) for part in parts).replace("Q", "[Qq]") + "$"


def _minutes(zones: "pl.Series") -> "pl.Series":
    """Return how many minutes the clocks of zones are before UTC."""
    import polars as pl

    parts = zones.str.extract_groups(r"([+-])(\d\d):?(\d\d)?$").struct.unnest()
    minutes = parts[:, 1].cast(pl.Int64).fill_null(0) * 60 + parts[:, 2].cast(pl.Int64).fill_null(0)
    return minutes * ((parts[:, 0] == "-").fill_null(False).cast(pl.Int64) * -2 + 1)


def _padded(cells: "pl.Series") -> "pl.Series":
    """Return dates and times with two digits a number, as polars reads them: "1.2.2000" is "01.02.2000"."""
    return cells.str.replace_all(r"\b(\d)\b", "0$1")


def write_dates(values: "pl.Series", kind: str, form: str) -> "pl.Series":
    """Return dates, moments or times as text in a format."""
    if kind == "moment":
        form = re.sub("%:z$", "+00:00", re.sub("%z$", "+0000", form))
    return values.dt.to_string(form)
