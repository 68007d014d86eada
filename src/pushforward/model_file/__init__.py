"""A model on disk: how it is built, as plain values, and its tensors; loading runs no code of the file's."""

import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from pushforward import __version__, bases, nets, transforms, vae
from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.flows.dequantization import VariationalDequantization
from pushforward.model_file.rebuilding import MAX_NODES, SAVE_AGAIN, count_nodes, is_plain, rebuild
from pushforward.storage import safe_container

MODELS = (Flow, vae.VAE, VariationalDequantization)
"""What a file can hold; anything else of a model is a part of one of these."""
_NAMES = dict(zip(MODELS, ("pf.Flow", "pf.vae.VAE", "pf.VariationalDequantization"), strict=True))
_MADE_OF_FLOWS = tuple(each.__name__ for each in MODELS[1:])
Model = TypeVar("Model", Flow, vae.VAE, VariationalDequantization)

# The only types that a file can name, but for those that the caller of `load` brings along.
TYPES: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        *MODELS,
        bases.Box,
        bases.DiagonalNormal,
        bases.FromTorch,
        bases.GaussianMixture,
        bases.Joint,
        bases.StandardNormal,
        nets.ConvNet,
        nets.HyperNetwork,
        nets.MLP,
        nets.MaskedMLP,
        nets.ResidualMLP,
        nets.TimeMLP,
        transforms.ActNorm,
        transforms.Additive,
        transforms.Affine,
        transforms.Asinh,
        transforms.Autoregressive,
        transforms.Compose,
        transforms.Continuous,
        transforms.Coupling,
        transforms.Elementwise,
        transforms.Inverse,
        transforms.LULinear,
        transforms.Logit,
        transforms.OnFeatures,
        transforms.Orthogonal,
        transforms.PerPixel,
        transforms.Permutation,
        transforms.Planar,
        transforms.Radial,
        transforms.RationalQuadratic,
        transforms.Scale,
        transforms.Shift,
        transforms.Standardize,
        transforms.Sylvester,
        vae.VampPrior,
    )
}


