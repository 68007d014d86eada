"""How good a flow is on rows that no one trained on: likelihood, latent normality, invertibility as it stands."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.data import Density
from pushforward.display import table
from pushforward.flows import Flow
from pushforward.metrics import LatentNormality, Score, excess, latent_normality, nll
from pushforward.numerics.threads import threads
from pushforward.report.wording import number
from pushforward.tables.splitting import Part

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


class ShowsFigures:
    """Shows what was measured of rows, printed or as a table in a notebook: of a class with `nll` and `figures`."""

    nll: Score

    def figures(self) -> list[tuple[str, str, str]]:
        """Return what was measured, its value and its standard error where there is one, as text."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return table(f"{self.nll.num_rows:,} rows", self.figures(), ("", "value", "±"))

    def __repr__(self) -> str:
        lines = [f"{self.nll.num_rows:,} rows"]
        lines += [f"  {what:<42}{value}{f' ± {error}' if error else ''}" for what, value, error in self.figures()]
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class Evaluation(ShowsFigures):
    """What rows that no one trained on say about a flow; `print` it.

    Attributes:
        nll: Negative log-likelihood in nats, in the units of the data.
        latent: How normal the rows' latents are; None with fewer than 8 rows or latents that are not finite.
        round_trip: How exactly the rows come back from the latent.
        log_scale: Sum of the log standard deviations of the training columns: NLL - log_scale is in z-scored units;
            None where a model file does not say.
        entropy: Of the true density in nats, where it is known.
        excess: Mean of log p_true - log p_flow on fresh points, where the truth is known.
    """

    nll: Score
    latent: LatentNormality | None
    round_trip: RoundTrip
    log_scale: float | None = None
    entropy: float | None = None
    excess: Score | None = None

    def figures(self) -> list[tuple[str, str, str]]:
        """Return what was measured, its value and its standard error where there is one, as text."""
        nll, trip = self.nll, self.round_trip
        rows = [
            ("NLL, nats", number(nll.mean), number(nll.standard_error)),
            ("NLL without 1 % at each end", number(nll.trimmed_mean), number(nll.trimmed_standard_error)),
            ("NLL, median", number(nll.median), ""),
        ]
        if self.log_scale is not None:
            rows.append(("NLL, z-scored columns", number(nll.mean - self.log_scale), number(nll.standard_error)))
        if self.entropy is not None:
            rows.append(("exact entropy, nats", number(self.entropy, 4), ""))
        if self.excess is not None:
            rows.append(("excess, nats", number(self.excess.mean, 4), number(self.excess.standard_error, 4)))
        if self.latent is not None:
            rows.append(("latent normality, Kolmogorov p", number(self.latent.kolmogorov_p_value, 2), ""))
            rows.append(("latent normality, MMD p", number(self.latent.mmd_p_value, 2), ""))
        rows.append((f"round trip in {trip.dtype}, 99.9 % quantile", number(trip.high), ""))
        return rows


@torch.no_grad()
@threads(1)
def evaluate(
    flow: Flow,
    part: Part,
    *,
    log_scale: float | None = None,
    truth: Density | None = None,
    fresh_points: int = 100_000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a flow on rows it was not trained on.

    Args:
        flow: The flow.
        part: The rows, at least 2.
        log_scale: See `Evaluation`.
        truth: The true density, where it is known; a flow with one context feature is taken to be conditioned on the
            label.
        fresh_points: Number of points of the truth that the excess is measured on.
        seed: Seed of the test of normality and of the fresh points.
    """
    z = flow.encode(part.x, part.context)
    latent = latent_normality(z, seed=seed) if len(z) >= 8 and bool(z.isfinite().all()) else None
    first = None if part.context is None else part.context[:ROUND_TRIP_ROWS]
    trip = round_trip(flow, part.x[:ROUND_TRIP_ROWS], first)
    entropy, over = None, None
    if truth is not None and flow.context_features:
        entropy = truth.conditional_entropy()
        over = excess(flow, truth, fresh_points, seed, context_of_label=lambda labels: labels[:, None].double())
    elif truth is not None:
        entropy, over = truth.entropy(), excess(flow, truth, fresh_points, seed)
    return Evaluation(nll(flow, part.x, part.context), latent, trip, log_scale, entropy, over)


@torch.no_grad()
@threads(1)
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
