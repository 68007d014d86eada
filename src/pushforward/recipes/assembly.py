"""How the recipes put their parts together: steps of layers with their mixing, between data and base."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pushforward.bases import Base, StandardNormal
from pushforward.errors import require_choice, require_count, require_flag, require_widths
from pushforward.flows import Flow
from pushforward.nets import ACTIVATIONS, MLP, MaskedMLP
from pushforward.nets.mlp import require_dropout
from pushforward.specification import readable_mask
from pushforward.transforms import (
    Autoregressive,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    LULinear,
    Orthogonal,
    Permutation,
    Planar,
    Radial,
    Sylvester,
    Transform,
    Univariate,
    autoregressive_adjacency,
    masks,
)

MOST_RIDGES = 32  # of a Sylvester map: its inverse solves for one after another
Steps = list[list[Transform]]  # the parts of each step

MIXINGS = ("swap", "flip", "permute", "orthogonal", "lu")


def network_options(
    hidden_features: int | Sequence[int], context_features: int, activation: str, dropout: float
) -> dict[str, Any]:
    """Return the options that every conditioner of a recipe is made with, checked: there may be no conditioner."""
    return {
        "hidden_features": require_widths("hidden_features", hidden_features),
        "context_features": require_count("context_features", context_features, 0),
        "activation": require_choice("activation", activation, ACTIVATIONS),
        "dropout": require_dropout(dropout),
    }


@dataclass(frozen=True)
class Ends:
    """What stands at both ends of a flow's steps; the base is N(0, I) where none is given."""

    base: Base | None = None
    preprocessing: Sequence[Transform] = ()
    context_preprocessing: Sequence[Transform] = ()

    def around(self, transform: Transform, features: int) -> Flow:
        """Return the flow."""
        base = StandardNormal(features) if self.base is None else self.base
        return Flow(transform, base, self.preprocessing, context_preprocessing=self.context_preprocessing)


def stepped_flow(steps: Steps, features: int, ends: Ends) -> Flow:
    """Return the flow whose named steps are `layer 1`, `layer 2`, ..."""
    transform = Compose(
        [parts[0] if len(parts) == 1 else Compose(parts) for parts in steps],
        names=[f"layer {number}" for number in range(1, len(steps) + 1)],
    )
    return ends.around(transform, features)


def _checked(features: int, num_layers: int, mixing: str) -> tuple[int, int]:
    """Return both counts, if they and the mixing are valid."""
    require_choice("mixing", mixing, MIXINGS)
    return require_count("features", features), require_count("num_layers", num_layers)


def _mix(features: int, mixing: str) -> list[Transform]:
    """Return what stands before a step; swapping roles needs nothing, the masks do it."""
    make: dict[str, Callable[[int], Transform]]
    make = {"flip": Permutation.reverse, "permute": Permutation.random, "orthogonal": Orthogonal, "lu": LULinear}
    return [make[mixing](features)] if mixing in make else []


def _permuted_roles(before: Tensor, kept: Tensor, layer: int) -> Permutation:
    """Return a random permutation between two couplings after which no feature is kept for ever.

    Every second one puts what the coupling before kept where the next transforms, as far as there is room; the others
    are free, but for the one that leaves all roles as they were, which would waste a layer.
    """
    if layer % 2 == 0:
        permutation = torch.randperm(len(kept), device="cpu")
        while torch.equal(before[permutation], kept):
            permutation = torch.randperm(len(kept), device="cpu")
        return Permutation(permutation)
    # Places that transform come first, and are given first to what was kept.
    places = torch.cat(((~kept).nonzero(), kept.nonzero())).squeeze(-1)
    groups = (before.nonzero(), (~before).nonzero())
    given = torch.cat([group[torch.randperm(len(group), device="cpu")] for group in groups])
    permutation = torch.empty(len(kept), dtype=torch.long, device="cpu")
    permutation[places] = given.squeeze(-1)
    return Permutation(permutation)