def save(
    flow: Flow | vae.VAE | VariationalDequantization,
    path: str | os.PathLike[str],
    *,
    schema: Mapping[str, Any] | None = None,
    seed: int | None = None,
    plan: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Write a flow to one file, whole or not at all; the same flow gives the same bytes.

    Kept are how the flow is built, every parameter and buffer with its dtype, and what is given here as JSON values for
    `read_metadata`. Not kept: device, `requires_grad`, and that a module used in two places is one, but for the encoder
    that an autoencoder shares with its VampPrior.

    Args:
        flow: The flow, or a model made of flows: `pf.vae.VAE` or `pf.VariationalDequantization`; on any device.
        path: The file, usually called *.safetensors; one that exists is replaced.
        schema: The columns of the data, such as `Schema.to_dict()`.
        seed: The seed of the training.
        plan: What training was to do.
        summary: How training went.

    Raises:
        ValueError: If `flow` is not one of these, or what is to be kept beside it is not JSON or too much.
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
    if not isinstance(flow, MODELS):
        raise ValueError(
            f"save takes a Flow, a VAE or a VariationalDequantization; got {type(flow).__name__}: save its flow, or "
            "keep model.state_dict() with safetensors.torch.save_file and load it into a model made anew."
        )
    specification = flow.specification()
    _check_savable(specification, flow, _called(specification))
    _check_nesting(specification)
    size = count_nodes(specification)
    if size > MAX_NODES:
        raise InputError(
            f"the {_called(specification)} takes {size} values to describe; a model file holds {MAX_NODES}."
        )
    tensors = flow.state_dict()
    lost = {name for name, _ in flow.named_buffers()} - tensors.keys()
    if lost:
        raise InputError(
            f"the buffer {_called(specification)}.{min(lost)} would be lost: register it with persistent=True."
        )
    versions = {"pushforward": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    document = {
        "flow": specification, "schema": schema, "seed": seed, "versions": versions, "plan": plan, "summary": summary,
    }  # fmt: skip
    safe_container.write(Path(path), document, tensors)


@overload
def load(path: str | os.PathLike[str], types: Mapping[str, Callable[..., Any]] | None = None) -> Flow: ...


@overload
def load(
    path: str | os.PathLike[str], types: Mapping[str, Callable[..., Any]] | None = None, *, kind: type[Model]
) -> Model: ...


def load(
    path: str | os.PathLike[str], types: Mapping[str, Callable[..., Any]] | None = None, *, kind: Any = Flow
) -> Any:
    """Return the flow or other model that `save` wrote, on the CPU, in eval() mode and with the dtypes it had.

    Args:
        path: The file.
        types: Classes of your own by the name that their `specification()` gives as "type". Each, or its classmethod
            `from_specification` if it has one, is called with the other values of the specification inside
            `torch.device("meta")`: tensors have shapes only, and get their content afterwards.
        kind: What the file must hold: `pf.Flow`, `pf.vae.VAE` or `pf.VariationalDequantization`.

    Raises:
        ValueError: If `types` gives a built-in name another meaning, or `kind` is not one of the three.
        InputError: If the file cannot be read, is damaged, or is not a model of this kind that this version knows.
    """
    if kind not in MODELS:
        raise ValueError(f"kind must be one of {', '.join(_NAMES.values())}; got {kind!r}.")
    if isinstance(types, type):
        raise ValueError(f"types must map names to classes; got {types.__name__}: did you mean kind=?")
    types = types or {}
    for name in types:
        if name in TYPES or name == "Tensor":
            raise ValueError(f"types must not give {name!r}, a built-in type, another meaning; rename your class.")
    document, tensors = safe_container.read(Path(path))
    try:
        return _restore(document.get("flow"), tensors, {**TYPES, **types}, kind)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a model file says of its model: `flow` (its specification), schema, seed, versions, plan, summary.

    What was not given to `save` is None.

    Raises:
        InputError: If the file cannot be read, is damaged, or is from a newer version.
    """
    document, _ = safe_container.read(Path(path))
    metadata = {name: document.get(name) for name in ("flow", "schema", "seed", "versions", "plan", "summary")}
    for name, value in metadata.items():
        if value is not None and not isinstance(value, int if name == "seed" else dict):
            raise InputError(
                f"{path}: its {name} is {value!r:.80}, of another kind than pushforward writes ({SAVE_AGAIN})"
            )
    return metadata


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
            raise InputError(f"{place} has a class of your own with the name of a built-in one, {name}: rename it.")
        for key, item in node.items():
            _check_savable(item, getattr(owner, key, None), f"{place}.{key}")
    elif isinstance(node, (list, tuple)):
        owners = list(owner) if isinstance(owner, (list, tuple, nn.ModuleList)) else []
        owners += [None] * (len(node) - len(owners))
        for position, item in enumerate(node):
            _check_savable(item, owners[position], f"{place}[{position}]")
    elif not is_plain(node):
        if isinstance(node, (int, float)):
            raise InputError(f"{place} is {node}: a model file holds finite numbers and integers within 2^31.")
        name = type(node).__name__
        raise InputError(
            f"{place} is of type {name}, which a model file cannot hold: use plain numbers, text and lists, or give "
            f'the class a method specification() that returns {{"type": "{name}", ...}} with the arguments of its '
            "constructor, and load with types=."
        )


def _called(specification: Any) -> str:
    """Return what messages call a model and the places in it."""
    return "model" if isinstance(specification, dict) and specification.get("type") in _MADE_OF_FLOWS else "flow"


def _check_nesting(node: Any, inside: bool = False) -> None:
    """Raise InputError if a VAE is a part of another: each would share its networks twice over, without an end."""
    if isinstance(node, dict):
        if inside and node.get("type") in _MADE_OF_FLOWS:
            raise InputError(f"it holds a {node['type']} inside another model; only flows can be parts.")
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            _check_nesting(item, inside=True)


def _restore(
    specification: Any, tensors: Mapping[str, Tensor], types: Mapping[str, Callable[..., Any]], kind: type[nn.Module]
) -> nn.Module:
    """Return the model with its tensors; InputError if the two do not belong together."""
    _check_nesting(specification)
    place = _called(specification)
    model = rebuild(specification, types, place=place, max_parameters=1000 + 10 * len(tensors))
    if not isinstance(model, kind):
        found = next((each for each in MODELS if isinstance(model, each)), None)
        remedy = f"in Python: pf.load(path, kind={_NAMES[found]})" if found else SAVE_AGAIN
        raise InputError(f"it holds a {type(model).__name__}, not a {kind.__name__} ({remedy})")
    _check_shared(model, tensors)
    _check_tensors(model.state_dict(), tensors)
    model.load_state_dict(tensors, assign=True)
    for name, module in model.named_modules():
        if not _picks_features(module):
            raise InputError(f"{name} ({type(module).__name__}) has indices that are no permutation ({SAVE_AGAIN})")
    return model.eval()


def _check_shared(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError if tensors of two names differ that stand for one parameter."""
    first: dict[Tensor, str] = {}
    for name, parameter in model.state_dict(keep_vars=True).items():
        other = first.setdefault(parameter, name)
        if other in tensors and name in tensors and not torch.equal(tensors[other], tensors[name]):
            raise InputError(f"the tensors {other} and {name} differ, and stand for one parameter ({SAVE_AGAIN})")


def _check_tensors(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError unless names, shapes and dtypes are the model's; one floating dtype may stand for another."""
    missing, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    for verb, names in ("lacks", missing), ("has no place for", extra):
        if names:
            raise InputError(f"{verb} {len(names)} tensors, such as {min(names)!r:.80} ({SAVE_AGAIN})")
    for name, want in expected.items():
        got = tensors[name]
        same = got.dtype == want.dtype or (got.is_floating_point() and want.is_floating_point())
        if got.shape != want.shape or not same:
            raise InputError(
                f"the tensor {name} is {_describe(got)}, and its specification says {_describe(want)} ({SAVE_AGAIN})"
            )


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def _picks_features(module: nn.Module) -> bool:
    """Whether a transform's indices are those that its constructor makes; others could read out of bounds."""
    try:
        if isinstance(module, transforms.Permutation):
            fresh: nn.Module = transforms.Permutation(module.permutation)
        elif isinstance(module, transforms.OnFeatures):
            fresh = transforms.OnFeatures(module.indices, module.transform)
        elif isinstance(module, transforms.Autoregressive):
            fresh = transforms.Autoregressive(module.order, module.univariate, module.conditioner)
        elif isinstance(module, transforms.Coupling):
            fresh = transforms.Coupling(module.mask, module.univariate, module.conditioner)
            if (fresh.num_kept, fresh.layout) != (module.num_kept, module.layout):
                return False
        elif isinstance(module, nets.ConvNet):
            with torch.random.fork_rng(devices=[]):
                fresh = nets.ConvNet(module.mask, module.shape, 1, hidden_channels=1)  # the weights do not matter
            if (fresh.num_kept, fresh.layout) != (module.num_kept, module.layout):
                return False
        else:
            return True
    except ValueError:
        return False
    own, right = dict(module.named_buffers(recurse=False)), dict(fresh.named_buffers(recurse=False))
    return all(torch.equal(own[name], right[name]) and not own[name].is_floating_point() for name in own)
