"""Recipe of residual maps of low rank between data and latent: planar, radial, Sylvester."""

from collections.abc import Sequence

from pushforward.bases import Base
from pushforward.flows import Flow
from pushforward.recipes.assembly import Ends, network_options, residual_steps, stepped_flow
from pushforward.transforms import Transform


def planar(
    features: int,
    *,
    num_layers: int = 16,
    kind: str = "planar",
    inverted: bool = False,
    hidden_features: int | Sequence[int] = (64, 64),
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
    context_preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Planar, radial or Sylvester maps (arXiv:1505.05770, arXiv:1803.05649), scored and sampled exactly.

    Args:
        features: Number of features D.
        num_layers: Number of maps, each a learned step.
        kind: "planar", "radial" or "sylvester" (of full rank, at most 32).
        inverted: Whether the closed form goes from latent to data, as in variational inference, where samples are drawn
            and scored at every step. By default it goes from data to latent, as maximum likelihood needs it.
        hidden_features: Widths of the hidden layers of the network that sees the context, where there is one; an
            integer is two layers of that width.
        context_features: Size of the context, which moves the maps' parameters; 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.
        base: Density of the latent; `StandardNormal(features)` by default.
        preprocessing: Transforms next to the data, such as `[Standardize(features)]`.
        context_preprocessing: Transforms of the context, such as `[Standardize(context_features)]`.

    Raises:
        ValueError: If a size or a name is not valid, or Sylvester maps are given context, which they do not take.

    Example:
        >>> planar(2, num_layers=4, kind="radial").sample(3).shape
        torch.Size([3, 2])
    """
    networks = network_options(hidden_features, context_features, activation, dropout)
    steps = residual_steps(features, kind, num_layers, networks, inverted=inverted)
    return stepped_flow(steps, features, Ends(base, preprocessing, context_preprocessing))
