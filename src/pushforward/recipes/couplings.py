"""Recipes of couplings, a step at a time between data and latent: NICE, RealNVP, neural spline flows."""

from collections.abc import Sequence

from torch import Tensor

from pushforward.bases import Base
from pushforward.errors import require_flag
from pushforward.flows import Flow
from pushforward.recipes.assembly import Ends, autoregressive_steps, coupling_steps, network_options, stepped_flow
from pushforward.transforms import Additive, Affine, Elementwise, RationalQuadratic, Transform


def nice(
    features: int,
    *,
    num_layers: int = 4,
    hidden_features: int | Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    mixing: str = "swap",
    mask: str | Tensor = "halves",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
    context_preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Additive couplings and one learned scale of each feature at the latent end (NICE, arXiv:1410.8516).

    Args:
        features: Number of features D; with D = 1 each coupling becomes an elementwise map.
        num_layers: Number of learned steps, each with its mixing; the last takes the scale along.
        hidden_features: Widths of the conditioners' hidden layers; an integer is two layers of that width.
        context_features: Size of the context seen by every conditioner; 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.
        mixing: Between steps: "swap" (kept and transformed features change roles), "flip" (reverse the order),
            "permute" (fixed random permutations), "orthogonal" (fixed random rotations), "lu" (learned matrices, roles
            swapped).
        mask: "halves", "alternating", "random" (anew for each pair of layers), "chequerboard" (square images), or a
            boolean tensor (D,), True = unchanged.
        base: Density of the latent; `StandardNormal(features)` by default.
        preprocessing: Transforms next to the data, such as `[Standardize(features)]`.
        context_preprocessing: Transforms of the context, such as `[Standardize(context_features)]`.

    Raises:
        ValueError: If a size, a name or the mask is not valid.

    Example:
        >>> nice(2, hidden_features=(16,)).sample(3).shape
        torch.Size([3, 2])
    """
    networks = network_options(hidden_features, context_features, activation, dropout)
    steps = coupling_steps(features, Additive(), num_layers, networks, mixing, mask)
    steps[-1].append(Elementwise(features, Affine("plain")))
    return stepped_flow(steps, features, Ends(base, preprocessing, context_preprocessing))


def realnvp(
    features: int,
    *,
    num_layers: int = 8,
    hidden_features: int | Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    log_scale: str = "soft",
    mixing: str = "swap",
    mask: str | Tensor = "halves",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
    context_preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Affine couplings (RealNVP, arXiv:1605.08803).

    Args:
        features: Number of features D; with D = 1 each coupling becomes an elementwise map.
        num_layers: Number of learned steps, each with its mixing.
        hidden_features: Widths of the conditioners' hidden layers; an integer is two layers of that width.
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
        context_preprocessing: Transforms of the context, such as `[Standardize(context_features)]`.

    Raises:
        ValueError: If a size, a name or the mask is not valid.

    Example:
        >>> flow = realnvp(2, num_layers=4, hidden_features=(16, 16))
        >>> flow.sample(3).shape
        torch.Size([3, 2])
    """
    networks = network_options(hidden_features, context_features, activation, dropout)
    steps = coupling_steps(features, Affine(log_scale), num_layers, networks, mixing, mask)
    return stepped_flow(steps, features, Ends(base, preprocessing, context_preprocessing))


def nsf(
    features: int,
    *,
    num_layers: int = 4,
    hidden_features: int | Sequence[int] = (64, 64),
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
    context_preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Rational-quadratic neural spline flow, coupling or autoregressive (arXiv:1906.04032).

    Args:
        features: Number of features D; with D = 1 each step becomes an elementwise map.
        num_layers: Number of learned steps, each with its mixing.
        hidden_features: Widths of the conditioners' hidden layers; an integer is two layers of that width.
        bins: Number of bins K of each spline.
        bound: Half the side of the splines' box, in units of the preprocessed data; outside, the identity.
        autoregressive: Autoregressive steps instead of couplings: one pass to score, D passes to sample.
        context_features: Size of the context seen by every conditioner; 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.
        mixing: Between steps: "swap" (kept and transformed features change roles), "flip" (reverse the order),
            "permute" (fixed random permutations), "orthogonal" (fixed random rotations), "lu" (learned matrices, roles
            swapped). By default "swap", and "flip" where autoregressive.
        mask: Of couplings: "halves", "alternating", "random" (anew for each pair of layers), "chequerboard" (square
            images), or a boolean tensor (D,), True = unchanged.
        base: Density of the latent; `StandardNormal(features)` by default.
        preprocessing: Transforms next to the data, such as `[Standardize(features)]`.
        context_preprocessing: Transforms of the context, such as `[Standardize(context_features)]`.

    Raises:
        ValueError: If a size, a name or the mask is not valid.

    Example:
        >>> nsf(3, num_layers=2, hidden_features=(16,), context_features=1).context_features
        1
    """
    univariate = RationalQuadratic(bins, bound)
    networks = network_options(hidden_features, context_features, activation, dropout)
    if require_flag("autoregressive", autoregressive):
        steps = autoregressive_steps(features, univariate, num_layers, networks, "flip" if mixing is None else mixing)
    else:
        mixing = "swap" if mixing is None else mixing
        steps = coupling_steps(features, univariate, num_layers, networks, mixing, mask)
    return stepped_flow(steps, features, Ends(base, preprocessing, context_preprocessing))
