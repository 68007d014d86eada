"""From cells as they were read to a table of finite numbers; where a cell is none, all that is wrong in one error."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table, quoted, which
from pushforward.tables.csv_dialect import NAMES
from pushforward.tables.number_text import style_of, to_numbers
from pushforward.tables.problems import check_usable, not_a_number, not_finite, text_problem

if TYPE_CHECKING:
    import polars as pl


def numbers_of(cells: Cells, *, columns: str | Sequence[str] | None, drop: str | Sequence[str] = ()) -> Table:
    """Turn cells into a table: text that is numbers, integers, bools, decimals and floats become float64.

    Args:
        cells: What was read; all of it is kept in `Table.as_is`.
        columns: The columns that must be there and hold numbers; all by default.
        drop: Columns to leave out.

    Raises:
        InputError: If there is no such column.
        TableProblems: If a cell of the columns is no finite number.
    """
    positions, names = which(cells.columns, columns, drop, source=cells.source, named=cells.named)
    chosen = cells.frame[:, positions]
    return _of_text(cells, chosen, names) if cells.delimiter else _of_typed(cells, chosen, names)


def _of_text(cells: Cells, text: "pl.DataFrame", names: tuple[str, ...]) -> Table:
    """Cast text as it stands; only where that fails are decimal commas and groups of thousands looked for."""
    import polars as pl

    assert cells.delimiter is not None
    cast, notes, decimal_comma = [to_numbers(column) for column in text], cells.notes, False
    style = style_of(text, cast, cells.delimiter)
    if style is not None:
        cast, decimal_comma = [to_numbers(column, style) for column in text], style.decimal_comma
        notes = (*notes, f"{NAMES[cells.delimiter]} separate the cells, {style.note}")
    numbers = pl.DataFrame(cast)
    values = numbers.to_numpy(order="c")

    def describe(row: int, column: int) -> str:
        cell = text[row, column] or ""
        if decimal_comma and to_numbers(text[row : row + 1, column])[0] is not None:
            return f"{quoted(cell)} has a decimal point, where other cells have decimal commas"
        return not_a_number(cell, numbers[row, column])

    def example(name: str) -> str:
        column = names.index(name)
        row = int((numbers[:, column].is_null() & is_filled(text[:, column])).arg_max() or 0)
        return f'{cells.place(row + 1)} of "{name}" holds {quoted(text[row, column])}'

    words = [name for name, column, said in zip(names, numbers, text, strict=True) if is_text(column, said)]
    problems = text_problem(words, example)
    check_usable(values, names, source=cells.source, problems=problems, describe=describe, place=cells.place)
    return Table(
        names,
        values,
        cells.source,
        named=cells.named,
        as_is=cells.frame,
        delimiter=cells.delimiter,
        kind=cells.kind,
        decimal_comma=decimal_comma,
        notes=notes,
    )


def _of_typed(cells: Cells, chosen: "pl.DataFrame", names: tuple[str, ...]) -> Table:
    """Cast numbers and bools; columns of anything else are called text, or not numeric."""
    import polars as pl

    chosen.columns = names
    text = [c.name for c in chosen if not (c.dtype.is_numeric() or c.dtype in (pl.Boolean, pl.Null))]

    def example(name: str) -> str:
        row = int(chosen[name].is_not_null().arg_max() or 0)
        return f'{cells.place(row + 1)} of "{name}" holds {quoted(chosen[name][row])}'

    words = all(chosen[name].dtype in (pl.String, pl.Categorical, pl.Enum) for name in text)
    problems = text_problem(text, example, kind="text" if words else "not numeric")
    values = chosen.with_columns(pl.lit(None).alias(name) for name in text).cast(pl.Float64).to_numpy(order="c")

    def describe(row: int, column: int) -> str:
        return "missing value" if chosen[row, column] is None else not_finite(values[row, column])

    check_usable(values, names, source=cells.source, problems=problems, describe=describe, place=cells.place)
    return Table(names, values, cells.source, named=cells.named, as_is=cells.frame, kind=cells.kind, notes=cells.notes)


def matrix_of(frame: "pl.DataFrame", names: Sequence[str]) -> np.ndarray:
    """Return columns of values as numbers, (rows, columns) in float64."""
    import polars as pl

    return frame.select(names).cast(pl.Float64).to_numpy(order="c")


def is_text(numbers: "pl.Series", cells: "pl.Series") -> bool:
    """Whether most of a column's cells that are not empty are words."""
    return numbers.null_count() > 0 and numbers.is_not_null().sum() * 2 < is_filled(cells).sum()


def is_filled(cells: "pl.Series") -> "pl.Series":
    """Whether each cell holds more than blanks."""
    return cells.str.strip_chars().fill_null("") != ""
