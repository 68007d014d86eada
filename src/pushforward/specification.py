"""How an object says, in plain values, how it was built: what a model file stores instead of code."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import InputError, described
from pushforward.storage.packed_tensors import pack


def plain(value: Any) -> Any:
    """Turn a constructor argument into JSON values.

    A tensor of booleans or integers is written with its content, one of floating-point numbers with its sizes: it is a
    parameter or a buffer, under the argument's name.
    """
    if hasattr(value, "specification"):
        return value.specification()
    if isinstance(value, Tensor):
        node = {"type": "Tensor", "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        return node if value.is_floating_point() or value.is_complex() else {**node, "content": pack(value)}
    if isinstance(value, (list, tuple, nn.ModuleList)):
        return [plain(item) for item in value]
    return value


class Specified:
    """Gives a class `specification()`, from the rule that a constructor's arguments are kept under their own names.

    The specification is a tree `{"type": NAME, argument: value, ...}` of plain values and nested specifications. On
    loading a constructor is handed what it was handed then, inside `torch.device("meta")`: the tensors that it makes
    have shapes only, and get their content afterwards.
    """

    def specification(self) -> dict[str, Any]:
        """Return the type's name and its constructor's arguments as plain values."""
        arguments = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {"type": type(self).__name__, **{name: plain(getattr(self, name)) for name in arguments}}


def nodes(specification: Any) -> Iterator[dict[str, Any]]:
    """Yield every `{"type": ...}` of a specification, the outer ones first."""
    if isinstance(specification, dict):
        if "type" in specification:
            yield specification
        for value in list(specification.values()):
            yield from nodes(value)
    elif isinstance(specification, list):
        for item in specification:
            yield from nodes(item)


# ---- structure: masks, orders and indices, which decide what else there is -------------------------------------------


def readable(name: str, values: Any) -> Tensor:
    """Return a mask or indices on the CPU, where their content can be read whatever torch's default device is.

    Raises:
        InputError: If they are no numbers, or lie on the meta device, where nothing has content.
    """
    try:
        return torch.as_tensor(values, device="cpu")
    except NotImplementedError as error:
        raise InputError(f"{name} has no content: it is on the meta device; make it with device='cpu'.") from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be a tensor, an array or a list of numbers; got {described(values)}.") from error


def shown(tensor: Tensor) -> str:
    """Return what a message says of a tensor that has the wrong form."""
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def readable_mask(name: str, values: Any, features: int | None = None) -> Tensor:
    """Return a mask on the CPU, boolean, (D,), that keeps (True) at least one feature and not all.

    Raises:
        InputError: If it is none, or not of `features` features.
    """
    mask = readable(name, values)
    if mask.dtype != torch.bool or mask.ndim != 1 or len(mask) != (features or len(mask)):
        raise InputError(f"{name} must be boolean of shape ({features or 'D'},); got {shown(mask)}.")
    num_kept = int(mask.sum())
    if not 0 < num_kept < len(mask):
        raise InputError(
            f"{name} must keep at least one feature and transform at least one; it keeps {num_kept} of {len(mask)}."
        )
    return mask


def readable_indices(name: str, values: Any) -> Tensor:
    """Return indices as int64, (n,), on the CPU.

    Raises:
        InputError: If they are not at least one integer in a row.
    """
    indices = readable(name, values)
    if indices.ndim != 1 or not len(indices) or indices.is_floating_point() or indices.dtype == torch.bool:
        raise InputError(f"{name} must be at least one integer in a row; got {shown(indices)}.")
    return indices.long()


def readable_permutation(name: str, values: Any) -> Tensor:
    """Return a permutation of 0..n-1 as int64, (n,), on the CPU.

    Raises:
        InputError: If it is none.
    """
    permutation = readable_indices(name, values)
    if not torch.equal(permutation.sort().values, torch.arange(len(permutation), device="cpu")):
        raise InputError(f"{name} must hold each of 0..{len(permutation) - 1} once; got {permutation.tolist()}.")
    return permutation


def hold_structure(owner: nn.Module, given: Any, **structure: Tensor) -> None:
    """Keep tensors that follow from an argument as buffers; a model file has the argument and leaves them out.

    They lie where the argument lay, or on torch's default device if that was the CPU; but under the meta device on the
    CPU, with content: it decides which parameters there are and what shapes they have.
    """
    elsewhere = isinstance(given, Tensor) and given.device.type != "cpu"
    home = given.device if elsewhere else torch.empty(0).device
    for name, tensor in structure.items():
        owner.register_buffer(name, tensor.to("cpu" if home.type == "meta" else home, copy=True))
    owner._structure = (*getattr(owner, "_structure", ()), *structure)  # type: ignore[assignment]


def structure_of(model: nn.Module) -> set[str]:
    """Return the names of the buffers that `hold_structure` has made in a module and its parts."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, part in model.named_modules(remove_duplicate=False)
        for name in getattr(part, "_structure", ())
    }
