"""Published flows built from the parts: functions that return a plain `Flow`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pushforward.bases import Base, StandardNormal
from pushforward.flow import Flow
from pushforward.nets import MLP, MaskedMLP
from pushforward.transforms import (
    Additive,
    Affine,
    Autoregressive,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    LULinear,
    Orthogonal,
    Permutation,
    RationalQuadratic,
    Transform,
    Univariate,
    autoregressive_adjacency,
    masks,
)

MIXINGS = ("swap", "flip", "permute", "orthogonal", "lu")


def nice(
    features: int,
    *,
    num_layers: int = 4,
    hidden_features: Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    mixing: str = "swap",
    mask: str | Tensor = "halves",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Additive couplings and one learned scale of each feature at the latent end (NICE, arXiv:1410.8516).

    Arguments are those of `realnvp`; there is no `log_scale`.
    """
    flow = _coupling_flow(
        features, Additive(), num_layers, hidden_features, context_features, activation, dropout, mixing, mask, base,
        preprocessing,
    )  # fmt: skip
    # The last step takes the scale along, so that num_layers still counts the learned steps.
    steps = flow.transform
    assert isinstance(steps, Compose)
    last = Compose([*_parts(steps[-1]), Elementwise(features, Affine("plain"))])
    return Flow(Compose([*list(steps)[:-1], last], names=steps.names), flow.base, preprocessing)