def _layer_masks(features: int, num_layers: int, mixing: str, mask: str | Tensor) -> list[Tensor]:
    """Return one mask a layer, in the coordinates after its mixing.

    No feature is kept by two layers running; where permutations or rotations are random, they decide who is kept.
    """
    if isinstance(mask, str):
        require_choice("mask, where it is a name,", mask, masks.MASKS)
    else:
        mask = readable_mask("mask", mask, features)
    layers: list[Tensor] = []
    for layer in range(num_layers):
        if layer % 2 == 0 or mixing in ("permute", "orthogonal"):
            layers.append(masks.MASKS[mask](features) if isinstance(mask, str) else mask)
        else:
            swapped = ~layers[-1]
            layers.append(swapped.flip(0) if mixing == "flip" else swapped)
    return layers


def coupling_steps(
    features: int, univariate: Univariate, num_layers: int, networks: dict[str, Any], mixing: str, mask: str | Tensor
) -> Steps:
    """Return couplings with their mixing, one step a layer; elementwise maps where there is one feature."""
    features, num_layers = _checked(features, num_layers, mixing)
    if features == 1:
        return _elementwise_steps(univariate, num_layers, networks)
    steps: Steps = []
    kepts = _layer_masks(features, num_layers, mixing, mask)
    for layer, kept in enumerate(kepts):
        num_kept = int(kept.sum())
        net = MLP(num_kept, (features - num_kept) * univariate.num_params, **networks)
        mixed: list[Transform] = []
        if layer:
            permute = mixing == "permute"
            mixed = [_permuted_roles(kepts[layer - 1], kept, layer)] if permute else _mix(features, mixing)
        steps.append([*mixed, Coupling(kept, univariate, net)])
    return steps


def autoregressive_steps(
    features: int,
    univariate: Univariate,
    num_layers: int,
    networks: dict[str, Any],
    mixing: str,
    *,
    inverted: bool = False,
) -> Steps:
    """Return autoregressive maps (or their inverses) with their mixing, one step a layer."""
    features, num_layers = _checked(features, num_layers, mixing)
    if features == 1:
        return _elementwise_steps(univariate, num_layers, networks)
    steps: Steps = []
    for layer in range(num_layers):
        order = torch.arange(features, device="cpu")
        if mixing in ("swap", "flip") and layer % 2:
            order = order.flip(0)  # the order is turned around rather than the features: one operation less
        net = MaskedMLP(autoregressive_adjacency(order), univariate.num_params, **networks)
        step: Transform = Autoregressive(order, univariate, net)
        mixed = _mix(features, mixing) if layer and mixing not in ("swap", "flip") else []
        steps.append([*mixed, Inverse(step) if inverted else step])
    return steps


def residual_steps(features: int, kind: str, num_layers: int, networks: dict[str, Any], *, inverted: bool) -> Steps:
    """Return planar, radial or Sylvester maps (or their inverses), one step a layer."""
    features, num_layers = _checked(features, num_layers, "swap")
    require_choice("kind", kind, ("planar", "radial", "sylvester"))
    inverted = require_flag("inverted", inverted)
    if kind == "sylvester" and networks["context_features"]:
        raise ValueError("sylvester maps take no context; use kind planar or radial, or context_features=0.")
    steps: Steps = []
    for _ in range(num_layers):
        step: Transform
        if kind == "sylvester":
            step = Sylvester(features, rank=min(features, MOST_RIDGES))
        else:
            make, size = (Planar, 2 * features + 1) if kind == "planar" else (Radial, features + 2)
            step = make(features, conditioner=MLP(0, size, **networks) if networks["context_features"] else None)
        steps.append([Inverse(step) if inverted else step])
    return steps


def _elementwise_steps(univariate: Univariate, num_layers: int, networks: dict[str, Any]) -> Steps:
    """Return the steps of one feature: there is nothing to couple it with but the context."""
    steps: Steps = []
    for _ in range(num_layers):
        net = MLP(0, univariate.num_params, **networks) if networks["context_features"] else None
        steps.append([Elementwise(1, univariate, net)])
    return steps
