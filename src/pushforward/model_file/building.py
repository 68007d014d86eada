"""From a specification back to the object, with empty tensors: a stranger's values, looked up in a closed table."""

import inspect
import threading
import types as python_types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from pushforward.errors import InputError
from pushforward.model_file.format import MAX_NODES, SAVE_AGAIN, count_nodes, is_plain

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64,
    )
}  # fmt: skip


def build(specification: Any, types: Mapping[str, Callable[..., Any]], *, place: str, max_parameters: int) -> Any:
    """Return what a specification describes, its tensors on the meta device.

    Args:
        specification: Plain values and `{"type": NAME, argument: value, ...}` inside one another, at most 32 deep.
        types: What each NAME stands for: a class, or one with a classmethod `from_specification`.
        place: What messages call the whole.
        max_parameters: On the meta device a layer of any size costs nothing, but a billion layers would still take
            forever: building stops after so many parameters.

    Raises:
        InputError: If there is anything that no object has said of itself: its place is named.
    """
    if count_nodes(specification) > MAX_NODES:
        raise InputError(f"its specification has more than {MAX_NODES} values ({SAVE_AGAIN})")
    with torch.device("meta"), _at_most(max_parameters):
        return _build(specification, place, types)


@contextmanager
def _at_most(num_parameters: int) -> Iterator[None]:
    """Let this thread make so many parameters; whoever makes another gets a ValueError."""
    thread, count = threading.get_ident(), 0

    def hook(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > num_parameters:
            raise ValueError("it has far more parameters than the file")

    handle = register_module_parameter_registration_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _build(node: Any, place: str, types: Mapping[str, Callable[..., Any]]) -> Any:
    """Return what a specification describes, with tensors on the device in force."""
    if isinstance(node, list):
        return [_build(item, f"{place}[{position}]", types) for position, item in enumerate(node)]
    if not isinstance(node, dict):
        if not is_plain(node):
            raise InputError(f"{place} is {node}; numbers are finite and integers within 2^31 ({SAVE_AGAIN})")
        return node
    if not all(key.isidentifier() for key in node):
        raise InputError(f"{place} has an argument whose name is no name ({SAVE_AGAIN})")
    name = node.get("type")
    values = {key: _build(item, f"{place}.{key}", types) for key, item in node.items() if key != "type"}
    if name == "Tensor":
        make: Callable[..., Any] = _empty
    elif isinstance(name, str) and name in types:
        make = getattr(types[name], "from_specification", types[name])
    else:
        raise InputError(
            f"{place} has the unknown type {name!r:.80} (upgrade pushforward, or load a class of your own with types=)"
        )
    try:
        _check_arguments(make, values)
        return make(**values)
    except Exception as error:  # the values come from the file, and so does any error
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{place} ({name}) cannot be built: {reason:.300} ({SAVE_AGAIN})") from error


def _empty(shape: Sequence[int], dtype: str) -> Tensor:
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}; got {dtype!r:.80}.")
    return torch.empty(shape, dtype=_DTYPES[dtype])


def _check_arguments(make: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Raise TypeError unless the values are those that a constructor takes, of the types in its annotations."""
    signature = inspect.signature(make)
    signature.bind(**values)
    for name, value in values.items():
        if not _fits(value, getattr(signature.parameters.get(name), "annotation", Any)):
            what = repr(value) if is_plain(value) else f"of type {type(value).__name__}"
            raise TypeError(f"{name} cannot be {what:.80}")


def _fits(value: Any, annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, python_types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(annotation))
    if typing.get_origin(annotation) is Sequence:
        return isinstance(value, list) and all(_fits(item, typing.get_args(annotation)[0]) for item in value)
    if annotation in (int, float):
        return type(value) in (int, annotation)
    if annotation in (tuple, list):
        return isinstance(value, list)
    return annotation is inspect.Parameter.empty or not isinstance(annotation, type) or isinstance(value, annotation)
