"""Published flows: functions that return a plain `Flow`."""

from collections.abc import Callable, Sequence

from torch import Tensor

from pushforward.bases import Base, StandardNormal
from pushforward.flows import Flow
from pushforward.nets import HyperNetwork, TimeMLP
from pushforward.recipes.assembly import autoregressive_flow, coupling_flow, network_options, parts_of, residual_flow
from pushforward.transforms import Additive, Affine, Compose, Continuous, Elementwise, RationalQuadratic, Transform


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
    networks = network_options(hidden_features, context_features, activation, dropout)
    flow = coupling_flow(features, Additive(), num_layers, networks, mixing, mask, base, preprocessing)
    # The last step takes the scale along, so that num_layers still counts the learned steps.
    steps = flow.transform
    assert isinstance(steps, Compose)
    last = Compose([*parts_of(steps[-1]), Elementwise(features, Affine("plain"))])
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
    networks = network_options(hidden_features, context_features, activation, dropout)
    return coupling_flow(features, Affine(log_scale), num_layers, networks, mixing, mask, base, preprocessing)


def nsf(
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
    networks = network_options(hidden_features, context_features, activation, dropout)
    if autoregressive:
        return autoregressive_flow(features, univariate, num_layers, networks, mixing or "flip", base, preprocessing)
    return coupling_flow(features, univariate, num_layers, networks, mixing or "swap", mask, base, preprocessing)


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
    networks = network_options(hidden_features, context_features, activation, dropout)
    return autoregressive_flow(features, Affine(log_scale), num_layers, networks, mixing, base, preprocessing)


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
    networks = network_options(hidden_features, context_features, activation, dropout)
    return autoregressive_flow(
        features, Affine(log_scale), num_layers, networks, mixing, base, preprocessing, inverted=True
    )


def planar(
    features: int,
    *,
    num_layers: int = 16,
    kind: str = "planar",
    inverted: bool = False,
    hidden_features: Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Planar, radial or Sylvester maps (arXiv:1505.05770, arXiv:1803.05649), scored and sampled exactly.

    Other arguments are those of `realnvp`; the network sees the context alone.

    Args:
        kind: "planar", "radial" or "sylvester" (of full rank, at most 32).
        inverted: Whether the closed form goes from latent to data, as in variational inference, where samples are drawn
            and scored at every step. By default it goes from data to latent, as maximum likelihood needs it.

    Raises:
        ValueError: If a size or a name is not valid, or Sylvester maps are given context, which they do not take.
    """
    networks = network_options(hidden_features, context_features, activation, dropout)
    return residual_flow(features, kind, num_layers, networks, base, preprocessing, inverted=inverted)


def cnf(
    features: int,
    *,
    hidden_features: Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "tanh",
    velocity: str = "mlp",
    method: str = "dopri5",
    num_steps: int | None = None,
    train_steps: int | None = None,
    tolerance: float = 1e-5,
    max_steps: int = 1000,
    trace: str = "exact",
    num_probes: int = 1,
    adjoint: bool = False,
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Continuous normalizing flow: one ordinary differential equation (arXiv:1806.07366, arXiv:1810.01367).

    Solver options are those of `pf.transforms.Continuous`, the others those of `realnvp`.

    Args:
        velocity: "mlp" (time beside x), "film" (time scales every hidden layer), or "hypernetwork" (a mean of planar
            velocities whose weights change with time: the last of `hidden_features` is their number, the first the
            width of the network of time).

    Raises:
        ValueError: If a size or a name is not valid.
    """
    if velocity not in ("mlp", "film", "hypernetwork"):
        raise ValueError(f"velocity must be mlp, film or hypernetwork; got {velocity!r}.")
    hidden_features = tuple(hidden_features)
    network: TimeMLP | HyperNetwork
    if velocity == "hypernetwork" and hidden_features:
        network = HyperNetwork(
            features, width=hidden_features[-1], hidden=hidden_features[0], context_features=context_features
        )
    else:
        network = TimeMLP(
            features,
            hidden_features=hidden_features,
            context_features=context_features,
            activation=activation,
            time="film" if velocity == "film" else "concatenated",
        )
    transform = Continuous(
        network,
        method=method,
        num_steps=num_steps,
        train_steps=train_steps,
        tolerance=tolerance,
        max_steps=max_steps,
        trace=trace,
        num_probes=num_probes,
        adjoint=adjoint,
    )
    return Flow(transform, StandardNormal(features) if base is None else base, preprocessing)


RECIPES: dict[str, Callable[..., Flow]] = {
    "nice": nice,
    "realnvp": realnvp,
    "maf": maf,
    "iaf": iaf,
    "nsf": nsf,
    "planar": planar,
    "cnf": cnf,
}
