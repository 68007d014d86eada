"""The columns of a table, each read as what it is; and those that are left out, with the reason."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.column_kind import MODELLED, Kind
from pushforward.tables.columns import choose, listing, which
from pushforward.tables.fitted_columns import type_of
from pushforward.tables.kinds import kind_of
from pushforward.tables.number_text import NumberStyle, to_numbers
from pushforward.tables.row_numbers import numbers_the_rows

if TYPE_CHECKING:
    import polars as pl

KEEP = "name it in --columns or columns= to keep it"


@dataclass(frozen=True, eq=False)
class ReadColumn:
    """A column that can be modelled: its name, its kind, its values (null where missing) and the type it came with."""

    name: str
    kind: Kind
    values: "pl.Series"
    dtype: str


@dataclass(frozen=True)
class LeftOut:
    """A column that is not used, and why."""

    name: str
    why: str

    def __str__(self) -> str:
        return f'"{self.name}" is left out: {self.why}'


def read_columns(
    cells: Cells,
    *,
    columns: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    missing: Collection[str] = (),
    keep: Sequence[str] = (),
) -> tuple[list[ReadColumn], list[LeftOut]]:
    """Return the columns that can be modelled, in the table's order, and those that are left out.

    Args:
        cells: The table.
        columns: The columns to take, and nothing else; all by default.
        drop: Columns to leave out, about which nothing is said.
        kinds: Kinds of columns by name, where the user knows better.
        missing: Words, or numbers, that stand for missing cells besides the usual ones.
        keep: Columns that were asked for in another way.

    Raises:
        InputError: If a column is unknown, cannot be of the kind that is asked for, or nothing is left.
    """
    source, there, kinds = cells.source, cells.frame.columns, kinds or {}
    choose(there, list(kinds), source=source, named=cells.named)
    _, names = which(there, columns, drop, source=source, named=cells.named)
    if not cells.named and columns is not None and not set(names) <= set(there):
        there = list(names)  # columns without names that were given some, in their order
    frame = (
        cells.frame
        if there == cells.frame.columns
        else cells.frame.rename(dict(zip(cells.frame.columns, there, strict=True)))
    )
    if not frame.height:
        raise InputError(f"{source}: there are no rows")
    asked = {*kinds, *keep, *(names if columns is not None else ())}
    used: list[ReadColumn] = []
    left_out: list[LeftOut] = []
    for place, name in enumerate(name for name in there if name in names):
        kind, values = _kind(frame[name], missing, cells.style, kinds.get(name), source)
        if name in kinds and values.null_count() == len(values):
            raise InputError(
                f'{source}: column "{name}" cannot be "{kinds[name]}": every cell is missing (leave it out)'
            )
        if kind.name == "identifier" and frame.width == 1 and not cells.named:
            _, values = _kind(frame[name], missing, cells.style, _instead(values), source)
            kind = Kind(_instead(values), "whole numbers, all that the table holds")
        why = None if name in asked else _row_numbers(frame[name], place, len(names), cells)
        twin = next((one for one in used if _identical(one.values, values)), None)
        if why is None and kind.name not in MODELLED:
            why = f"{kind.name}: {kind.why}"
            if name in asked and kind.name in ("identifier", "text"):
                kind, values = _kind(frame[name], missing, cells.style, _instead(values), source)
                why = None
        if why is None and twin is not None and name not in asked:
            why = f'every cell is that of "{twin.name}"'
        if why is None:
            used.append(ReadColumn(name, kind, values, "" if cells.delimiter else type_of(frame[name])))
        else:
            left_out.append(LeftOut(name, why))
    if not used:
        gap = " " if len(left_out) == 1 else "\n  "
        reasons = "".join(f"{gap}{one}" for one in left_out)
        raise InputError(f"{source}: no column is left to fit:{reasons}")
    if unusable := [one for one in left_out if one.name in asked]:
        raise InputError(f'{source}: column "{unusable[0].name}" cannot be modelled: {unusable[0].why} (leave it out)')
    return used, left_out


def _kind(
    cells: "pl.Series", missing: Collection[str], style: NumberStyle | None, asked: str | None, source: str
) -> tuple[Kind, "pl.Series"]:
    try:
        return kind_of(cells, missing=missing, style=style, asked=asked)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _instead(values: "pl.Series") -> str:
    """Return what an identifier that is asked for by name is modelled as."""
    return "integer" if values.dtype.is_numeric() else "category"


def _row_numbers(cells: "pl.Series", place: int, width: int, table: Cells) -> str | None:
    """Return why a column numbers the rows, where it stands first, or last as pandas writes its index; or None."""
    last = cells.name == "__index_level_0__" and place == width - 1
    if width < 2 or not table.named or not (place == 0 or last):
        return None
    import polars as pl

    text = cells.dtype == pl.String
    if not (text or cells.dtype.is_numeric()):
        return None
    numbers = to_numbers(cells) if text else cells.cast(pl.Float64)
    what = None if numbers.null_count() else numbers_the_rows(cells.name, numbers.to_numpy())
    return None if what is None else f"{what} ({KEEP})"


def _identical(one: "pl.Series", other: "pl.Series") -> bool:
    return one.dtype == other.dtype and one.null_count() == other.null_count() and one.equals(other, null_equal=True)


def said_of(columns: Sequence[ReadColumn]) -> list[str]:
    """Say of each column what it was read as and why, one line each."""
    width = max(len(one.name) for one in columns)
    lines = []
    for one in columns:
        gone = one.values.null_count() / max(len(one.values), 1)
        missing = f"; {gone:.0%} missing" if gone >= 0.005 else "; some missing" if gone else ""
        lines.append(f"{one.name:<{width}}  {one.kind.name}: {one.kind.why}{missing}")
    return lines


def said_of_left_out(left_out: Sequence[LeftOut]) -> list[str]:
    """Say which columns are left out, one line each; of more than ten, those of one reason in one line."""
    if len(left_out) <= 10:
        return [str(one) for one in left_out]
    reasons: dict[str, list[str]] = {}
    for one in left_out:
        reasons.setdefault(one.why.partition(":")[0].partition(" (")[0], []).append(one.name)
    return [f"{listing(names)} left out: {why}" for why, names in reasons.items()]
