"""A flow on disk: how it is built, as plain values, and its tensors; loading runs no code of the file's."""

import inspect
import math
import os
import platform
import threading
import types as python_types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from pushforward import __version__, bases, container, nets, transforms
from pushforward.errors import InputError
from pushforward.flow import Flow

MAX_NODES = 10_000  # values in a specification
MAX_INTEGER = 2**31 - 1

# The only types that a file can name, but for those that the caller of `load` brings along.
TYPES: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        Flow,
        bases.Box,
        bases.DiagonalNormal,
        bases.FromTorch,
        bases.GaussianMixture,
        bases.StandardNormal,
        nets.MLP,
        nets.MaskedMLP,
        nets.ResidualMLP,
        transforms.ActNorm,
        transforms.Additive,
        transforms.Affine,
        transforms.Asinh,
        transforms.Autoregressive,
        transforms.Compose,
        transforms.Coupling,
        transforms.Elementwise,
        transforms.Inverse,
        transforms.LULinear,
        transforms.Logit,
        transforms.Orthogonal,
        transforms.Permutation,
        transforms.RationalQuadratic,
        transforms.Scale,
        transforms.Shift,
        transforms.Standardize,
    )
}
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64,
    )
}  # fmt: skip
_SAVE_AGAIN = "save the flow again with pushforward.save"


def save(
    flow: Flow,
    path: str | os.PathLike[str],
    *,
    schema: Mapping[str, Any] | None = None,
    seed: int | None = None,
    plan: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Write a flow to one file, whole or not at all; the same flow gives the same bytes.

    Kept are how the flow is built, every parameter and buffer with its dtype, and what is given here as JSON values for
    `read_metadata`. Not kept: device, `requires_grad`, and that a module used in two places is one.

    Args:
        flow: The flow, on any device.
        path: The file, by custom *.safetensors; one that exists is replaced.
        schema: The columns of the data, such as `Schema.to_dict()`.
        seed: The seed of the training.
        plan: What training was to do.
        summary: How training went.

    Raises:
        ValueError: If `flow` is not a Flow, or what is to be kept beside it is not JSON or too much.
        InputError: If a part of the flow cannot be saved (its place is named), or the folder cannot be written to.
        RunError: If writing fails, on a full disk for example; nothing is left behind.

    Example:
        >>> import pushforward as pf, tempfile
        >>> flow = pf.recipes.realnvp(2, num_layers=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pf.save(flow, f"{folder}/model.safetensors", seed=3)
        ...     again = pf.load(f"{folder}/model.safetensors")
        >>> torch.equal(again.log_prob(torch.ones(2)), flow.log_prob(torch.ones(2)))
        True
    """
    if not isinstance(flow, Flow):
        raise ValueError(f"save takes a Flow; got {type(flow).__name__}.")
    specification = flow.specification()
    _check_savable(specification, flow, "flow")
    if _count(specification) > MAX_NODES:
        raise InputError(f"the flow has {_count(specification)} values to describe it; a model file holds {MAX_NODES}.")
    tensors = flow.state_dict()
    lost = {name for name, _ in flow.named_buffers()} - tensors.keys()
    if lost:
        raise InputError(f"the buffer flow.{min(lost)} would be lost: register it with persistent=True.")
    versions = {"pushforward": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    document = {
        "flow": specification, "schema": schema, "seed": seed, "versions": versions, "plan": plan, "summary": summary,
    }  # fmt: skip
    container.write(Path(path), document, tensors)


def load(path: str | os.PathLike[str], types: Mapping[str, Callable[..., Any]] | None = None) -> Flow:
    """Return the flow that `save` wrote, on the CPU, in eval() mode and with the dtypes it had.

    Args:
        path: The file.
        types: Classes of your own by the name that their `specification()` gives as "type". Each, or its classmethod
            `from_specification` if it has one, is called with the other values of the specification inside
            `torch.device("meta")`: tensors have shapes only, and get their content afterwards.

    Raises:
        ValueError: If `types` gives a built-in name another meaning.
        InputError: If the file cannot be read, is damaged, or is not a model that this version knows.
    """
    types = types or {}
    for name in types:
        if name in TYPES or name == "Tensor":
            raise ValueError(f"types must not give {name!r}, a built-in type, another meaning; rename your class.")
    document, tensors = container.read(Path(path))
    try:
        return _restore(document.get("flow"), tensors, {**TYPES, **types})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a model file says of its model: `flow` (the specification), schema, seed, versions, plan, summary.

    Raises:
        InputError: If the file cannot be read, is damaged, or is from a newer version.
    """
    return container.read(Path(path))[0]


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str) or (isinstance(value, int) and abs(value) <= MAX_INTEGER)


def _count(node: Any) -> int:
    """Return the number of values in a tree."""
    items = node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    return 1 + sum(_count(item) for item in items)


def _check_savable(node: Any, owner: Any, place: str) -> None:
    """Raise InputError naming the first part of a specification that could not be loaded again.

    Args:
        node: The specification or a part of it.
        owner: The object it describes, or None where that is not known.
        place: Where it is, such as "flow.transform.transforms[2]".
    """
    name = node.get("type") if isinstance(node, dict) else None
    if isinstance(node, dict) and isinstance(name, str):
        if type(owner).__name__ == name and TYPES.get(name, type(owner)) is not type(owner):
            raise InputError(f"{place} is of a class of your own that has the name of a built-in one, {name}: rename it.")
        for key, item in node.items():
            _check_savable(item, getattr(owner, key, None), f"{place}.{key}")
    elif isinstance(node, (list, tuple)):
        owners = list(owner) if isinstance(owner, (list, tuple, nn.ModuleList)) else []
        owners += [None] * (len(node) - len(owners))
        for position, item in enumerate(node):
            _check_savable(item, owners[position], f"{place}[{position}]")
    elif not _is_plain(node):
        name = type(node).__name__
        raise InputError(
            f"{place} is {f'the number {node}' if isinstance(node, (int, float)) else f'of type {name}'}, which a model "
            f"file cannot hold: use finite numbers, text and lists, or give the class a method specification() that "
            f'returns {{"type": "{name}", ...}} with the arguments of its constructor, and load with types=.'
        )


def _restore(specification: Any, tensors: Mapping[str, Tensor], types: Mapping[str, Callable[..., Any]]) -> Flow:
    """Build a flow and give it its tensors; InputError if the two do not belong together."""
    if _count(specification) > MAX_NODES:
        raise InputError(f"its specification has more than {MAX_NODES} values ({_SAVE_AGAIN})")
    # On the meta device a layer of any size costs nothing, but a billion layers would still take forever.
    with torch.device("meta"), _at_most(1000 + 10 * len(tensors)):
        flow = _build(specification, "flow", types)
    if not isinstance(flow, Flow):
        raise InputError(f"it holds a {type(flow).__name__}, not a Flow ({_SAVE_AGAIN})")
    _check_tensors(flow.state_dict(), tensors)
    flow.load_state_dict(tensors, assign=True)
    for name, module in flow.named_modules():
        if not _picks_features(module):
            raise InputError(f"{name} ({type(module).__name__}) has indices that are no permutation ({_SAVE_AGAIN})")
    return flow.eval()


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
        if not _is_plain(node):
            raise InputError(f"{place} is {node}, and numbers lie within 2^31 ({_SAVE_AGAIN})")
        return node
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
        if name == "Tensor" or name in TYPES:
            _check_arguments(make, values)
        return make(**values)
    except Exception as error:  # the values come from the file, and so does any error
        raise InputError(f"{place} ({name}) cannot be built: {error!s:.300} ({_SAVE_AGAIN})") from error


def _empty(shape: Sequence[int], dtype: str) -> Tensor:
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}; got {dtype!r:.80}.")
    return torch.empty(shape, dtype=_DTYPES[dtype])


