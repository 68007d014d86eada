"""How an object says, in plain values, how it was built: what a model file stores instead of code."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import InputError, described
from pushforward.storage.packed_tensors import pack

SIZES = ("bins", "hidden_features", "hidden_channels", "num_blocks")  # are shown though they are the defaults


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

    def __repr__(self) -> str:
        """Return what built it in one line: what differs from the defaults, masks and tensors by their sizes."""
        return in_words(self)


def in_words(module: Any) -> str:
    """Return what built an object, in one line: its type and arguments; the type alone where it does not say."""
    name = type(module).__name__
    if not isinstance(module, Specified):
        return name
    parameters = list(inspect.signature(type(module).__init__).parameters.values())[1:]
    words = []
    for place, parameter in enumerate(parameters):
        value = getattr(module, parameter.name, None)
        if value is None or (_is_default(value, parameter.default) and parameter.name not in SIZES):
            continue
        text = _value_in_words(value)
        clear = place < 3 and parameter.name not in SIZES and isinstance(value, (int, nn.Module))
        words.append(text if clear or hasattr(value, "num_params") else f"{parameter.name}={text}")
    return f"{name}({', '.join(words)})"


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(value, (nn.ModuleList, list, tuple)) and not len(value) and default in ((), []):
        return True
    return type(value) is type(default) and not isinstance(value, Tensor) and bool(value == default)


def _value_in_words(value: Any) -> str:
    if isinstance(value, Tensor):
        if value.dtype == torch.bool and value.ndim == 1 and value.device.type != "meta":
            return _mask_in_words(value)
        if not value.ndim and value.device.type != "meta":
            return f"{value.item():.6g}"
        return f"<{' x '.join(map(str, value.shape))}>"
    if isinstance(value, (nn.ModuleList, list, tuple)):
        some = [_value_in_words(one) for one in list(value)[:4]]
        more = [f"... {len(value) - 4} more"] if len(value) > 4 else []
        if isinstance(value, tuple):
            return f"({', '.join([*some, *more])}{',' * (len(value) == 1)})"
        return f"[{', '.join([*some, *more])}]"
    if isinstance(value, (nn.Module, Specified)):
        return in_words(value)
    return repr(value)


def _mask_in_words(mask: Tensor) -> str:
    """Return which features a mask keeps, "first 5 of 10"."""
    kept, features = int(mask.sum()), len(mask)
    if bool(mask[:kept].all()):
        return f"first {kept} of {features}"
    if bool(mask[features - kept :].all()):
        return f"last {kept} of {features}"
    if torch.equal(mask, torch.arange(features, device=mask.device) % 2 == int(mask[1])):
        return f"every other of {features}"
    return f"{kept} of {features}"


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
