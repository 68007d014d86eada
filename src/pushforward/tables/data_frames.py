"""From a data frame or an array in memory to a table, and from rows to the kind of frame that was handed over."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
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


def from_frame(frame: "pl.DataFrame", *, source: str) -> Cells:
    """Take a polars frame as it is; raise InputError unless its columns have names, each another."""
    import polars as pl

    unnamed = frame.width > 0 and frame.columns[0] == "" and frame.dtypes[0].is_numeric()
    if unnamed and labels_rows(frame[:, 0].cast(pl.Float64).fill_null(-1).to_numpy()):
        frame = frame.rename({"": UNNAMED})
    check_names(frame.columns, source=source)
    return Cells(frame, source, numbers_of_frame)


def numbers_of_frame(cells: Cells, columns: str | Sequence[str] | None, drop: str | Sequence[str]) -> Table:
    """Turn typed cells into numbers: integers, bools, decimals and floats become float64.

    Raises:
        InputError: As `as_table`.
    """
    import polars as pl

    frame, source = cells.frame, cells.source
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
    return Table(tuple(chosen.columns), values, source, as_is=frame, kind=cells.kind, notes=cells.notes)


def from_array(data: Any, *, source: str) -> Cells:
    """Take an array or tensor, (rows,) or (rows, columns), whose columns are called x1, x2, ...

    Raises:
        InputError: If it has another shape or holds no numbers.
    """
    import polars as pl

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
    frame = pl.from_numpy(array, schema=list(there))
    return Cells(frame, source, numbers_of_array, named=False, array=array, kind="array")


def numbers_of_array(cells: Cells, columns: str | Sequence[str] | None, drop: str | Sequence[str]) -> Table:
    """Return columns of an array; raise as `as_table`."""
    array, there = cells.array, cells.frame.columns
    assert array is not None
    positions, names = which(there, columns, drop, source=cells.source, named=False)
    values = array if positions == list(range(len(there))) else array[:, positions]
    check_usable(values, names, source=cells.source)
    return Table(names, values, cells.source, named=False, as_is=array, kind=cells.kind)


LIBRARIES = ("pandas", "polars", "pyarrow", "modin", "cudf")
KINDS = ("array", "tensor", *LIBRARIES)


def of_kind(kind: str, frame: "pl.DataFrame") -> Any:
    """Return rows as a user handed theirs over: the one place where frames are made.

    Args:
        kind: A `Table.kind`. Where its library is not known or not installed, the frame is a polars one. Arrays and
            tensors hold numbers alone, and lose the names: of other columns an array is one of objects.
        frame: The rows.
    """
    import narwhals as nw
    import torch

    if kind in ("array", "tensor"):
        numbers = all(dtype.is_numeric() or str(dtype) == "Boolean" for dtype in frame.dtypes)
        values = frame.to_numpy().astype(np.float64 if numbers else object)
        return torch.from_numpy(values) if kind == "tensor" and numbers else values
    try:
        if kind == "pandas":
            return frame.to_pandas()
        if kind == "pyarrow":
            return frame.to_arrow()
        if kind in LIBRARIES and kind != "polars":
            data = {column.name: column.to_numpy() for column in frame}
            return nw.from_dict(data, backend=kind).to_native()  # type: ignore[arg-type]
    except ImportError:
        pass
    return frame
