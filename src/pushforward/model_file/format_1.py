"""Files of format 1, written up to pushforward 0.1.0: what they say, said as format 2 says it.

Every tensor of a model stood among the tensors, masks and permutations too, and of each the specification had sizes
alone: `{"type": "Tensor", "shape": [3], "dtype": "bool"}`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.bases import SAVEABLE_DISTRIBUTIONS
from pushforward.errors import InputError
from pushforward.model_file.format import SAVE_AGAIN, stored, tensor_name
from pushforward.specification import nodes, plain

# What follows from a mask's content stood beside its sizes.
_FOLLOWS = {"Coupling": ("num_kept", "layout"), "ConvNet": ("num_kept", "layout")}


def translated(specification: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the specification as format 2 has it, with what it takes from the tensors."""
    specification = _translated(specification, tensors, "flow")
    if isinstance(specification, dict) and specification.get("type") == "VAE":
        for node in nodes(specification.get("prior")):
            if node["type"] == "VampPrior":
                node["encoder"] = None
    return specification


def _translated(node: Any, tensors: Mapping[str, Tensor], place: str) -> Any:
    if isinstance(node, list):
        return [_translated(item, tensors, f"{place}[{position}]") for position, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if kind == "Tensor" and isinstance(node.get("dtype"), str) and not node["dtype"].startswith(("float", "bfloat")):
        name = tensor_name(place)
        found = plain(tensors.get(name))
        if found is None or found != {**found, **node}:
            raise InputError(f"the tensor {name:.80} is not what its specification says ({SAVE_AGAIN})")
        return found
    left_out = _FOLLOWS.get(kind, ()) if isinstance(kind, str) else ()
    node = {key: _translated(item, tensors, f"{place}.{key}") for key, item in node.items() if key not in left_out}
    if kind == "FromTorch":
        # The names of the numbers stood nowhere but among the tensors.
        node.pop("shape", None)
        names = SAVEABLE_DISTRIBUTIONS.get(str(node.get("distribution")), ())
        numbers = {name: tensors.get(tensor_name(f"{place}.{name}")) for name in names}
        node |= {name: plain(tensor) for name, tensor in numbers.items() if tensor is not None}
    return node


def kept(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that format 2 holds too.

    Raises:
        InputError: If one of the others is not what the model, which was built without it, has in its place.
    """
    wanted, all_names, first = stored(model).keys(), model.state_dict(keep_vars=True), dict[Tensor, str]()
    for name, own in all_names.items():
        other = first.setdefault(own, name)
        if name in wanted:
            continue
        # A second name of a parameter, or else structure, which has content.
        right, got = (tensors.get(other) if other in wanted else own), tensors.get(name)
        if right is None or got is None or not _equal(got, right):
            raise InputError(f"the tensor {name} is not what follows from the rest of the file ({SAVE_AGAIN})")
    return {name: tensor for name, tensor in tensors.items() if name in wanted or name not in all_names}


def _equal(got: Tensor, right: Tensor) -> bool:
    of_one_kind = got.is_floating_point() == right.is_floating_point() and got.shape == right.shape
    return of_one_kind and torch.equal(got.to(right.dtype), right)
