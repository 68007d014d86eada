"""The conditional and plain models of the study `conditional`: how they are trained, and how each label is judged."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pushforward import metrics, recipes
from pushforward.data import Density, ToyData, hexagon, two_moons
from pushforward.flows import Flow
from pushforward.studies.kit.levels import one_hot
from pushforward.studies.kit.record import Record
from pushforward.studies.plane.quality import TEST_SEED, spline_flow
from pushforward.verification import verify

TASKS: dict[str, Callable[..., ToyData]] = {
    "moons": partial(two_moons, noise=0.1),
    "hexagon, 6 labels": partial(hexagon, num_labels=6),
    "hexagon, 2 labels": partial(hexagon, num_labels=2),
}


@dataclass(frozen=True)
class Size:
    """How much is trained on and measured with.

    Attributes:
        train_points: Training points, a tenth of which validate.
        share: Of the steps a full run takes.
        test_points: Fresh points behind an excess.
        compared: Points on each side of an MMD.
        num_permutations: Of its null.
        num_simulations: Of the null of the codes' normality.
        grid: Steps along each axis of a density's picture.
        conditions: Conditions sampled in one call when it is timed.
        looped: Conditions of the loop it is timed against.
    """

    train_points: int = 100_000
    share: float = 1.0
    test_points: int = 100_000
    compared: int = 2_000
    num_permutations: int = 200
    num_simulations: int = 99
    grid: int = 150
    conditions: int = 10_000
    looped: int = 300


QUICK = Size(2_000, 0.01, 2_000, 200, 20, 9, 50, 200, 20)


@dataclass(frozen=True)
class Recipe:
    """A model and how it is trained; with `num_labels` 0 the plain model of equal layers and widths."""

    make: Callable[[int], Flow]
    steps: int
    options: dict[str, Any]


def source_flow(context_features: int, *, num_blocks: int = 8, width: int = 64) -> Flow:
    """Return the source's RealNVP: scale exp(tanh s), fixed random rotations between the blocks."""
    return recipes.realnvp(
        2,
        num_layers=num_blocks,
        hidden_features=(width, width),
        log_scale="tanh",
        mixing="orthogonal",
        context_features=context_features,
    )


RECIPES: dict[str, Recipe] = {
    "RealNVP": Recipe(source_flow, 3_000, {"learning_rate": 1e-3, "schedule": "constant", "batch_size": 256}),
    "splines": Recipe(
        lambda context_features: spline_flow(bins=16, num_layers=4, context_features=context_features),
        1_500,
        {"learning_rate": 5e-3, "batch_size": 256},
    ),
}


def file_name(task: str) -> str:
    """Return a task's name in keys and files."""
    return task.replace(", ", "-").replace(" ", "-")


def train(record: Record, recipe: str, data: ToyData, size: Size, seed: int, *, conditional: bool, task: str) -> Flow:
    """Train a recipe on labelled data, or on the points alone."""
    chosen, num_labels = RECIPES[recipe], data.density.num_labels if conditional else 0
    torch.manual_seed(seed)
    flow = chosen.make(num_labels)
    assert data.labels is not None
    context = one_hot(data.labels, num_labels) if conditional else None
    steps = max(int(chosen.steps * size.share), 15)
    kind = "conditional" if conditional else "plain"
    record.fit(
        f"{task}, {kind} {recipe}, seed {seed}", flow, data.x, context, num_steps=steps, seed=seed, **chosen.options
    )
    return flow


@dataclass(frozen=True)
class Merged:
    """The marginal of a conditional flow, p(x) = sum_y p(y) p(x|y), with the true proportions of the labels."""

    flow: Flow
    density: Density

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x), (n,), of rows (n, 2); there is no context left to give."""
        assert context is None
        every = torch.eye(self.density.num_labels)
        by_label = self.flow.log_prob(x[:, None].expand(-1, len(every), -1), every.expand(len(x), -1, -1))
        return torch.logsumexp(by_label + torch.tensor(self.density.label_proportions).log(), -1)

    def sample(self, num_samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Draw labels in their true proportions and a point for each: (n, 2) and (n,)."""
        generator = torch.Generator().manual_seed(seed)
        proportions = torch.tensor(self.density.label_proportions)
        labels = torch.multinomial(proportions, num_samples, replacement=True, generator=generator)
        x = self.flow.sample(1, one_hot(labels, self.density.num_labels), generator=generator)
        return x.squeeze(1), labels


