"""From a data frame or an array in memory to a table, and from rows to the kind of frame that was handed over."""

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
    from pushforward.numerics.arrays import as_tensor

    if not (isinstance(data, (list, tuple)) or hasattr(data, "__array__")):
        raise InputError(
            f"{source}: {type(data).__name__} is no table (give a file, a data frame, or an array or list of rows)"
        )
    array = as_tensor(data, source).detach().cpu().double().numpy()
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InputError(f"{source}: an array of shape {array.shape} is no table (use (rows, columns) or (rows,))")
    array = np.ascontiguousarray(array)
    there = numbered(array.shape[1])
    check_names(there, source=source)
    if columns is None:
        check_cells(array, there, source=source)
        return Table(there, array, source, named=False, as_is=array)
    values = array[:, choose(there, columns, source=source, named=False)]
    names = tuple(names_in(columns, there))
    check_cells(values, names, source=source)
    return Table(names, values, source, named=False, as_is=array)


LIBRARIES = ("pandas", "polars", "pyarrow", "modin", "cudf")
KINDS = ("array", "tensor", *LIBRARIES)


def of_kind(kind: str, columns: Sequence[str], values: np.ndarray) -> Any:
    """Return rows as a user handed theirs over: the one place where frames are made.

    Args:
        kind: A `Table.kind`. Where its library is not known or not installed, the frame is a polars one.
        columns: The columns' names; arrays and tensors lose them.
        values: (rows, columns), float64.
    """
    import narwhals as nw
    import torch

    if kind == "array":
        return values
    if kind == "tensor":
        return torch.from_numpy(values)
    data = {name: values[:, position] for position, name in enumerate(columns)}
    try:
        return nw.from_dict(data, backend=kind if kind in LIBRARIES else "polars").to_native()  # type: ignore[arg-type]
    except ImportError:
        return nw.from_dict(data, backend="polars").to_native()
