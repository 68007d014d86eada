"""Couplings and autoregressive steps as links of a chain that a kernel runs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.kernels.link import Link
from pushforward.kernels.masked_order import sorted_network
from pushforward.nets.masked import MaskedMLP
from pushforward.nets.mlp import MLP
from pushforward.transforms.spline import RationalQuadratic
from pushforward.transforms.univariate import Additive, Affine, Univariate

FAMILIES = {Additive: "additive", Affine: "affine", RationalQuadratic: "spline"}  # those that the kernel knows


def coupling_link(mask: Tensor, univariate: Univariate, conditioner: nn.Module) -> Link | None:
    """Return how a kernel runs a coupling, or None where it cannot.

    Args:
        mask: True for the features that are kept, (D,).
        univariate: The family of maps of the others.
        conditioner: What gives their parameters.
    """
    if type(conditioner) is not MLP or not conditioner.is_plain() or type(univariate) not in FAMILIES:
        return None
    order = torch.cat((mask.nonzero().flatten(), (~mask).nonzero().flatten())).to("cpu", torch.int32).numpy().copy()
    return Link("coupling", order=order, num_kept=int(mask.sum()), **_maps(univariate), **_network(conditioner))


def autoregressive_link(order: Tensor, univariate: Univariate, conditioner: nn.Module) -> Link | None:
    """Return how a kernel runs an autoregressive step, or None where it cannot.

    Args:
        order: The features in their sequence, (D,).
        univariate: The family of maps.
        conditioner: What gives their parameters.
    """
    if type(conditioner) is not MaskedMLP or not conditioner.is_plain() or type(univariate) not in FAMILIES:
        return None
    sequence = order.to("cpu", torch.int32).numpy()
    masks = [mask.cpu().numpy() != 0 for mask in conditioner.masks()]
    found = sorted_network(masks, sequence, conditioner.context_features)
    if found is None:
        return None
    twice = np.concatenate([sequence, sequence])
    return Link(
        "autoregressive",
        order=twice,
        num_kept=len(sequence),
        sorted=found,
        **_maps(univariate),
        **_network(conditioner),
    )


def _maps(univariate: Univariate) -> dict[str, Any]:
    """Return the fields of a link that say what its maps are."""
    name = f"{FAMILIES[type(univariate)]} {getattr(univariate, 'log_scale', '')}".strip()
    return {"family": name, "bins": getattr(univariate, "bins", 0), "bound": getattr(univariate, "bound", 0.0)}


def _network(net: MLP | MaskedMLP) -> dict[str, Any]:
    """Return the fields of a link that say what its network is."""
    # Where parameters are, to be looked up at each use: (dictionary, name).
    held = [(layer._parameters, name) for layer in (net.first, *net.hidden, net.last) for name in ("weight", "bias")]
    if net.context_features:
        held.append((net.first._parameters, "context_weight"))
    return {
        "tensors": lambda: [parameters[name] for parameters, name in held],
        "hidden": tuple(net.hidden_features),
        "activation": net.activation,
        "context": net.context_features,
        "dropout": lambda: net._dropout.p if net._dropout.training else 0.0,
    }
