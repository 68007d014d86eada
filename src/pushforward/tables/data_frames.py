"""From a data frame or an array in memory to a table, and from rows to the kind of frame that was handed over."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.columns import (
    Table,
    check_names,
    numbered,
    quoted,
    which,
)
from pushforward.tables.problems import check_usable, not_finite, text_problem
from pushforward.tables.row_numbers import UNNAMED, labels_rows

if TYPE_CHECKING:
    import polars as pl


def from_frame(
    frame: "pl.DataFrame", *, columns: str | Sequence[str] | None, source: str, drop: str | Sequence[str] = ()
) -> Table:
    """Turn a polars frame into a table: integers, bools, decimals and floats become float64.

    Raises:
        InputError: As `as_table`.
    """
    import polars as pl

    unnamed = frame.width > 0 and frame.columns[0] == "" and frame.dtypes[0].is_numeric()
    if unnamed and labels_rows(frame[:, 0].cast(pl.Float64).fill_null(-1).to_numpy()):
        frame = frame.rename({"": UNNAMED})
    check_names(frame.columns, source=source)
    wanted, _ = which(frame.columns, columns, drop, source=source)
    chosen = frame[:, wanted]
    text = [c.name for c in chosen if not (c.dtype.is_numeric() or c.dtype in (pl.Boolean, pl.Null))]

    def example(name: str) -> str:
        row = int(frame[name].is_not_null().arg_max() or 0)
        return f'row {row + 1} of "{name}" holds {quoted(frame[name][row])}'

    words = all(frame[name].dtype in (pl.String, pl.Categorical, pl.Enum) for name in text)
    problems = text_problem(text, example, kind="text" if words else "not numeric")
    values = chosen.with_columns(pl.lit(None).alias(name) for name in text).cast(pl.Float64).to_numpy(order="c")

    def describe(row: int, column: int) -> str:
        return "missing value" if chosen[row, column] is None else not_finite(values[row, column])

    check_usable(values, chosen.columns, source=source, problems=problems, describe=describe)
    return Table(tuple(chosen.columns), values, source, as_is=frame)


def from_array(data: Any, *, columns: str | Sequence[str] | None, source: str, drop: str | Sequence[str] = ()) -> Table:
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
    positions, names = which(there, columns, drop, source=source, named=False)
    values = array if positions == list(range(len(there))) else array[:, positions]
    check_usable(values, names, source=source)
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
