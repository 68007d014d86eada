"""How a flow of points in the plane compares with the exact truth: likelihood, samples, codes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pushforward import Flow, metrics
from pushforward.data import Density, ToyData
from pushforward.report import plots
from pushforward.studies.kit import Candidate, Comparison, Record, drawn, file_name
from pushforward.studies.kit.tables import Columns, Score, largest

TEST_SEED = 1_000_003  # test points never share a seed with training points
COMPARED_POINTS = 2_000  # of each side in an MMD: the permutations cost their square


def quality(flow: Flow, density: Density, seed: int, num_points: int = 100_000) -> Score:
    """Measure how far a flow without context is from a known density, on fresh points and by its samples; nats."""
    excess = metrics.excess(flow, density, num_points, TEST_SEED + seed)
    mmd, limit, of_truth = mmd_to_truth(drawn(flow, COMPARED_POINTS, seed), density, seed)
    return Score(
        nll=metrics.nll(flow, density.sample(num_points, TEST_SEED + seed)).mean,
        excess=excess.mean,
        standard_error=excess.standard_error,
        mmd=mmd,
        mmd_limit=limit,
        mmd_of_truth=of_truth,
    )


def mmd_to_truth(samples: Tensor, density: Density, seed: int = 0) -> tuple[float, float, float]:
    """Return MMD^2 of samples and fresh points, the 95 % limit of its null, and MMD^2 of two fresh samples.

    All three use one kernel width, the median distance of two samples of the truth.
    """
    fresh, other = (density.sample(COMPARED_POINTS, TEST_SEED + seed + offset) for offset in (10_000, 20_000))
    width = metrics.median_bandwidth(fresh, other)
    test = metrics.mmd_null(fresh, samples[:COMPARED_POINTS], bandwidth=width, seed=seed)
    return test.observed, test.limit, metrics.mmd(fresh, other, bandwidth=width)


def inside(scores: Sequence[Any]) -> str:
    """Return how many of the scores have an MMD within the 95 % limit of its null, in words."""
    return f"{sum(one.mmd <= one.mmd_limit for one in scores)} of {len(scores)}"


COLUMNS: Columns = (
    ("test NLL", "nll"),
    ("excess", "excess"),
    ("its standard error", largest("standard_error")),
    ("MMD²", "mmd"),
    ("95 % limit of its null", "mmd_limit"),
    ("inside", inside),
)
NOTE = (
    "Nats, mean over seeds (lowest to highest); excess is over the exact density on fresh points; MMD² is unbiased, "
    f"{COMPARED_POINTS:,} samples against as many fresh points."
)


def compare(
    record: Record, candidates: Mapping[str, Candidate], data: Mapping[int, ToyData], *, label: str, keep: str
) -> Comparison:
    """Train candidates on the points of every seed, measure them against the exact density; see `Comparison`."""
    flows = Comparison(record).train(candidates, lambda seed: data[seed].x, seeds=list(data), label=label)
    num_points = record.size(100_000, quick=2_000)
    return flows.score(lambda one: quality(one.model, data[one.seed].density, one.seed, num_points), keep=keep)


def code_normality(record: Record, flows: Mapping[str, Flow], x: Tensor) -> str:
    """Add moments, tests and Q-Q picture of each flow's codes of test points; return what they show, in words."""
    said = []
    for key, flow in flows.items():
        with torch.no_grad():
            codes = metrics.latent_normality(flow.encode(x), seed=record.seed)
        moments = {"mean": codes.mean, "std": codes.std, "skewness": codes.skewness, "excess_kurtosis": codes.kurtosis}
        tests = {n: getattr(codes, n) for n in ("max_correlation", "kolmogorov_p_value", "mmd", "mmd_p_value")}
        record.number(f"latent.{key}", moments | tests)
        record.table(
            f"Codes of {len(x):,} test points ({key}); a normal has 0, 1, 0, 0.",
            ["code", "mean", "standard deviation", "skewness", "excess kurtosis"],
            [[f"z{index}", *row] for index, row in enumerate(torch.stack([*moments.values()], 1).tolist(), start=1)],
        )
        figure = plots.latent_quantiles(codes)
        record.picture(f"latent-{file_name(key)}", figure, f"Quantiles of the codes against the normal's ({key}).")
        normal = min(codes.kolmogorov_p_value, codes.mmd_p_value) > 0.05
        said.append(
            f"{key}: {'nothing speaks against it' if normal else 'it is not exactly normal'} (Kolmogorov p = "
            f"{codes.kolmogorov_p_value:.2f}, MMD p = {codes.mmd_p_value:.2f} on {codes.num_rows_tested} codes, "
            f"against simulated normal samples; largest |mean| {codes.mean.abs().max():.3f}, standard deviations "
            f"{codes.std.min():.3f} to {codes.std.max():.3f})"
        )
    return "; ".join(said)
