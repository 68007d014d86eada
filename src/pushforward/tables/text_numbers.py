"""From words to numbers, with the signs that people write around and inside them, and back.

A form is what stands around "{}": "${}", "{} %"; after a colon the mark that groups thousands and, before "f", that of
the decimals and how many there are: "{:,}", "${:,.2f}", "{:.,2f} €". A second part is of negative numbers: "{};({})".
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pushforward.tables.number_text import BLANKS, NumberStyle, style_of, to_numbers

if TYPE_CHECKING:
    import polars as pl

CURRENCIES = {
    "$", "€", "£", "¥", "₹", "₩", "₽", "US$", "A$", "C$", "USD", "EUR", "GBP", "CHF", "JPY", "RS", "RS.", "KR", "#",
}  # fmt: skip
_MINUS = "\u2212"
_SIGNED = (
    rf"^(?P<open>\(?)(?P<sign>[+\-{_MINUS}]?)(?P<before>[^\d+\-.,\s(){_MINUS}]*)(?P<gap>\s?)(?P<inner>\(?)"
    rf"(?P<own>[+\-{_MINUS}]?)(?P<number>[.,]?\d(?:[\d.,{BLANKS}]*\d)?[.,]?)(?P<space>\s?)(?P<after>[^\d\s()]*)"
    r"(?P<close>\)?)$"
)
_FORM = re.compile(r"^(?P<before>.*?)\{(?::(?P<group>[^\d{}]?)(?:(?P<decimal>[.,])(?P<digits>\d*)f)?)?\}(?P<after>.*)$")


@dataclass(frozen=True)
class NumberForm:
    """What stands around and inside numbers.

    Attributes:
        before: What precedes each, with its blank.
        after: What follows.
        group: Between thousands; "" for nothing.
        decimal: Before decimals.
        digits: How many decimals all have; None where they differ.
        negative: What stands around negative numbers; "" for a minus sign.
    """

    before: str = ""
    after: str = ""
    group: str = ""
    decimal: str = "."
    digits: int | None = None
    negative: tuple[str, str] | None = None

    @classmethod
    def of(cls, form: str) -> "NumberForm":
        """Return what a form says."""
        positive, _, negative = form.partition(";")
        parts, less = _FORM.match(positive), _FORM.match(negative)
        if parts is None:
            return cls()
        digits = int(parts["digits"]) if parts["digits"] else None
        around = None if less is None else (less["before"], less["after"])
        return cls(parts["before"], parts["after"], parts["group"] or "", parts["decimal"] or ".", digits, around)

    def __str__(self) -> str:
        spec = self.group
        if self.digits is not None or self.decimal == ",":
            spec += f"{self.decimal}{'' if self.digits is None else self.digits}f"
        inner = "{" + (f":{spec}" if spec else "") + "}"
        form = f"{self.before}{inner}{self.after}"
        return form if self.negative is None else f"{form};{self.negative[0]}{inner}{self.negative[1]}"

    @property
    def is_bare(self) -> bool:
        """Whether nothing but a minus sign stands around the numbers."""
        return not (self.before or self.after or self.negative)


def numbers_in(cells: "pl.Series", style: NumberStyle | None) -> tuple["pl.Series", str]:
    """Return the numbers that cells hold, null where one holds none, and the form of most of them.

    Args:
        cells: Text, null where a cell is missing.
        style: How numbers in the file are written; in a column that is written otherwise its own style is found.
    """
    numbers = to_numbers(cells, style)
    if numbers.null_count() > cells.null_count():
        parts = _parts(cells)
        signed, form = _signed(parts, _style(parts["number"], style))
        if signed.null_count() < numbers.null_count():
            return signed.alias(cells.name), str(form)
    return numbers, _form_of_bare(cells.filter(numbers.is_not_null()), numbers, style)


def _parts(cells: "pl.Series") -> "pl.DataFrame":
    """Return what stands before, in and behind numbers, and whether each is negative and its brackets are sound."""
    import polars as pl

    parts = cells.str.extract_groups(_SIGNED).struct.unnest()
    opened = (parts["open"] == "(") | (parts["inner"] == "(")
    return parts.with_columns(
        opened=opened,
        minus=opened | (parts["sign"] + parts["own"]).str.contains(f"[-{_MINUS}]"),
        sound=opened == (parts["close"] == ")"),
        around=pl.concat_str("before", pl.lit("\0"), "after"),
    )


def _style(numbers: "pl.Series", style: NumberStyle | None) -> NumberStyle:
    """Return the style that reads most numbers: the file's or the column's own."""
    own = style_of(numbers.to_frame(), [to_numbers(numbers)], ",") or NumberStyle()
    found = [own] if style is None else [style, own]
    return min(found, key=lambda one: to_numbers(numbers, one).null_count())


def _signed(parts: "pl.DataFrame", style: NumberStyle) -> tuple["pl.Series", NumberForm]:
    """Return the numbers with the signs that most have, and the form."""
    numbers = to_numbers(parts["number"], style)
    sound = numbers.is_not_null() & parts["sound"]
    around = parts["around"].filter(sound).mode().sort()
    before, _, after = around[0].partition("\0") if len(around) else ("", "", "")
    sound = (sound & (parts["around"] == f"{before}\0{after}")).fill_null(False)
    kept = parts.filter(sound)
    if (before and before.upper() not in CURRENCIES) or kept["opened"].all():
        sound = sound & False  # letters before a number make a name of it, brackets around all say nothing
    before += kept["gap"].mode().sort()[0] if before else ""
    after = (kept["space"].mode().sort()[0] if after else "") + after
    negative = None
    if kept["opened"].any():
        outer = bool((kept["open"] == "(").any())
        negative = (f"({before}", f"{after})") if outer else (f"{before}(", f"{after})")
    marks = _marks(kept["number"], "," if style.decimal_comma else ".")
    return _with_sign(numbers.set(~sound, None), parts["minus"]), NumberForm(before, after, *marks, negative=negative)


def _with_sign(numbers: "pl.Series", minus: "pl.Series") -> "pl.Series":
    return (-numbers).zip_with(minus.fill_null(False), numbers)


def _form_of_bare(cells: "pl.Series", numbers: "pl.Series", style: NumberStyle | None) -> str:
    """Return the form of whole numbers in groups of three; other bare numbers are written plainly."""
    if style is None or bool((numbers.drop_nulls() % 1 != 0).any()):
        return ""
    group, _, digits = _marks(cells, "," if style.decimal_comma else ".")
    return f"{{:{group}}}" if group and digits is None else ""


def _marks(numbers: "pl.Series", decimal: str) -> tuple[str, str, int | None]:
    """Return the mark between thousands, that of decimals ("." where there are none), and how many all have."""
    other = "." if decimal == "," else ","
    groups = numbers.str.extract(rf"\d([{other}{BLANKS}])\d{{3}}(?:\D|$)").drop_nulls()
    lengths = numbers.drop_nulls().str.extract(rf"[{decimal}](\d+)$").str.len_chars()
    digits = int(lengths[0]) if lengths.n_unique() == 1 and lengths[0] is not None else None
    return groups[0] if len(groups) else "", decimal if lengths.count() else ".", digits


def parse_numbers(cells: "pl.Series", form: str, style: NumberStyle | None) -> "pl.Series":
    """Return text read as numbers in a form, null where it is another; without a form in the style of the file."""
    if not form:
        return to_numbers(cells, style)
    known, parts = NumberForm.of(form), _parts(cells)
    sound = parts["sound"] & (parts["around"] == f"{known.before.strip()}\0{known.after.strip()}")
    numbers = to_numbers(parts["number"], NumberStyle(known.decimal == ","))
    return _with_sign(numbers.set(~sound, None), parts["minus"])


def write_numbers(values: "pl.Series", form: str) -> "pl.Series":
    """Return numbers as text in a form."""
    import polars as pl

    known = NumberForm.of(form)
    return pl.Series(values.name, [None if one is None else _text(one, known) for one in values], dtype=pl.String)


def _text(number: float, form: NumberForm) -> str:
    size = abs(number)
    text = f"{size:,.{form.digits}f}" if form.digits is not None else f"{size:,}"
    text = text.replace(",", "\0").replace(".", form.decimal).replace("\0", form.group)
    if number >= 0:
        return f"{form.before}{text}{form.after}"
    before, after = form.negative or (f"-{form.before}", form.after)
    return f"{before}{text}{after}"
