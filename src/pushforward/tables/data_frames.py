"""From a data frame or an array in memory to cells, and from rows to the kind of frame that was handed over."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.columns import check_names, numbered
from pushforward.tables.row_numbers import UNNAMED, labels_rows

if TYPE_CHECKING:
    import polars as pl


def cells_of_frame(frame: "pl.DataFrame", *, source: str, kind: str = "polars") -> Cells:
    """Take the columns of a polars frame as they are.

    Raises:
        InputError: If there are no columns, or one has no name.
    """
    import polars as pl

    unnamed = frame.width > 0 and frame.columns[0] == "" and frame.dtypes[0].is_numeric()
    if unnamed and labels_rows(frame[:, 0].cast(pl.Float64).fill_null(-1).to_numpy()):
        frame = frame.rename({"": UNNAMED})
    check_names(frame.columns, source=source)
    return Cells(frame, source, kind=kind)


def cells_of_array(data: Any, *, source: str, kind: str = "polars") -> Cells:
    """Take an array or tensor, (rows,) or (rows, columns), under columns called x1, x2, ...

    Raises:
        InputError: If the array has another shape or holds no numbers.
    """
    import polars as pl

    from pushforward.numerics.arrays import as_tensor

    if not (isinstance(data, (list, tuple)) or hasattr(data, "__array__")):
        raise InputError(
            f"{source}: {type(data).__name__} is no table (give a file, a data frame, or an array or list of rows)"
        )
    tensor = as_tensor(data, source).detach().cpu()
    array = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InputError(f"{source}: an array of shape {array.shape} is no table (use (rows, columns) or (rows,))")
    there = numbered(array.shape[1])
    check_names(there, source=source)
    if array.dtype.kind in "iu":
        array = array.astype(np.int64)
    columns = {name: np.ascontiguousarray(array[:, position]) for position, name in enumerate(there)}
    return Cells(pl.DataFrame(columns), source, named=False, kind=kind)


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
