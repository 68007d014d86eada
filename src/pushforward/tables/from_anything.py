"""The one door: whatever a user hands over comes out as a table."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table, names_in, which
from pushforward.tables.data_frames import from_array, from_frame
from pushforward.tables.file_reader import read_cells, read_table


def as_table(
    data: Any,
    *,
    columns: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    source: str | None = None,
) -> Table:
    """Turn a file, a data frame or an array into a table of float64 columns.

    Args:
        data: The path of a file that `read_table` reads, a data frame that narwhals knows (pandas, polars, pyarrow,
            ...), a tensor, an array or nested lists, (rows,) or (rows, columns), or a table, which is returned as it
            is.
        columns: The columns that must be there and hold numbers, in this order; all by default.
        drop: Columns to leave out, whatever they hold.
        source: What messages call what is no file; by default "data frame" or "array".

    Raises:
        InputError: If a column is missing or not numeric, a cell is empty, NaN or infinite, or there are no rows.

    Example:
        >>> import pushforward as pf
        >>> pf.tables.as_table([[1, 2], [3, 4]]).columns
        ('x1', 'x2')
    """
    if columns is not None and not names_in(columns, ()):
        raise InputError("columns= names no column (leave it out to take all)")
    if isinstance(data, Table):
        _, names = which(data.columns, columns, drop, source=data.source)
        return data if columns is None and len(names) == len(data.columns) else data.select(names)
    if isinstance(data, Cells):
        return data.numbers(columns, drop)
    if isinstance(data, (str, os.PathLike)):
        return read_table(data, columns=columns, drop=drop)
    return as_cells(data, source=source).numbers(columns, drop)


def as_cells(data: Any, *, source: str | None = None) -> Cells:
    """Turn what `as_table` takes into its cells, as they stand.

    Raises:
        InputError: If it is no table.
    """
    import narwhals as nw
    import polars as pl

    if isinstance(data, Cells):
        return data
    if isinstance(data, Table):
        numbers = pl.from_numpy(data.values, schema=list(data.columns))
        return replace(from_frame(numbers, source=data.source), named=data.named, kind=data.kind, notes=data.notes)
    if isinstance(data, (str, os.PathLike)):
        return read_cells(data)
    try:
        frame = nw.from_native(data, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        raise InputError(f"{source or 'data frame'}: two columns share a name (give each its own name)") from error
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        cells = from_array(data, source=source or "array")
        return replace(cells, kind="tensor" if hasattr(data, "detach") else "array")
    source = source or "data frame"
    frame = frame.with_columns(nw.selectors.categorical().cast(nw.String))  # numbers that are codes are no numbers
    return replace(from_frame(_to_polars(frame, source), source=source), kind=frame.implementation.value)


def _to_polars(frame: Any, source: str) -> Any:
    """Return a narwhals frame as a polars one; InputError naming the first column that mixes kinds of values."""
    try:
        return frame.to_polars()
    except Exception as error:  # each kind of frame has its own errors for columns of mixed Python objects
        name = next((name for name in frame.columns if _mixes(frame.select(name))), "?")
        reason = str(error).splitlines()[0]
        raise InputError(f'{source}: column "{name}" mixes kinds of values ({reason}; give it one type)') from error


def _mixes(frame: Any) -> bool:
    try:
        frame.to_polars()
    except Exception:
        return True
    return False