def realnvp(
    features: int,
    *,
    num_layers: int = 8,
    hidden_features: Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    log_scale: str = "soft",
    mixing: str = "swap",
    mask: str | Tensor = "halves",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Affine couplings (RealNVP, arXiv:1605.08803).

    Args:
        features: Number of features D; with D = 1 each coupling becomes an elementwise map.
        num_layers: Number of learned steps, each with its mixing.
        hidden_features: Widths of the conditioners' hidden layers.
        context_features: Size of the context seen by every conditioner; 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.
        log_scale: "soft" (bounded by 2), "tanh" (bounded by 1) or "plain".
        mixing: Between steps: "swap" (kept and transformed features change roles), "flip" (reverse the order),
            "permute" (fixed random permutations), "orthogonal" (fixed random rotations), "lu" (learned matrices, roles
            swapped).
        mask: "halves", "alternating", "random" (anew for each pair of layers), "chequerboard" (square images), or a
            boolean tensor (D,), True = unchanged.
        base: Density of the latent; `StandardNormal(features)` by default.
        preprocessing: Transforms next to the data, such as `[Standardize(features)]`.

    Raises:
        ValueError: If a size, a name or the mask is not valid.

    Example:
        >>> flow = realnvp(2, num_layers=4, hidden_features=(16, 16))
        >>> flow.sample(3).shape
        torch.Size([3, 2])
    """
    return _coupling_flow(
        features, Affine(log_scale), num_layers, hidden_features, context_features, activation, dropout, mixing, mask,
        base, preprocessing,
    )  # fmt: skip


def nsf(  # noqa: D417
    features: int,
    *,
    num_layers: int = 4,
    hidden_features: Sequence[int] = (64, 64),
    bins: int = 8,
    bound: float = 5.0,
    autoregressive: bool = False,
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    mixing: str | None = None,
    mask: str | Tensor = "halves",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Rational-quadratic neural spline flow, coupling or autoregressive (arXiv:1906.04032).

    Other arguments are those of `realnvp` (or `maf`).

    Args:
        bins: Number of bins K of each spline.
        bound: Half the side of the splines' box, in units of the preprocessed data; outside, the identity.
        autoregressive: Autoregressive steps instead of couplings: one pass to score, D passes to sample.
        mixing: "swap" by default, and "flip" where autoregressive.
    """
    univariate = RationalQuadratic(bins, bound)
    if autoregressive:
        return _autoregressive_flow(
            features, univariate, num_layers, hidden_features, context_features, activation, dropout, mixing or "flip",
            base, preprocessing,
        )  # fmt: skip
    return _coupling_flow(
        features, univariate, num_layers, hidden_features, context_features, activation, dropout, mixing or "swap",
        mask, base, preprocessing,
    )  # fmt: skip


def maf(
    features: int,
    *,
    num_layers: int = 5,
    hidden_features: Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    log_scale: str = "soft",
    mixing: str = "flip",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Masked autoregressive flow: one pass to score, D passes to sample (arXiv:1705.07057).

    Arguments are those of `realnvp`; there is no `mask`. With mixing "swap" or "flip" each step reverses the order.
    """
    return _autoregressive_flow(
        features, Affine(log_scale), num_layers, hidden_features, context_features, activation, dropout, mixing, base,
        preprocessing,
    )  # fmt: skip


def iaf(
    features: int,
    *,
    num_layers: int = 5,
    hidden_features: Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    log_scale: str = "soft",
    mixing: str = "flip",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Inverse autoregressive flow: one pass to sample, D passes to score (arXiv:1606.04934).

    Arguments are those of `maf`. `fit` refuses likelihood training above D = 64, where `maf` is the one to use.
    """
    return _autoregressive_flow(
        features, Affine(log_scale), num_layers, hidden_features, context_features, activation, dropout, mixing, base,
        preprocessing, inverted=True,
    )  # fmt: skip


RECIPES: dict[str, Callable[..., Flow]] = {"nice": nice, "realnvp": realnvp, "maf": maf, "iaf": iaf, "nsf": nsf}


def _parts(step: Transform) -> list[Transform]:
    return list(step) if isinstance(step, Compose) else [step]


def _flow(steps: list[list[Transform]], features: int, base: Base | None, preprocessing: Sequence[Transform]) -> Flow:
    """Return the flow whose named steps are `layer 1`, `layer 2`, ..."""
    transform = Compose(
        [parts[0] if len(parts) == 1 else Compose(parts) for parts in steps],
        names=[f"layer {number}" for number in range(1, len(steps) + 1)],
    )
    return Flow(transform, StandardNormal(features) if base is None else base, preprocessing)


def _check(features: int, num_layers: int, mixing: str) -> None:
    for name, value in (("features", features), ("num_layers", num_layers)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1; got {value!r}.")
    if mixing not in MIXINGS:
        raise ValueError(f"mixing must be one of {', '.join(MIXINGS)}; got {mixing!r}.")


def _mix(features: int, mixing: str, kept: Tensor | None = None) -> list[Transform]:
    """Return what stands before a step; swapping roles needs nothing, the masks do it."""
    if mixing == "permute":
        permutation = torch.randperm(features)
        while kept is not None and torch.equal(kept[permutation], kept):
            permutation = torch.randperm(features)  # one that leaves the roles as they were would waste a layer
        return [Permutation(permutation)]
    make: dict[str, Callable[[int], Transform]]
    make = {"flip": Permutation.reverse, "orthogonal": Orthogonal, "lu": LULinear}
    return [make[mixing](features)] if mixing in make else []


def _layer_masks(features: int, num_layers: int, mixing: str, mask: str | Tensor) -> list[Tensor]:
    """Return one mask a layer, in the coordinates after its mixing.

    No feature is kept by two layers running; where permutations or rotations are random, they decide who is kept.
    """
    if isinstance(mask, str) and mask not in masks.MASKS:
        raise ValueError(f"mask must be a boolean tensor or one of {', '.join(masks.MASKS)}; got {mask!r}.")
    if isinstance(mask, Tensor) and (mask.dtype != torch.bool or mask.shape != (features,)):
        raise ValueError(
            f"mask must be boolean of shape ({features},); got {str(mask.dtype).removeprefix('torch.')} of shape "
            f"{tuple(mask.shape)}."
        )
    if isinstance(mask, Tensor) and not 0 < int(mask.sum()) < features:
        raise ValueError(
            f"mask must keep at least one feature and transform at least one; it keeps {int(mask.sum())} of {features}."
        )
    layers: list[Tensor] = []
    for layer in range(num_layers):
        if layer % 2 == 0 or mixing in ("permute", "orthogonal"):
            layers.append(masks.MASKS[mask](features) if isinstance(mask, str) else mask)
        else:
            swapped = ~layers[-1]
            layers.append(swapped.flip(0) if mixing == "flip" else swapped)
    return layers


def _coupling_flow(
    features: int,
    univariate: Univariate,
    num_layers: int,
    hidden_features: Sequence[int],
    context_features: int,
    activation: str,
    dropout: float,
    mixing: str,
    mask: str | Tensor,
    base: Base | None,
    preprocessing: Sequence[Transform],
) -> Flow:
    _check(features, num_layers, mixing)
    options: dict[str, Any] = {
        "hidden_features": hidden_features,
        "context_features": context_features,
        "activation": activation,
        "dropout": dropout,
    }
    if features == 1:
        return _elementwise_flow(univariate, num_layers, options, base, preprocessing)
    steps: list[list[Transform]] = []
    for layer, kept in enumerate(_layer_masks(features, num_layers, mixing, mask)):
        num_kept = int(kept.sum())
        net = MLP(num_kept, (features - num_kept) * univariate.num_params, **options)
        steps.append([*(_mix(features, mixing, kept) if layer else ()), Coupling(kept, univariate, net)])
    return _flow(steps, features, base, preprocessing)


def _autoregressive_flow(
    features: int,
    univariate: Univariate,
    num_layers: int,
    hidden_features: Sequence[int],
    context_features: int,
    activation: str,
    dropout: float,
    mixing: str,
    base: Base | None,
    preprocessing: Sequence[Transform],
    *,
    inverted: bool = False,
) -> Flow:
    _check(features, num_layers, mixing)
    options: dict[str, Any] = {
        "hidden_features": hidden_features,
        "context_features": context_features,
        "activation": activation,
        "dropout": dropout,
    }
    if features == 1:
        return _elementwise_flow(univariate, num_layers, options, base, preprocessing)
    steps: list[list[Transform]] = []
    for layer in range(num_layers):
        order = torch.arange(features)
        if mixing in ("swap", "flip") and layer % 2:
            order = order.flip(0)  # the order is turned around rather than the features: one operation less
        net = MaskedMLP(autoregressive_adjacency(order), univariate.num_params, **options)
        step: Transform = Autoregressive(order, univariate, net)
        mixed = _mix(features, mixing) if layer and mixing not in ("swap", "flip") else []
        steps.append([*mixed, Inverse(step) if inverted else step])
    return _flow(steps, features, base, preprocessing)


def _elementwise_flow(
    univariate: Univariate,
    num_layers: int,
    options: dict[str, Any],
    base: Base | None,
    preprocessing: Sequence[Transform],
) -> Flow:
    """Return the flow of one feature: there is nothing to couple it with but the context."""
    steps: list[list[Transform]] = []
    for _ in range(num_layers):
        net = MLP(0, univariate.num_params, **options) if options["context_features"] else None
        steps.append([Elementwise(1, univariate, net)])
    return _flow(steps, 1, base, preprocessing)
