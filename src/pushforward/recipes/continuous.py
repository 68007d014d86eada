"""Recipe of continuous flows: one ordinary differential equation between data and latent."""

from collections.abc import Sequence

from pushforward.bases import Base
from pushforward.errors import require_choice, require_widths
from pushforward.flows import Flow
from pushforward.nets import ACTIVATIONS, HyperNetwork, TimeMLP
from pushforward.recipes.assembly import Ends
from pushforward.transforms import Continuous, Transform


def cnf(
    features: int,
    *,
    hidden_features: int | Sequence[int] = (64, 64),
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
    context_preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Continuous normalizing flow: one ordinary differential equation (arXiv:1806.07366, arXiv:1810.01367).

    Args:
        features: Number of features D.
        hidden_features: Widths of the velocity's hidden layers; an integer is two layers of that width.
        context_features: Size of the context seen by the velocity; 0 for none.
        activation: "tanh", "silu", "gelu" or "relu".
        velocity: "mlp" (time beside x), "film" (time scales every hidden layer), or "hypernetwork" (a mean of planar
            velocities whose weights change with time: the last of `hidden_features` is their number, the first the
            width of the network of time).
        method: "dopri5", "tsit5", "rk4", "midpoint" or "euler".
        num_steps: Number of equal steps; None for adaptive ones. See `pf.transforms.Continuous` for what equal steps
            promise.
        train_steps: Number of equal steps in train() mode; None for as many as otherwise.
        tolerance: Largest error of an adaptive step, relative to max(1, |x|).
        max_steps: Most adaptive steps.
        trace: "exact" or "hutchinson".
        num_probes: Probes of the Hutchinson estimate.
        adjoint: Gradients by the adjoint equation, whose memory does not grow with the steps.
        base: Density of the latent; `StandardNormal(features)` by default.
        preprocessing: Transforms next to the data, such as `[Standardize(features)]`.
        context_preprocessing: Transforms of the context, such as `[Standardize(context_features)]`.

    Raises:
        ValueError: If a size or a name is not valid.

    Example:
        >>> cnf(2, method="rk4", num_steps=8).sample(3).shape
        torch.Size([3, 2])
    """
    require_choice("velocity", velocity, ("mlp", "film", "hypernetwork"))
    hidden_features = require_widths("hidden_features", hidden_features)
    network: TimeMLP | HyperNetwork
    if velocity == "hypernetwork":
        require_choice("activation", activation, ACTIVATIONS)  # that of the other velocities
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
    return Ends(base, preprocessing, context_preprocessing).around(transform, network.features)