@dataclass(frozen=True)
class LabelQuality:
    """Samples and codes of one label.

    Attributes:
        mmd: Unbiased squared MMD of generated and fresh points of the label.
        mmd_limit: 95 % quantile of its permutation null.
        mmd_p_value: From the same null.
        mean: Largest |mean| of a code dimension of fresh points.
        std: Standard deviation of a code dimension that is farthest from 1.
        normal_p_value: The smaller of the two p-values of the codes' normality tests, doubled.
    """

    mmd: float
    mmd_limit: float
    mmd_p_value: float
    mean: float
    std: float
    normal_p_value: float


@dataclass(frozen=True)
class ConditionalQuality:
    """A conditional model on fresh points: nats over all labels, samples and codes a label, the merged marginal.

    Attributes:
        nll: Mean of -log p(x|y).
        excess: Mean of log p_true(x|y) - log p(x|y), with `standard_error`.
        labels: One quality a label.
        marginal_excess: Of the merged density, with `marginal_error`.
        mmd: Of merged samples and fresh points of all labels, with the 95 % limit of its null.
        round_trip_error: Largest |inverse(forward(x)) - x|.
        verified: Whether `verify` found nothing wrong.
    """

    nll: float
    excess: float
    standard_error: float
    labels: list[LabelQuality]
    marginal_excess: float
    marginal_error: float
    mmd: float
    mmd_limit: float
    round_trip_error: float
    verified: bool


def judge(flow: Flow, density: Density, size: Size, seed: int) -> ConditionalQuality:
    """Measure a conditional flow on fresh points of a known density."""
    num_labels = density.num_labels
    excess = metrics.excess(
        flow,
        density,
        size.test_points,
        TEST_SEED + seed,
        context_of_label=lambda labels: one_hot(labels, num_labels),
    )
    x, labels = density.sample_with_labels(size.test_points, TEST_SEED + seed)
    context = one_hot(labels, num_labels)
    merged = Merged(flow, density)
    marginal = metrics.excess(merged, density, size.test_points, TEST_SEED + seed)
    observed, limit = compare(merged.sample(size.compared, seed)[0], density, size, seed)
    checked = verify(flow, x[:50], context[:50])
    return ConditionalQuality(
        nll=metrics.nll(flow, x, context).mean,
        excess=excess.mean,
        standard_error=excess.standard_error,
        labels=[_judge_label(flow, density, size, seed, label) for label in range(num_labels)],
        marginal_excess=marginal.mean,
        marginal_error=marginal.standard_error,
        mmd=observed,
        mmd_limit=limit,
        round_trip_error=checked.round_trip_error,
        verified=checked.ok,
    )


def compare(samples: Tensor, density: Density, size: Size, seed: int) -> tuple[float, float]:
    """Return MMD^2 of samples and fresh points of all labels, and the 95 % limit of its permutation null."""
    test = _against_fresh(samples, density, size, seed, None)
    return test.observed, test.null.quantile(0.95).item()


def _against_fresh(samples: Tensor, density: Density, size: Size, seed: int, label: int | None) -> metrics.NullTest:
    # The kernel's width is the truth's own, so that every model is seen through the same kernel.
    width = metrics.median_bandwidth(*(density.sample(500, TEST_SEED + offset, label=label) for offset in (1, 2)))
    fresh = density.sample(size.compared, TEST_SEED + 10_000 + seed, label=label)
    return metrics.mmd_null(fresh, samples, bandwidth=width, num_permutations=size.num_permutations, seed=seed)


def _judge_label(flow: Flow, density: Density, size: Size, seed: int, label: int) -> LabelQuality:
    context = one_hot(torch.tensor(label), density.num_labels)
    samples = flow.sample(size.compared, context, generator=torch.Generator().manual_seed(seed))
    test = _against_fresh(samples, density, size, seed, label)
    with torch.no_grad():
        codes = flow.encode(density.sample(5_000, TEST_SEED + 20_000 + seed, label=label), context)
    latent = metrics.latent_normality(codes, num_simulations=size.num_simulations, seed=seed)
    return LabelQuality(
        mmd=test.observed,
        mmd_limit=test.null.quantile(0.95).item(),
        mmd_p_value=test.p_value,
        mean=latent.mean.abs().max().item(),
        std=latent.std[(latent.std - 1).abs().argmax()].item(),
        normal_p_value=min(2 * min(latent.kolmogorov_p_value, latent.mmd_p_value), 1.0),
    )


class Plain(NamedTuple):
    """A plain model on fresh points: excess of p(x), MMD^2 of its samples and the 95 % limit of the null."""

    excess: float
    mmd: float
    mmd_limit: float


class Found(NamedTuple):
    """One recipe on one task: a quality a seed, conditional and plain, and the models of the first seed."""

    conditional: list[ConditionalQuality]
    plain: list[Plain]
    flow: Flow
    plain_flow: Flow
