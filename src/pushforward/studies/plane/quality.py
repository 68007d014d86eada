"""How a flow of points in the plane compares with the exact truth, and the spline flow that ours are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pushforward import metrics, recipes
from pushforward.data import Density, ToyData
from pushforward.flows import Flow
from pushforward.report import plots
from pushforward.studies.kit.comparison import Candidate, Comparison
from pushforward.studies.kit.record import Record, file_name
from pushforward.studies.kit.tables import Columns, largest
from pushforward.transforms import Standardize

TEST_SEED = 1_000_003  # test points never share a seed with training points
COMPARED_POINTS = 2_000  # of each side in an MMD: the permutations cost their square


def spline_flow(*, bins: int = 8, num_layers: int = 6, context_features: int = 0) -> Flow:
    """Return our recipe for points in the plane: spline couplings with learned mixing, data standardized inside."""
    flow = recipes.nsf(
        2, bins=bins, num_layers=num_layers, hidden_features=(64, 64), mixing="lu", context_features=context_features
    )
    return Flow(flow.transform, flow.base, [Standardize(2)])


def our_splines(num_steps: int, *, bins: int = 8) -> Candidate:
    """Return `spline_flow` as it is trained on points without context."""
    options = {"num_steps": num_steps, "batch_size": 1024, "compile": True}
    return Candidate("6 splines (ours)", partial(spline_flow, bins=bins), options)


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


def quality(flow: Flow, density: Density, seed: int, num_points: int = 100_000) -> Quality:
    """Measure a flow without context on fresh points of a known density."""
    excess = metrics.excess(flow, density, num_points, TEST_SEED + seed)
    fresh = density.sample(num_points, TEST_SEED + seed)
    nll = metrics.nll(flow, fresh).mean
    samples = flow.sample(COMPARED_POINTS, generator=torch.Generator().manual_seed(seed))
    return Quality(nll, excess.mean, excess.standard_error, *compare_samples(samples, density, seed))


def compare_samples(samples: Tensor, density: Density, seed: int = 0) -> tuple[float, float, float]:
    """Return MMD^2 of samples and fresh points, the 95 % limit of its null, and MMD^2 of two fresh samples.

    All three use one kernel width, the median distance of two samples of the truth.
    """
    fresh, other = (density.sample(COMPARED_POINTS, TEST_SEED + seed + offset).float() for offset in (10_000, 20_000))
    width = metrics.median_bandwidth(fresh, other)
    test = metrics.mmd_null(fresh, samples[:COMPARED_POINTS], bandwidth=width, seed=seed)
    return test.observed, test.null.quantile(0.95).item(), metrics.mmd(fresh, other, bandwidth=width)


def inside(scores: Sequence[Any]) -> str:
    """Return how many of the scores have an MMD within the 95 % limit of its null, in words."""
    return f"{sum(one.mmd <= one.mmd_limit for one in scores)} of {len(scores)}"


QUALITY_COLUMNS: Columns = (
    ("test NLL", "nll"),
    ("excess", "excess"),
    ("its standard error", largest("standard_error")),
    ("MMD²", "mmd"),
    ("95 % limit of its null", "mmd_limit"),
    ("inside", inside),
)
QUALITY_NOTE = (
    "Nats, mean over seeds (lowest to highest); excess is over the exact density on fresh points; MMD² is unbiased, "
    f"{COMPARED_POINTS:,} samples against as many fresh points."
)


def compare(
    record: Record, candidates: Mapping[str, Candidate], data: Mapping[int, ToyData], *, label: str, keep: str
) -> tuple[Comparison, dict[str, list[Quality]]]:
    """Train candidates on the points of every seed, measure them against the exact density; see `Comparison`."""
    flows = Comparison(record).train(candidates, lambda seed: data[seed].x, seeds=list(data), label=label)
    num_points = record.size(100_000, quick=2_000)
    return flows, flows.score(lambda one: quality(one.model, data[one.seed].density, one.seed, num_points), keep=keep)


def are_the_codes_normal(record: Record, question: str, flows: dict[str, Flow], x: Tensor, said: str = "") -> None:
    """Answer whether the codes of test points are standard normal, with their moments, tests and Q-Q pictures.

    Args:
        record: Keeps it.
        question: Of the source.
        flows: By their keys.
        x: Test points, (N, 2).
        said: What the answer begins with.
    """
    sentences = [code_normality(record, key, flow, x) for key, flow in flows.items()]
    record.answer(question, f"{said}{'; '.join(sentences)}.")


def code_normality(record: Record, key: str, flow: Flow, x: Tensor) -> str:
    """Add moments, tests and Q-Q picture of the codes of test points; return a sentence that says what they show."""
    with torch.no_grad():
        latent = metrics.latent_normality(flow.encode(x), seed=record.seed)
    moments = {"mean": latent.mean, "std": latent.std, "skewness": latent.skewness, "excess_kurtosis": latent.kurtosis}
    tests = {name: getattr(latent, name) for name in ("max_correlation", "kolmogorov_p_value", "mmd", "mmd_p_value")}
    record.number(f"latent.{key}", moments | tests)
    record.table(
        f"Codes of {len(x):,} test points ({key}); a normal has 0, 1, 0, 0.",
        ["code", "mean", "standard deviation", "skewness", "excess kurtosis"],
        [[f"z{index + 1}", *(value[index].item() for value in moments.values())] for index in range(x.shape[1])],
    )
    record.picture(
        f"latent-{file_name(key)}",
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
