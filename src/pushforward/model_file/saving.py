"""Writing a model: its specification is checked first, so that what is written can be read again."""

import math
import os
import platform
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import __version__
from pushforward.errors import InputError, require_path
from pushforward.flows import Flow
from pushforward.flows.dequantization import VariationalDequantization
from pushforward.model_file.format import (
    DTYPES,
    MODEL_FILE,
    MODELS,
    called,
    check_specification,
    describe,
    is_plain,
    max_structure,
    stored,
    tensor_name,
)
from pushforward.model_file.types import TYPES
from pushforward.rows import RowDensity
from pushforward.specification import nodes
from pushforward.storage import json_and_tensors
from pushforward.vae import VAE


def save(
    flow: Flow | VAE | VariationalDequantization | RowDensity,
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
    if not isinstance(flow, tuple(MODELS)):
        raise ValueError(
            f"save takes a Flow, a VAE or a VariationalDequantization; got {type(flow).__name__}: save its flow, or "
            "keep model.state_dict() with safetensors.torch.save_file and load it into a model made anew."
        )
    empty = [name for name, tensor in flow.state_dict().items() if tensor.device.type == "meta"]
    if empty:
        raise InputError(
            f"{empty[0]} and {len(empty) - 1} other tensors are on the meta device and have no content: load them, "
            "with model.load_state_dict(state, assign=True)."
        )
    specification = flow.specification()
    tensors = stored(flow)
    _check_savable(specification, flow, called(specification), tensors)
    check_specification(specification)
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES.values():
            raise InputError(f"the tensor {name} is {describe(tensor)}; a model file holds {', '.join(DTYPES)}.")
    packed = [node["shape"] for node in nodes(specification) if node["type"] == "Tensor" and "content" in node]
    count, most = sum(math.prod(shape) for shape in packed), max_structure(tensors)
    if count > most:
        raise InputError(
            f"masks, orders and permutations of the {called(specification)} have {count} elements; a model file holds "
            f"{most} beside tensors of this size."
        )
    lost = {name for name, _ in flow.named_buffers()} - flow.state_dict().keys()
    if lost:
        raise InputError(
            f"the buffer {called(specification)}.{min(lost)} would be lost: register it with persistent=True."
        )
    versions = {"pushforward": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    document = {
        "flow": specification, "schema": schema, "seed": seed, "versions": versions, "plan": plan, "summary": summary,
    }  # fmt: skip
    json_and_tensors.write(require_path("path", path), document, tensors, MODEL_FILE)


def _check_savable(node: Any, owner: Any, place: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError naming the first part of a specification that could not be loaded again.

    Args:
        node: The specification or a part of it.
        owner: The object it describes, or None where that is not known.
        place: Where it is, such as "flow.transform.transforms[2]".
        tensors: What the file will hold.
    """
    name = node.get("type") if isinstance(node, dict) else None
    if isinstance(node, dict) and isinstance(name, str):
        if type(owner).__name__ == name and TYPES.get(name, type(owner)) is not type(owner):
            raise InputError(f"{place} has a class of your own with the name of a built-in one, {name}: rename it.")
        if name == "Tensor" and "content" not in node and tensor_name(place) not in tensors:
            raise InputError(f"{place} would be lost: register it as a parameter or a buffer.")
        for key, item in node.items():
            _check_savable(item, getattr(owner, key, None), f"{place}.{key}", tensors)
    elif isinstance(node, (list, tuple)):
        owners = list(owner) if isinstance(owner, (list, tuple, nn.ModuleList)) else []
        owners += [None] * (len(node) - len(owners))
        for position, item in enumerate(node):
            _check_savable(item, owners[position], f"{place}[{position}]", tensors)
    elif not is_plain(node):
        if isinstance(node, (int, float)):
            raise InputError(f"{place} is {node}: a model file holds finite numbers and integers within 2^31.")
        name = type(node).__name__
        raise InputError(
            f"{place} is of type {name}, which a model file cannot hold: use plain numbers, text and lists, or give "
            f'the class a method specification() that returns {{"type": "{name}", ...}} with the arguments of its '
            "constructor, and load with types=."
        )
