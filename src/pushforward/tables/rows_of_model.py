"""The columns of a fitted model in a new table, read as they were read when it was fitted."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.column_kind import NUMBERS, Kind
from pushforward.tables.columns import choose, quoted
from pushforward.tables.kinds import kind_of
from pushforward.tables.missing_cells import numbers_in, without_missing
from pushforward.tables.number_text import NumberStyle
from pushforward.tables.text_kinds import read_again

if TYPE_CHECKING:
    import polars as pl

NAMES = {**dict.fromkeys(NUMBERS, "number"), "boolean": "truth value", "moment": "date and time"}


class HasKind(Protocol):
    """A column that is known by name and kind."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def kind(self) -> Kind: ...  # noqa: D102


Refuse: TypeAlias = 'Callable[["pl.Series", "pl.Series", HasKind, Cells], None]'


def what_it_is(column: HasKind) -> str:
    """Return what a cell of a column should be: "number", "date written %d.%m.%Y"."""
    written = f" written {column.kind.form}" if column.kind.form else ""
    return f"{NAMES.get(column.kind.name, column.kind.name)}{written}"


def refuse_first(bad: "pl.Series", cells: "pl.Series", column: HasKind, table: Cells) -> None:
    """Raise InputError naming the first bad cell."""
    row = int(bad.arg_max() or 0)
    cell = quoted(cells[row]) if isinstance(cells[row], str) else cells[row]
    raise InputError(
        f'{table.source}: column "{column.name}", {table.place(row + 1)}: {cell} is no {what_it_is(column)}, as the'
        " column was when the model was fitted"
    )


def values_of(
    cells: Cells,
    columns: Mapping[str, HasKind],
    wanted: Sequence[str],
    *,
    missing: Collection[str] = (),
    refuse: Refuse = refuse_first,
) -> "pl.DataFrame":
    """Return the wanted columns of a table, values of their kinds, null where a cell is missing.

    Args:
        cells: The table; columns that are not wanted may hold anything.
        columns: The model's, by name.
        wanted: Those that must be there.
        missing: Words that stood for missing cells when the model was fitted.
        refuse: Told of cells that are not of their column's kind, which then count as missing: which these are, all
            cells, column and table. By default it raises.

    Raises:
        InputError: If a column is missing, a cell is not of its column's kind: names the cell; or a column is of a type
            that has nothing of it.
    """
    import polars as pl

    positions = choose(cells.frame.columns, list(wanted), source=cells.source, named=cells.named)
    frame = cells.frame[:, positions]
    frame.columns = list(wanted)
    style = cells.style
    return pl.DataFrame(
        [_values(frame[name], columns[name], missing, style, cells, refuse).alias(name) for name in wanted]
    )


def _values(
    cells: "pl.Series",
    column: HasKind,
    missing: Collection[str],
    style: NumberStyle | None,
    table: Cells,
    refuse: Refuse,
) -> "pl.Series":
    import polars as pl

    missing = (*missing, *column.kind.words)
    if cells.dtype == pl.String:
        text = without_missing(cells, missing)
        values = read_again(text, column.kind.name, column.kind.form, style)
        if values is not None:
            bad = values.is_null() & text.is_not_null()
            if values.dtype.is_float():
                bad = bad | (values.is_infinite() | values.is_nan()).fill_null(False)
            values = _without(values, bad, cells, column, table, refuse)
            return values.cast(pl.Int64) if column.kind.name == "integer" and _whole(values) else values
    if column.kind.name == "boolean" and cells.dtype.is_numeric():
        other = cells.cast(pl.Float64).fill_nan(None)
        cells = _without(cells, ((other != 0) & (other != 1)).fill_null(False), cells, column, table, refuse)
    elif column.kind.name == "date" and cells.dtype == pl.Datetime:
        timed = cells.dt.truncate("1d") != cells
        cells = _without(cells, timed.fill_null(False), cells, column, table, refuse)
    elif cells.dtype.is_float() and refuse is not refuse_first:  # else `kind_of` says so, and how to mend it
        infinite = cells.is_infinite() & ~cells.is_in(numbers_in(missing))
        cells = _without(cells, infinite.fill_null(False), cells, column, table, refuse)
    try:
        values = kind_of(cells, missing=missing, style=style, asked=_asked(column, cells))[1]
    except InputError as error:
        raise InputError(f"{table.source}: {error}") from error
    return values.cast(pl.String) if values.dtype == pl.Enum else values


def _without(
    values: "pl.Series", bad: "pl.Series", cells: "pl.Series", column: HasKind, table: Cells, refuse: Refuse
) -> "pl.Series":
    """Return values without the bad ones, once these are refused."""
    if not bad.any():
        return values
    refuse(bad, cells, column, table)
    return values.set(bad, None)


def _asked(column: HasKind, cells: "pl.Series") -> str:
    """Return the kind to read cells as: decimals in a column of whole numbers are numbers all the same."""
    name = column.kind.name
    return "real" if name == "periodic" or (name == "integer" and cells.dtype.is_float()) else name


def _whole(values: "pl.Series") -> bool:
    return bool((values.drop_nulls() % 1 == 0).all())
