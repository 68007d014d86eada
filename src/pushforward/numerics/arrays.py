"""The one reader of numbers that a user hands over: arrays, lists, data frames of any library and tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import InputError, described


def as_tensor(value: Any, name: str, device: torch.device | None = None) -> Tensor:
    """Return what a user hands over as a tensor of numbers, without a copy where torch can do without.

    Args:
        value: A tensor; an array that numpy reads, in any byte order; nested lists, also of tensors; a data frame or a
            series that narwhals knows (pandas, polars, pyarrow, duckdb, ...), whose columns become the last axis.
        name: What messages call it.
        device: Where arrays, lists and frames go, which have no device, and where a tensor has to be; None for any.

    Raises:
        InputError: If a cell is missing, masked or no number, lists have unequal lengths, or a tensor is complex,
            sparse or elsewhere; with the remedy.
    """
    if isinstance(value, Tensor):
        return _checked(value, name, device)
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, Tensor) for part in value):
        return _checked(_stacked(value, name), name, device)
    if isinstance(value, (np.ndarray, np.generic, list, tuple, int, float)):
        array = _numbers(_array(value, name), name)
    else:
        array = _of_frame(value, name)
    return torch.from_numpy(array).to(device)


def is_table_like(value: Any) -> bool:
    """Return whether `value` is one array, as `as_tensor` takes it, and neither a list nor something to iterate."""
    return isinstance(value, Tensor) or hasattr(value, "__array__") or _frame(value) is not None


def _checked(value: Tensor, name: str, device: torch.device | None) -> Tensor:
    if value.layout != torch.strided:
        raise InputError(f"{name} is sparse: give {name}.to_dense().")
    if value.is_complex():
        raise InputError(f"{name} holds complex numbers: give torch.view_as_real({name}).flatten(-2), or one part.")
    if device is not None and value.device != device:
        raise InputError(f"{name} is on {value.device}, the model on {device}: give {name}.to({str(device)!r}).")
    return value


def _stacked(tensors: Sequence[Tensor], name: str) -> Tensor:
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        raise InputError(f"{name}: rows have different shapes, {sorted(shapes)[:3]}: give every row the same one.")
    return torch.stack(list(tensors))


def _array(value: Any, name: str) -> np.ndarray:
    """Return an array, a list or a number as an array of whatever."""
    if isinstance(value, np.ma.MaskedArray):
        _refuse_missing(np.ma.getmaskarray(value), name, "masked")
        value = value.data
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name}: rows have different lengths: give every row the same number of cells.") from error


def _numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array of whatever as one that torch takes: native floats, integers or booleans."""
    if array.dtype.names is not None:
        array = np.stack([_numbers(array[field], f'{name}, field "{field}"') for field in array.dtype.names], -1)
    if array.dtype.kind == "O":
        array = _of_objects(array, name)
    if array.dtype.kind not in "fiub":
        what, remedy = {
            "U": ("text", "give numbers"),
            "S": ("bytes", "give numbers"),
            "M": ("dates", "give numbers, such as days since the first"),
            "m": ("durations", "give numbers, such as seconds"),
            "c": ("complex numbers", "give real and imaginary part as two features"),
        }.get(array.dtype.kind, (str(array.dtype), "give numbers"))
        raise InputError(f"{name} holds {what}: {remedy}.")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)  # torch computes with few unsigned types
    if array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(np.float64).itemsize:
        array = array.astype(np.float64)
    array = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    # Torch takes neither read-only nor reversed arrays.
    return array.copy() if not array.flags.writeable or min(array.strides, default=0) < 0 else array


def _of_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array of Python objects as numbers."""
    missing = np.array(
        [cell is None or type(cell).__name__ in ("NAType", "NaTType") for cell in array.flat], dtype=bool
    )
    _refuse_missing(missing.reshape(array.shape), name, "missing")
    for cell in array.flat:
        if isinstance(cell, (str, bytes)) or not hasattr(cell, "__float__"):
            raise InputError(f"{name} must hold numbers; one cell holds {described(cell)}.")
    return array.astype(np.float64)


def _frame(value: Any) -> Any:
    """Return a data frame or series wrapped by narwhals, or None where it is none."""
    if isinstance(value, (np.ndarray, list, tuple, int, float, str, bytes, dict)) or value is None:
        return None
    import narwhals as nw

    wrapped = nw.from_native(value, pass_through=True, allow_series=True)
    return wrapped if isinstance(wrapped, (nw.DataFrame, nw.LazyFrame, nw.Series)) else None


def _of_frame(value: Any, name: str) -> np.ndarray:
    """Return a data frame (rows, columns) or series (rows,) as numbers: as they are if of one type, else float64."""
    import narwhals as nw

    frame = _frame(value)
    if frame is None:
        if hasattr(value, "toarray") and hasattr(value, "nnz"):
            raise InputError(f"{name} is sparse: give {name}.toarray().")
        if not hasattr(value, "__array__"):
            raise InputError(
                f"{name} must be an array, a tensor, a data frame or a list of rows; got {described(value)}."
            )
        return _numbers(_array(value, name), name)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    columns = [frame] if isinstance(frame, nw.Series) else list(frame.iter_columns())
    text = [column.name for column in columns if not (column.dtype.is_numeric() or column.dtype == nw.Boolean)]
    if text:
        raise InputError(f"{name}: {_columns(text)} must hold numbers: leave it out, or give its codes.")
    gaps = [column.name for column in columns if column.null_count()]
    if gaps:
        rows = max(int(column.null_count()) for column in columns)
        raise InputError(f"{name}: {_columns(gaps)} has missing cells ({rows}): leave those rows out or fill them in.")
    arrays = [column.to_numpy() for column in columns]
    kinds = {array.dtype for array in arrays}
    arrays = arrays if len(kinds) == 1 else [array.astype(np.float64) for array in arrays]
    if isinstance(frame, nw.Series):
        return _numbers(arrays[0], name)
    return _numbers(np.stack(arrays, -1) if arrays else np.empty((len(frame), 0)), name)


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:5])
    return f"column{'s' * (len(names) > 1)} {shown}{', ...' * (len(names) > 5)}"


def _refuse_missing(missing: np.ndarray, name: str, what: str) -> None:
    if not missing.any():
        return
    first = np.argwhere(missing)[0]
    where = f" (the first in row {first[0] + 1})" if len(first) else ""
    raise InputError(f"{name} has {int(missing.sum())} {what} cells{where}: leave those rows out or fill them in.")
