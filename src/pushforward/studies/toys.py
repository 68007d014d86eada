"""What the studies of toy densities share: our better flow, its quality against the exact truth, and their tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pushforward import metrics, recipes
from pushforward.data import Density
from pushforward.flows import Flow
from pushforward.report import plots
from pushforward.studies.record import Record, spread
from pushforward.transforms import Standardize

TEST_SEED = 1_000_003  # test points never share a seed with training points
TEST_POINTS = 100_000
COMPARED_POINTS = 2_000  # of each side in an MMD: the permutations cost their square


@dataclass(frozen=True)
class Quality:
    """How far a model's density and samples are from the truth.

    Attributes:
        nll: Test NLL on fresh points, nats.
        excess: Mean of log p_true - log p_model on fresh points, nats.
        standard_error: Of the excess.
        mmd: Unbiased squared MMD of samples and fresh points.
        mmd_limit: 95 % quantile of the permutation null.
        mmd_of_truth: The same statistic of two samples of the truth.
    """

    nll: float
    excess: float
    standard_error: float
    mmd: float
    mmd_limit: float
    mmd_of_truth: float

    @property
    def inside(self) -> bool:
        """Whether the MMD lies inside the 95 % band of its null."""
        return self.mmd <= self.mmd_limit


def spline_flow(*, bins: int = 8, num_layers: int = 6, context_features: int = 0) -> Flow:
    """Return our recipe for points in the plane: spline couplings with learned mixing, data standardized inside."""
    flow = recipes.nsf(
        2, bins=bins, num_layers=num_layers, hidden_features=(64, 64), mixing="lu", context_features=context_features
    )
    return Flow(flow.transform, flow.base, [Standardize(2)])


def fit_spline(record: Record, label: str, x: Tensor, *, seed: int, num_steps: int, bins: int = 8) -> Flow:
    """Train `spline_flow` on points without context."""
    torch.manual_seed(seed)
    flow = spline_flow(bins=bins)
    record.fit(
        label, flow, x, num_steps=30 if record.quick else num_steps, batch_size=1024, seed=seed,
        compile=not record.quick,
    )  # fmt: skip
    return flow


def quality(flow: Flow, density: Density, seed: int, *, quick: bool = False) -> Quality:
    """Measure a flow without context on fresh points of a known density; on few of them in the quick form."""
    num_points = 2_000 if quick else TEST_POINTS
    excess = metrics.excess(flow, density, num_points, TEST_SEED + seed)
    fresh = density.sample(num_points, TEST_SEED + seed)
    nll = metrics.nll(flow, fresh).mean
    samples = flow.sample(COMPARED_POINTS, generator=torch.Generator().manual_seed(seed))
    observed, limit, of_truth = compare_samples(samples, density, seed)
    return Quality(nll, excess.mean, excess.standard_error, observed, limit, of_truth)


def compare_samples(samples: Tensor, density: Density, seed: int = 0) -> tuple[float, float, float]:
    """Return MMD^2 of samples and fresh points, the 95 % limit of its null, and MMD^2 of two fresh samples.

    All three use one kernel width, the median distance of two samples of the truth.
    """
    fresh, other = (density.sample(COMPARED_POINTS, TEST_SEED + seed + offset).float() for offset in (10_000, 20_000))
    width = metrics.median_bandwidth(fresh, other)
    test = metrics.mmd_null(fresh, samples[:COMPARED_POINTS], bandwidth=width, seed=seed)
    return test.observed, test.null.quantile(0.95).item(), metrics.mmd(fresh, other, bandwidth=width)


def record_qualities(record: Record, key: str, qualities: Sequence[Quality]) -> list[Any]:
    """Keep the qualities of one model over seeds in results.json; return its cells for `QUALITY_HEADER`."""
    record.number(
        key,
        {name: [getattr(one, name) for one in qualities] for name in Quality.__annotations__},
    )
    num_inside = sum(one.inside for one in qualities)
    return [
        spread([one.nll for one in qualities]),
        spread([one.excess for one in qualities]),
        max(one.standard_error for one in qualities),
        spread([one.mmd for one in qualities]),
        spread([one.mmd_limit for one in qualities]),
        f"{num_inside} of {len(qualities)}",
    ]


QUALITY_HEADER = ("test NLL", "excess", "its standard error", "MMD²", "95 % limit of its null", "inside")
QUALITY_NOTE = (
    "Nats, mean over seeds (lowest to highest); excess is over the exact density on fresh points; MMD² is unbiased, "
    f"{COMPARED_POINTS:,} samples against as many fresh points."
)


def latent_normality(record: Record, key: str, flow: Flow, x: Tensor, context: Tensor | None = None) -> str:
    """Add moments, test and Q-Q picture of the codes of test points; return a sentence that says what they show."""
    with torch.no_grad():
        codes = flow.encode(x, context)
    latent = metrics.latent_normality(codes, seed=record.seed)
    record.number(
        f"latent.{key}",
        {
            "mean": latent.mean,
            "std": latent.std,
            "skewness": latent.skewness,
            "excess_kurtosis": latent.kurtosis,
            "max_correlation": latent.max_correlation,
            "kolmogorov_p_value": latent.kolmogorov_p_value,
            "mmd": latent.mmd,
            "mmd_p_value": latent.mmd_p_value,
        },
    )
    rows = [
        [
            f"z{index + 1}",
            *(value[index].item() for value in (latent.mean, latent.std, latent.skewness, latent.kurtosis)),
        ]
        for index in range(min(codes.shape[1], 8))
    ]
    record.table(
        f"Codes of {len(x):,} test points ({key}); a normal has 0, 1, 0, 0.",
        ["code", "mean", "standard deviation", "skewness", "excess kurtosis"],
        rows,
    )
    record.picture(
        f"latent-{key.replace(' ', '-')}",
        plots.latent_quantiles(latent),
        f"Quantiles of the codes against the normal's ({key}).",
    )
    smallest = min(latent.kolmogorov_p_value, latent.mmd_p_value)
    verdict = "nothing speaks against it" if smallest > 0.05 else "it is not exactly normal"
    return (
        f"{key}: {verdict} (Kolmogorov p = {latent.kolmogorov_p_value:.2f}, MMD p = {latent.mmd_p_value:.2f} on "
        f"{latent.num_rows_tested} codes, against simulated normal samples; largest |mean| "
        f"{latent.mean.abs().max().item():.3f}, standard deviations {latent.std.min().item():.3f} to "
        f"{latent.std.max().item():.3f})"
    )
