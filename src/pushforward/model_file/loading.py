"""Reading a model: built with empty tensors, which get their content once names, shapes and dtypes fit."""

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from torch import Tensor, nn

from pushforward.errors import InputError, require_path
from pushforward.flows import Flow
from pushforward.flows.dequantization import VariationalDequantization
from pushforward.model_file import format_1
from pushforward.model_file.building import build
from pushforward.model_file.format import (
    DTYPES,
    MODEL_FILE,
    MODELS,
    SAVE_AGAIN,
    called,
    check_specification,
    describe,
    stored,
)
from pushforward.model_file.types import TYPES
from pushforward.rows import RowDensity
from pushforward.storage import json_and_tensors
from pushforward.vae import VAE

Model = TypeVar("Model", Flow, VAE, VariationalDequantization, RowDensity)
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
            `torch.device("meta")`: the tensors that it makes have shapes only, and get their content afterwards.
        kind: What the file must hold: `pf.Flow`, `pf.vae.VAE` or `pf.VariationalDequantization`. A file of a
            `pf.TableModel` of real columns holds a flow.

    Raises:
        ValueError: If `types` gives a built-in name another meaning, or `kind` is not one of the three.
        InputError: If the file cannot be read, is damaged, or is not a model of this kind that this version knows.
    """
    return _read(path, types, (kind,))[0]


@overload
def load_with_metadata(path: File, types: Types | None = None) -> tuple[Flow, dict[str, Any]]: ...
@overload
def load_with_metadata(
    path: File, types: Types | None = None, *, kind: type[Model]
) -> tuple[Model, dict[str, Any]]: ...
def load_with_metadata(path: File, types: Types | None = None, *, kind: Any = Flow) -> tuple[Any, dict[str, Any]]:
    """Return what `load` and `read_metadata` return, from one reading of the file; they say more."""
    model, document = _read(path, types, kind if isinstance(kind, tuple) else (kind,))
    return model, _metadata(path, document)


def read_metadata(path: File) -> dict[str, Any]:
    """Return what a model file says of its model: `flow` (its specification), schema, seed, versions, plan, summary.

    What was not given to `save` is None.

    Raises:
        InputError: If the file cannot be read, is damaged, or is from a newer version.
    """
    return _metadata(path, json_and_tensors.read(require_path("path", path), MODEL_FILE)[0])


def _metadata(path: File, document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {name: document.get(name) for name in METADATA}
    for name, value in metadata.items():
        if value is not None and not isinstance(value, METADATA[name]):
            raise InputError(
                f"{path}: its {name} is {value!r:.80}, of another kind than pushforward writes ({SAVE_AGAIN})"
            )
    return metadata


def _read(path: File, types: Types | None, kinds: tuple[Any, ...]) -> tuple[nn.Module, dict[str, Any]]:
    """Return the model of a file and its document."""
    if not all(kind in tuple(MODELS) for kind in kinds):
        public = ", ".join(MODELS.values())
        raise ValueError(f"kind must be one of {public}; got {kinds[0]!r}.")
    types = {} if types is None else types
    if isinstance(types, type):
        raise ValueError(f"types must map names to classes; got {types.__name__}: did you mean kind=?")
    if not isinstance(types, Mapping):
        raise ValueError(f'types must map names to classes, {{"MyLayer": MyLayer}}; got {types!r}.')
    for name in types:
        if name in TYPES or name == "Tensor":
            raise ValueError(f"types must not give {name!r}, a built-in type, another meaning; rename your class.")
    document, tensors = json_and_tensors.read(require_path("path", path), MODEL_FILE)
    try:
        return _restore(document, tensors, {**TYPES, **types}, kinds), document
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _restore(
    document: Mapping[str, Any], tensors: dict[str, Tensor], types: Types, kinds: tuple[type[nn.Module], ...]
) -> nn.Module:
    """Return the model with its tensors; InputError if the two do not belong together."""
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES.values():
            raise InputError(f"the tensor {name} is {describe(tensor)}; its dtype may be {', '.join(DTYPES)}")
    specification = document.get("flow")
    if document["format_version"] == 1:
        specification = format_1.translated(specification, tensors)
    check_specification(specification)
    model = build(specification, types, tensors, place=called(specification))
    whole = model
    if isinstance(model, RowDensity) and not isinstance(model, kinds):
        model = model.joint  # the flow of a table of real columns
    if not isinstance(model, kinds):
        found = next((each for each in MODELS if isinstance(whole, each)), None)
        remedy = f"in Python: pf.load(path, kind={MODELS[found]})" if found else SAVE_AGAIN
        if found is RowDensity:
            remedy = "in Python: pf.TableModel.load(path)"
        raise InputError(f"it holds a {type(whole).__name__}, not a {kinds[0].__name__} ({remedy})")
    if document["format_version"] == 1:
        tensors = format_1.kept(whole, tensors)
    _check_tensors(stored(whole), tensors)
    whole.load_state_dict(tensors, assign=True, strict=False)  # what else there is has its content
    return model.eval()


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
                f"the tensor {name} is {describe(got)}, and its specification says {describe(want)} ({SAVE_AGAIN})"
            )
