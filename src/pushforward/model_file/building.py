"""From a specification to the object, with empty tensors: a stranger's values, looked up in a closed table."""

import inspect
import math
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
from pushforward.model_file.format import DTYPES, SAVE_AGAIN, describe, is_plain, max_structure, tensor_name
from pushforward.storage.packed_tensors import unpack


def build(
    specification: Any, types: Mapping[str, Callable[..., Any]], tensors: Mapping[str, Tensor], place: str
) -> Any:
    """Return what a specification describes: its parameters and buffers on the meta device, its structure on the CPU.

    Args:
        specification: Plain values and `{"type": NAME, argument: value, ...}` inside one another, at most 32 deep.
        types: What each NAME stands for: a class, or one with a classmethod `from_specification`.
        tensors: Those of the file: constructors are handed the ones that they were handed when the model was made, and
            what they make has at most four times as many numbers. On the meta device a layer of any size costs
            nothing, but a billion layers would take forever, and the masks that follow from sizes have content.
        place: What messages call the whole.

    Raises:
        InputError: If there is anything that no object has said of itself: its place is named.
    """
    budget = 1000 + 4 * sum(max(tensor.numel(), 1) for tensor in tensors.values())
    with torch.device("meta"), _at_most(budget):
        return _Builder(types, tensors).build(specification, place)


@contextmanager
def _at_most(numbers: int) -> Iterator[None]:
    """Let this thread make parameters of so many numbers; whoever makes another gets a ValueError."""
    thread, count = threading.get_ident(), 0

    def hook(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count
        if threading.get_ident() == thread:
            count += max(parameter.numel(), 1)
            if count > numbers:
                raise ValueError("it has far more parameters than the file")

    handle = register_module_parameter_registration_hook(hook)
    try:
        yield
    finally:
        handle.remove()


class _Builder:
    """Builds the parts of one specification."""

    def __init__(self, types: Mapping[str, Callable[..., Any]], tensors: Mapping[str, Tensor]) -> None:
        self.types, self.tensors, self.room = types, tensors, max_structure(tensors)

    def build(self, node: Any, place: str) -> Any:
        if isinstance(node, list):
            return [self.build(item, f"{place}[{position}]") for position, item in enumerate(node)]
        if not isinstance(node, dict):
            if not is_plain(node):
                raise InputError(f"{place} is {node}; numbers are finite and integers within 2^31 ({SAVE_AGAIN})")
            return node
        if not all(key.isidentifier() for key in node):
            raise InputError(f"{place} has an argument whose name is no name ({SAVE_AGAIN})")
        kind = node.get("type")
        values = {key: self.build(item, f"{place}.{key}") for key, item in node.items() if key != "type"}
        if kind == "Tensor":
            make: Callable[..., Any] = self._packed if "content" in values else self._of_file(tensor_name(place))
        elif isinstance(kind, str) and kind in self.types:
            make = getattr(self.types[kind], "from_specification", self.types[kind])
        else:
            remedy = "upgrade pushforward, or load a class of your own with types="
            raise InputError(f"{place} has the unknown type {kind!r:.80} ({remedy})")
        try:
            _check_arguments(make, values)
            return make(**values)
        except Exception as error:  # the values come from the file, and so does any error
            reason = " ".join(str(error).split()).rstrip(".")
            raise InputError(f"{place} ({kind}) cannot be built: {reason:.300} ({SAVE_AGAIN})") from error

    def _packed(self, shape: Sequence[int], dtype: str, content: str) -> Tensor:
        """Return booleans or integers that stand in the specification."""
        of = _dtype(dtype)
        if of.is_floating_point or min(shape, default=0) < 0:
            raise ValueError(f"a {dtype} tensor of shape {tuple(shape)} has no content in a specification.")
        self.room -= math.prod(shape)
        if self.room < 0:
            raise ValueError("the specification holds far more booleans and integers than a file of this size may.")
        return unpack(content, shape, of)

    def _of_file(self, name: str) -> Callable[..., Tensor]:
        """Return what finds floating-point numbers among the file's tensors."""

        def find(shape: Sequence[int], dtype: str) -> Tensor:
            tensor = self.tensors.get(name)
            if tensor is None:
                raise ValueError(f"the file lacks the tensor {name}.")
            if (list(tensor.shape), tensor.dtype) != (shape, _dtype(dtype)):
                raise ValueError(f"the tensor {name} is {describe(tensor)}, not {dtype} of shape {tuple(shape)}.")
            return tensor

        return find


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {name!r:.80}.")
    return DTYPES[name]


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
    return (
        annotation in (Any, inspect.Parameter.empty)
        or not isinstance(annotation, type)
        or isinstance(value, annotation)
    )
