"""Recipes of autoregressive maps between data and latent: MAF, one pass to score, and IAF, one pass to sample."""

from collections.abc import Sequence

from pushforward.bases import Base
from pushforward.flows import Flow
from pushforward.recipes.assembly import Ends, autoregressive_steps, network_options, stepped_flow
from pushforward.transforms import Affine, Transform


def maf(
    features: int,
    *,
    num_layers: int = 5,
    hidden_features: int | Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    log_scale: str = "soft",
    mixing: str = "flip",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
    context_preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Masked autoregressive flow: one pass to score, D passes to sample (arXiv:1705.07057).

    Args:
        features: Number of features D; with D = 1 each step becomes an elementwise map.
        num_layers: Number of learned steps, each with its mixing.
        hidden_features: Widths of the conditioners' hidden layers; an integer is two layers of that width.
        context_features: Size of the context seen by every conditioner; 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.
        log_scale: "soft" (bounded by 2), "tanh" (bounded by 1) or "plain".
        mixing: Between steps: "swap" or "flip" (the order of the features is reversed), "permute" (fixed random
            permutations), "orthogonal" (fixed random rotations), "lu" (learned matrices).
        base: Density of the latent; `StandardNormal(features)` by default.
        preprocessing: Transforms next to the data, such as `[Standardize(features)]`.
        context_preprocessing: Transforms of the context, such as `[Standardize(context_features)]`.

    Raises:
        ValueError: If a size or a name is not valid.

    Example:
        >>> maf(3, num_layers=2).transform.inverse_passes
        3
    """
    networks = network_options(hidden_features, context_features, activation, dropout)
    steps = autoregressive_steps(features, Affine(log_scale), num_layers, networks, mixing)
    return stepped_flow(steps, features, Ends(base, preprocessing, context_preprocessing))


def iaf(
    features: int,
    *,
    num_layers: int = 5,
    hidden_features: int | Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    log_scale: str = "soft",
    mixing: str = "flip",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
    context_preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Inverse autoregressive flow: one pass to sample, D passes to score (arXiv:1606.04934).

    `fit` refuses likelihood training above D = 64, where `maf` is the one to use.

    Args:
        features: Number of features D; with D = 1 each step becomes an elementwise map.
        num_layers: Number of learned steps, each with its mixing.
        hidden_features: Widths of the conditioners' hidden layers; an integer is two layers of that width.
        context_features: Size of the context seen by every conditioner; 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.
        log_scale: "soft" (bounded by 2), "tanh" (bounded by 1) or "plain".
        mixing: Between steps: "swap" or "flip" (the order of the features is reversed), "permute" (fixed random
            permutations), "orthogonal" (fixed random rotations), "lu" (learned matrices).
        base: Density of the latent; `StandardNormal(features)` by default.
        preprocessing: Transforms next to the data, such as `[Standardize(features)]`.
        context_preprocessing: Transforms of the context, such as `[Standardize(context_features)]`.

    Raises:
        ValueError: If a size or a name is not valid.

    Example:
        >>> iaf(3, num_layers=2).forward_passes
        3
    """
    networks = network_options(hidden_features, context_features, activation, dropout)
    steps = autoregressive_steps(features, Affine(log_scale), num_layers, networks, mixing, inverted=True)
    return stepped_flow(steps, features, Ends(base, preprocessing, context_preprocessing))
