"""What the words of a column stand for: numbers as people write them, truth values, dates, times."""

import re
from typing import TYPE_CHECKING

from pushforward.tables.number_text import NumberStyle, style_of, to_numbers

if TYPE_CHECKING:
    import polars as pl

TRUTHS = {"true": "false", "yes": "no", "y": "n", "t": "f", "on": "off"}
DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%b %d %Y",
    "%b %d, %Y", "%d %b %Y", "%d-%b-%Y", "%B %d %Y", "%B %d, %Y", "%d %B %Y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%y",
)  # fmt: skip
MOMENTS = tuple(
    f"{date}{gap}{time}"
    for date in ("%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y")
    for gap in (" ", "T")
    for time in ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%H:%M:%SZ", "%H:%M:%S%.fZ")
)
TIMES = ("%H:%M:%S", "%H:%M", "%I:%M %p", "%I:%M:%S %p")
FEWEST_DATES = 4  # distinct values: fewer numbers of eight digits may be anything
_AFFIXED = r"^([^\d+\-.,\s]*)\s*([+-]?[\d.,'\u00a0\u202f]*\d[\d.,]*)\s*([^\d\s]*)$"
CURRENCIES = {"$", "€", "£", "¥", "₹", "US$", "USD", "EUR", "GBP", "CHF", "RS", "RS.", "KR", "#"}
TRIED_FIRST = 200  # distinct cells that a format must fit before all are tried


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


def as_numbers(cells: "pl.Series", style: NumberStyle | None) -> tuple["pl.Series", str] | None:
    """Return numbers and what stands around each, "${}" or "{}%"; None unless all cells are such."""
    filled = cells.len() - cells.null_count()
    numbers = to_numbers(cells, style)
    if numbers.len() - numbers.null_count() == filled:
        return numbers, ""
    import polars as pl

    parts = cells.str.extract_groups(_AFFIXED).struct.unnest()
    before, middle, after = parts.get_columns()
    around = parts.select(before, after).filter(cells.is_not_null()).unique()
    if middle.null_count() > cells.null_count() or around.height != 1:
        return None
    prefix, suffix = (part or "" for part in around.row(0))
    if (prefix and prefix.upper() not in CURRENCIES) or not prefix + suffix:
        return None  # letters before a number make a name of it
    middle = middle.set(cells.is_null(), None)
    if style is None:
        style = style_of(pl.DataFrame([middle]), [to_numbers(middle)], ",")
    numbers = to_numbers(middle, style)
    return (numbers, f"{prefix}{{}}{suffix}") if numbers.len() - numbers.null_count() == filled else None


def as_dates(
    cells: "pl.Series", distinct: "pl.Series", *, fewest: int = FEWEST_DATES
) -> tuple[str, "pl.Series", str, str] | None:
    """Return "date", "moment" or "time", the values, their format, and what else they could be; None for others."""
    some = distinct.head(TRIED_FIRST)
    if not some.str.contains(r"\d").all() or some.str.len_chars().to_numpy().max() > 35:
        return None
    if some.str.contains(r"^\d{8}$").all() and len(distinct) >= fewest:
        formats = [("date", "%Y%m%d")]
    elif some.str.contains(r"^[+-]?\d*[.,]?\d+$").all():
        return None
    else:
        named = [("date", DATES), ("moment", MOMENTS), ("time", TIMES)]
        formats = [(kind, one) for kind, several in named for one in several]
    fitting = []
    for kind, form in formats:
        if parse(some, kind, form).null_count():
            continue
        values = parse(cells, kind, form)
        if values.null_count() == cells.null_count():
            if form == "%Y%m%d" and not values.dt.year().drop_nulls().is_between(1900, 2100).all():
                return None
            fitting.append((kind, values, form if not bool((_padded(cells, form) != cells).any()) else _unpadded(form)))
            if form.find("%m") > form.find("%d") or "%m" not in form or form.startswith("%Y"):
                break  # nothing further down reads the same text in another way
    if not fitting:
        return None
    other = next((form for _, _, form in fitting[1:] if _swapped(form) == fitting[0][2]), "")
    return (*fitting[0], other)


def _swapped(form: str) -> str:
    return form.replace("m", "*").replace("d", "m").replace("*", "d")


def parse(cells: "pl.Series", kind: str, form: str) -> "pl.Series":
    """Return text read as dates, moments or times in a format, null where it is another."""
    import polars as pl

    form = form.replace("%-", "%")
    cells = _padded(cells, form)
    if kind == "date":
        return cells.str.to_date(form, strict=False)
    if kind == "time":
        return cells.str.to_time(form, strict=False)
    return cells.str.to_datetime(form, strict=False, time_unit="us").cast(pl.Datetime("us"))


def _padded(cells: "pl.Series", form: str) -> "pl.Series":
    """Return dates and times with two digits a number, as polars reads them: "1.2.2000" is "01.02.2000"."""
    return cells if "%.f" in form else cells.str.replace_all(r"\b(\d)\b", "0$1")


def _unpadded(form: str) -> str:
    return form.replace("%d", "%-d").replace("%m", "%-m").replace("%H", "%-H").replace("%I", "%-I")


def written(cells: "pl.Series", kind: str, form: str) -> "pl.Series":
    """Return cells as they stood in the text that was read: formats of dates, words of truth, signs around numbers."""
    import polars as pl

    if kind == "boolean" and form:
        true, _, false = form.partition("/")
        return (
            pl.select(pl.when(cells).then(pl.lit(true)).when(~cells).then(pl.lit(false))).to_series().alias(cells.name)
        )
    if kind in ("date", "moment", "time") and form:
        return cells.dt.to_string(form)
    if kind in ("real", "integer") and "{}" in form:
        prefix, _, suffix = form.partition("{}")
        text = cells.cast(pl.String)
        return (prefix + text + suffix).alias(cells.name)
    return cells


def read_again(cells: "pl.Series", kind: str, form: str, style: NumberStyle | None) -> "pl.Series | None":
    """Return what `written` wrote, null where a cell is written in another way; None for kinds without a form."""
    import polars as pl

    if kind == "boolean" and form:
        true, _, false = form.lower().partition("/")
        lower = cells.str.to_lowercase()
        return pl.select(pl.when(lower == true).then(True).when(lower == false).then(False)).to_series()
    if kind in ("date", "moment", "time") and form:
        return parse(cells, kind, form)
    if kind in ("real", "integer"):
        prefix, _, suffix = form.partition("{}")
        bare = cells.str.strip_prefix(prefix).str.strip_suffix(suffix).str.strip_chars()
        return to_numbers(bare, style)
    return None


def looks_like_prose(distinct: "pl.Series") -> bool:
    """Whether words are sentences rather than names."""
    length = distinct.str.len_chars().to_numpy().mean()
    sentences = distinct.str.contains(r"\S\s+\S+\s+\S").to_numpy().mean()
    return bool(length > 30 or sentences > 0.5)


IDENTIFIER = re.compile(r"(^|[_ .])(id|ids|uuid|guid|key|index|rownames?|row_?id|nr|no|number)$", re.IGNORECASE)
