"""From a data frame or an array in memory to a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.columns import (
    Table,
    check_cells,
    check_names,
    check_numeric,
    choose,
    names_in,
    not_finite,
    numbered,
    quoted,
)

if TYPE_CHECKING:
    import polars as pl


def as_table(data: Any, *, columns: str | Sequence[str] | None = None, source: str | None = None) -> Table:
    """Turn a data frame or an array into a table of float64 columns.

    Args:
        data: A data frame that narwhals knows (pandas, polars, pyarrow, ...), a tensor, an array or nested lists,
            (rows,) or (rows, columns), or a table, which is returned as it is.
        columns: The columns that must be there and hold numbers, in this order; all by default.
        source: What messages call the data; by default "data frame" or "array".

    Raises:
        InputError: If a column is missing or not numeric, a cell is empty, NaN or infinite, or there are no rows.

    Example:
        >>> import pushforward as pf
        >>> pf.tables.as_table([[1, 2], [3, 4]]).columns
        ('x1', 'x2')
    """
    import narwhals as nw

    if isinstance(data, Table):
        return data if columns is None else data.select(columns)
    try:
        frame = nw.from_native(data, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        raise InputError(f"{source or 'data frame'}: two columns share a name (give each its own name)") from error
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        return from_array(data, columns=columns, source=source or "array")
    source = source or "data frame"
    try:
        native = frame.to_polars()
    except Exception as error:  # each kind of frame has its own errors for columns of mixed Python objects
        raise InputError(f"{source}: a column mixes kinds of values ({str(error).splitlines()[0]})") from error
    return from_frame(native, columns=columns, source=source)


def from_frame(frame: "pl.DataFrame", *, columns: str | Sequence[str] | None, source: str) -> Table:
    """Turn a polars frame into a table: integers, bools, decimals and floats become float64.

    Raises:
        InputError: As `as_table`.
    """
    import polars as pl

    check_names(frame.columns, source=source)
    wanted = choose(frame.columns, frame.columns if columns is None else columns, source=source)
    chosen = frame[:, wanted]
    text = [c.name for c in chosen if not (c.dtype.is_numeric() or c.dtype in (pl.Boolean, pl.Null))]

    def example(name: str) -> str:
        row = int(frame[name].is_not_null().arg_max() or 0)
        return f'row {row + 1} of "{name}" holds {quoted(frame[name][row])}'

    words = all(frame[name].dtype in (pl.String, pl.Categorical, pl.Enum) for name in text)
    check_numeric(text, example, source=source, kind="text" if words else "not numeric")
    values = chosen.cast(pl.Float64).to_numpy(order="c")

    def describe(row: int, column: int) -> str:
        return "missing value" if chosen[row, column] is None else not_finite(values[row, column])

    check_cells(values, chosen.columns, source=source, describe=describe)
    return Table(tuple(chosen.columns), values, source, as_is=frame)


def from_array(data: Any, *, columns: str | Sequence[str] | None, source: str) -> Table:
    """Turn an array or tensor, (rows,) or (rows, columns), into a table whose columns are called x1, x2, ...

    Raises:
        InputError: As `as_table`, or if the array has another shape or holds no numbers.
    """
    if hasattr(data, "detach"):
        data = data.detach().cpu().double()
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise InputError(f"{source}: rows have different lengths (give every row the same number of cells)") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"{source}: an array of {array.dtype} holds no plain numbers (use a float or integer dtype)")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InputError(f"{source}: an array of shape {array.shape} is no table (use (rows, columns) or (rows,))")
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes inf, which is reported as such
        array = np.ascontiguousarray(array, dtype=np.float64)
    there = numbered(array.shape[1])
    check_names(there, source=source)
    if columns is None:
        check_cells(array, there, source=source)
        return Table(there, array, source, named=False, as_is=array)
    values = array[:, choose(there, columns, source=source, named=False)]
    names = tuple(names_in(columns, there))
    check_cells(values, names, source=source)
    return Table(names, values, source, named=False, as_is=array)