def _check_arguments(make: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Raise TypeError unless the values are those that a constructor takes, of the types in its annotations."""
    signature = inspect.signature(make)
    signature.bind(**values)
    for name, value in values.items():
        if not _fits(value, signature.parameters[name].annotation):
            raise TypeError(f"{name} cannot be {value!r:.80}")


def _fits(value: Any, annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, python_types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(annotation))
    if typing.get_origin(annotation) is Sequence:
        return isinstance(value, list) and all(_fits(item, typing.get_args(annotation)[0]) for item in value)
    if annotation in (int, float):
        return type(value) in (int, annotation)
    return not isinstance(annotation, type) or isinstance(value, annotation)


def _check_tensors(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError unless names, shapes and dtypes are the flow's; one floating dtype may stand for another."""
    for verb, names in ("lacks", expected.keys() - tensors.keys()), ("has no place for", tensors.keys() - expected.keys()):
        if names:
            raise InputError(f"{verb} {len(names)} tensors, such as {min(names)!r:.80} ({_SAVE_AGAIN})")
    for name, want in expected.items():
        got = tensors[name]
        same = got.dtype == want.dtype or (got.is_floating_point() and want.is_floating_point())
        if got.shape != want.shape or not same:
            raise InputError(
                f"the tensor {name} is {_describe(got)}, and its specification says {_describe(want)} ({_SAVE_AGAIN})"
            )


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def _picks_features(module: nn.Module) -> bool:
    """Whether the indices of a transform that has any are those its constructor would make: others read out of bounds."""
    try:
        if isinstance(module, transforms.Permutation):
            fresh: transforms.Transform = transforms.Permutation(module.permutation)
        elif isinstance(module, transforms.Autoregressive):
            fresh = transforms.Autoregressive(module.order, module.univariate, module.conditioner)
        elif isinstance(module, transforms.Coupling):
            fresh = transforms.Coupling(module.mask, module.univariate, module.conditioner)
            if (fresh.num_kept, fresh.layout) != (module.num_kept, module.layout):
                return False
        else:
            return True
    except ValueError:
        return False
    own, right = dict(module.named_buffers(recurse=False)), dict(fresh.named_buffers(recurse=False))
    return all(torch.equal(own[name], right[name]) and not own[name].is_floating_point() for name in own)
