"""Reading a model: built with empty tensors, which get their content once names, shapes and dtypes fit."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from pushforward import nets, transforms
from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.flows.dequantization import VariationalDequantization
from pushforward.model_file.building import build
from pushforward.model_file.format import MODEL_FILE, MODELS, SAVE_AGAIN, called, check_nesting
from pushforward.model_file.types import TYPES
from pushforward.storage import safe_container
from pushforward.vae import VAE

Model = TypeVar("Model", Flow, VAE, VariationalDequantization)
File = str | os.PathLike[str]
Types = Mapping[str, Callable[..., Any]]

METADATA = {"flow": dict, "schema": dict, "seed": int, "versions": dict, "plan": dict, "summary": dict}


@overload
def load(path: File, types: Types | None = None) -> Flow: ...
@overload
def load(path: File, types: Types | None = None, *, kind: type[Model]) -> Model: ...
def load(path: File, types: Types | None = None, *, kind: Any = Flow) -> Any:
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
    return _read(path, types, kind)[0]


@overload
def load_with_metadata(path: File, types: Types | None = None) -> tuple[Flow, dict[str, Any]]: ...
@overload
def load_with_metadata(
    path: File, types: Types | None = None, *, kind: type[Model]
) -> tuple[Model, dict[str, Any]]: ...
def load_with_metadata(path: File, types: Types | None = None, *, kind: Any = Flow) -> tuple[Any, dict[str, Any]]:
    """Return what `load` and `read_metadata` return, from one reading of the file; they say more."""
    model, document = _read(path, types, kind)
    return model, _metadata(path, document)


def read_metadata(path: File) -> dict[str, Any]:
    """Return what a model file says of its model: `flow` (its specification), schema, seed, versions, plan, summary.

    What was not given to `save` is None.

    Raises:
        InputError: If the file cannot be read, is damaged, or is from a newer version.
    """
    return _metadata(path, safe_container.read(Path(path), MODEL_FILE)[0])


def _metadata(path: File, document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {name: document.get(name) for name in METADATA}
    for name, value in metadata.items():
        if value is not None and not isinstance(value, METADATA[name]):
            raise InputError(
                f"{path}: its {name} is {value!r:.80}, of another kind than pushforward writes ({SAVE_AGAIN})"
            )
    return metadata


def _read(path: File, types: Types | None, kind: Any) -> tuple[nn.Module, dict[str, Any]]:
    """Return the model of a file and its document."""
    if kind not in tuple(MODELS):
        raise ValueError(f"kind must be one of {', '.join(MODELS.values())}; got {kind!r}.")
    if isinstance(types, type):
        raise ValueError(f"types must map names to classes; got {types.__name__}: did you mean kind=?")
    types = types or {}
    for name in types:
        if name in TYPES or name == "Tensor":
            raise ValueError(f"types must not give {name!r}, a built-in type, another meaning; rename your class.")
    document, tensors = safe_container.read(Path(path), MODEL_FILE)
    try:
        return _restore(document.get("flow"), tensors, {**TYPES, **types}, kind), document
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _restore(
    specification: Any, tensors: Mapping[str, Tensor], types: Mapping[str, Callable[..., Any]], kind: type[nn.Module]
) -> nn.Module:
    """Return the model with its tensors; InputError if the two do not belong together."""
    check_nesting(specification)
    place = called(specification)
    model = build(specification, types, place=place, max_parameters=1000 + 10 * len(tensors))
    if not isinstance(model, kind):
        found = next((each for each in MODELS if isinstance(model, each)), None)
        remedy = f"in Python: pf.load(path, kind={MODELS[found]})" if found else SAVE_AGAIN
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
