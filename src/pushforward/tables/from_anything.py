"""The one door: whatever a user hands over comes out as cells, or as a table of numbers."""

import os
from collections.abc import Sequence
from typing import Any

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table, names_in, which
from pushforward.tables.data_frames import cells_of_array, cells_of_frame
from pushforward.tables.file_reader import cells_of_file
from pushforward.tables.numeric_table import numbers_of


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
    return numbers_of(read_cells(data, source=source, needed=columns), columns=columns, drop=drop)


def read_cells(data: Any, *, source: str | None = None, needed: str | Sequence[str] | None = None) -> Cells:
    """Take a file, a data frame or an array as it is, whatever its cells hold.

    Args:
        data: What `as_table` takes, or cells, which are returned as they are.
        source: What messages call what is no file; by default "data frame" or "array".
        needed: Columns that each of several files must have; all that the first one has by default.

    Raises:
        InputError: If there is no such file, it is damaged, or it is no table: its rows differ in length, two columns
            share a name, or there are no rows.

    Example:
        >>> from pushforward.tables.from_anything import read_cells
        >>> read_cells([[1, 2], [3, 4]]).frame.dtypes
        [Int64, Int64]
    """
    import narwhals as nw
    import polars as pl

    if isinstance(data, Cells):
        return data
    if isinstance(data, Table):
        columns = {name: data.values[:, position] for position, name in enumerate(data.columns)}
        return Cells(pl.DataFrame(columns), data.source, named=data.named, kind=data.kind, notes=data.notes)
    if isinstance(data, (str, os.PathLike)):
        return cells_of_file(data, needed=needed)
    try:
        frame = nw.from_native(data, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        raise InputError(f"{source or 'data frame'}: two columns share a name (give each its own name)") from error
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        kind = "tensor" if hasattr(data, "detach") else "array"
        return cells_of_array(data, source=source or "array", kind=kind)
    source = source or "data frame"
    # categories may be numbers, which are codes all the same; those with an order keep it
    types: dict[str, Any] = {name: pl.Categorical for name in frame.select(nw.selectors.categorical()).columns}
    for name, dtype in frame.schema.items():
        if isinstance(dtype, nw.Enum):
            types[name] = pl.Enum([str(level) for level in dtype.categories])
        elif isinstance(dtype, nw.Unknown) and frame.implementation.is_pandas_like():  # periods, for one
            types[name] = pl.String
    frame = frame.with_columns(nw.col(*types).cast(nw.String)) if types else frame
    native = _to_polars(frame, source).with_columns(pl.col(name).cast(dtype) for name, dtype in types.items())
    return cells_of_frame(native, source=source, kind=frame.implementation.value)


def _to_polars(frame: Any, source: str) -> Any:
    """Return a narwhals frame as a polars one, columns that mix kinds of values as text."""
    import narwhals as nw

    try:
        return frame.to_polars()
    except Exception as error:  # each kind of frame has its own errors for columns of mixed Python objects
        mixed = [name for name in frame.columns if _mixes(frame.select(name))]
        try:
            return frame.with_columns(nw.col(*mixed).cast(nw.String)).to_polars()
        except Exception:
            reason = str(error).splitlines()[0]
            raise InputError(
                f'{source}: column "{mixed[0] if mixed else "?"}" mixes kinds of values ({reason}; give it one type)'
            ) from error


def _mixes(frame: Any) -> bool:
    try:
        frame.to_polars()
    except Exception:
        return True
    return False
