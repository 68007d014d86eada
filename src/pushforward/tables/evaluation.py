"""How good a flow is on rows that no one trained on: likelihood, latent normality, invertibility as it stands."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.data import Density
from pushforward.flows import Flow
from pushforward.metrics import LatentNormality, Score, excess, latent_normality, nll

ROUND_TRIP_ROWS = 10_000


@dataclass(frozen=True)
class RoundTrip:
    """|x' - x| after data -> latent -> data in the flow's own dtype, in units of the preprocessed data (about a std).

    Attributes:
        median: Over all rows and columns.
        high: The 99.9 % quantile.
        worst: The largest; inf where a value did not come back at all.
        dtype: The flow's own, "float32".
    """

    median: float
    high: float
    worst: float
    dtype: str


@dataclass(frozen=True)
class Evaluation:
    """What held-out rows say about a flow.

    Attributes:
        nll: Negative log-likelihood in nats, in the units of the data.
        latent: How normal the rows' latents are; None with fewer than 8 rows or latents that are not finite.
        round_trip: How exactly the rows come back from the latent.
    """

    nll: Score
    latent: LatentNormality | None
    round_trip: RoundTrip


def evaluate(flow: Flow, x: Tensor, context: Tensor | None = None, *, seed: int = 0) -> Evaluation:
    """Evaluate a flow on rows it was not trained on.

    Args:
        flow: The flow.
        x: (n, D), n at least 2, float64.
        context: (n, C), or None.
        seed: Seed of the test of normality.
    """
    z = encode(flow, x, context)
    latent = None
    if len(z) >= 8 and bool(z.isfinite().all()):
        latent = latent_normality(z, seed=seed)
    first = None if context is None else context[:ROUND_TRIP_ROWS]
    return Evaluation(nll(flow, x, context), latent, round_trip(flow, x[:ROUND_TRIP_ROWS], first))


def evaluate_against(flow: Flow, truth: Density, num_samples: int, *, seed: int = 0) -> tuple[float, Score]:
    """Return the exact entropy and the flow's excess over it on fresh points.

    A flow with one context feature is taken to be conditioned on the label.
    """
    if not flow.context_features:
        return truth.entropy(), excess(flow, truth, num_samples, seed)
    given = excess(flow, truth, num_samples, seed, context_of_label=lambda labels: labels[:, None].double())
    return truth.conditional_entropy(), given


@torch.no_grad()
def encode(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Return the latents of rows, (n, D), without gradients."""
    return flow.encode(x, context)


@torch.no_grad()
def round_trip(flow: Flow, x: Tensor, context: Tensor | None = None) -> RoundTrip:
    """Send rows to the latent and back and compare, x (n, D) in float64."""
    z = flow.encode(x, context)
    back = flow.decode(z, context).double()
    for part in flow.preprocessing:  # in float64, so that the flow's own rounding is what is measured
        x, back = part(x)[0], part(back)[0]
    error = (back - x).abs().nan_to_num(nan=torch.inf).flatten()
    ordered = error.sort().values
    median, high = (ordered[int(share * (len(ordered) - 1))].item() for share in (0.5, 0.999))
    return RoundTrip(median, high, ordered[-1].item(), str(z.dtype).removeprefix("torch."))
