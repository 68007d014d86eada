"""What a model file may hold: models, values, dtypes, limits; what writing and reading share."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.flows.dequantization import VariationalDequantization
from pushforward.rows import RowDensity
from pushforward.specification import nodes, structure_of
from pushforward.storage.json_and_tensors import FileKind
from pushforward.vae import VAE, VampPrior

MODEL_FILE = FileKind(
    key="pushforward",
    format_version=2,
    name="model file",
    copy_again="copy the file again from where it came",
    right_file="give a file written by pushforward.save",
)
SAVE_AGAIN = "save the flow again with pushforward.save"

MODELS = {
    Flow: "pf.Flow",
    VAE: "pf.vae.VAE",
    VariationalDequantization: "pf.VariationalDequantization",
    RowDensity: "the density inside a pf.TableModel",
}
"""What a file can hold, and its public name; anything else of a model is a part of one of these."""
_MADE_OF_FLOWS = ("VAE", "VariationalDequantization")

MAX_NODES = 10_000  # values in a specification
MAX_INTEGER = 2**31 - 1

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, *FLOATS)
}


def is_plain(value: Any) -> bool:
    """Whether a value without parts can stand in a specification."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str) or (isinstance(value, int) and abs(value) <= MAX_INTEGER)


def called(specification: Any) -> str:
    """Return what messages call a model and the places in it."""
    return "model" if isinstance(specification, dict) and specification.get("type") in _MADE_OF_FLOWS else "flow"


def tensor_name(place: str) -> str:
    """Return the name of the tensor at a place: "flow.transforms[0].factor" -> "transforms.0.factor"."""
    return place.partition(".")[2].replace("[", ".").replace("]", "")


def describe(tensor: Tensor) -> str:
    """Return dtype and shape in words."""
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def check_specification(specification: Any) -> None:
    """Raise InputError if a specification has too many values, or a model made of flows inside another one.

    Each autoencoder shares its encoder with its VampPriors, inside one another twice over and without an end.
    """
    count = _count(specification)
    for node in nodes(specification):
        if node is not specification and node["type"] in _MADE_OF_FLOWS:
            raise InputError(f"it holds a {node['type']} inside another model; only flows can be parts.")
        if node["type"] == "VampPrior" and "encoder" in specification:
            count += _count(specification["encoder"])
    if count > MAX_NODES:
        raise InputError(f"it takes {count} values to describe; a model file holds {MAX_NODES}.")


def _count(node: Any) -> int:
    """Return the number of values in a tree."""
    items = node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    return 1 + sum(_count(item) for item in items)


def max_structure(tensors: Mapping[str, Tensor]) -> int:
    """Return how many booleans and integers may stand in a specification beside these tensors.

    A few bytes of text can stand for any number of them, and a layer makes up to 50 bytes of each.
    """
    return 2**20 + 64 * sum(tensor.numel() for tensor in tensors.values())


def stored(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a model that a file holds, by name.

    Left out are those that follow from the structure in the specification, and the second name of an encoder that an
    autoencoder shares with a VampPrior.
    """
    left_out = structure_of(model)
    parts = model.named_modules(remove_duplicate=False) if isinstance(model, VAE) else ()
    again = tuple(f"{name}.encoder." for name, part in parts if isinstance(part, VampPrior))
    state = model.state_dict()
    return {name: state[name] for name in state if name not in left_out and not name.startswith(again)}
