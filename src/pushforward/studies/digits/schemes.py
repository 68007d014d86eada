"""Flows with a bottleneck: the two ways of sampling them, rebuilding from few codes, and what each is measured by."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pushforward import losses
from pushforward.data.digits import LEVELS
from pushforward.flows import Flow
from pushforward.metrics import Score
from pushforward.studies.digits import models as digit_models
from pushforward.studies.digits.models import NUM_LABELS, PIXELS, Recipe, Task, to_levels
from pushforward.studies.digits.quality import Judge, Quality
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import spread

KEPT = (2, 4, 8)
HELD = 100  # test images whose first codes are held
DRAWS = 20  # samples of the rest for each


def train(record: Record, label: str, recipe: Recipe, data: Task, seed: int, k: int, *, conditional: bool) -> Flow:
    """Return the recipe's flow trained with a bottleneck of k codes."""
    loss = partial(losses.bottleneck, k=k, weight=data.weight)
    name = f"{label}, k = {k}, seed {seed}"
    return digit_models.train(record, name, recipe, data, seed, conditional=conditional, loss=loss)


def only_first(z: Tensor, k: int) -> Tensor:
    """Return codes (..., D) with all but the first k set to zero."""
    return torch.cat([z[..., :k], torch.zeros_like(z[..., k:])], -1)


@torch.no_grad()
def rebuilt(flow: Flow, x: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return images (n, 64), middles of levels, decoded from their first k codes."""
    context = digit_models.context_of(flow, labels)
    return flow.decode(only_first(flow.encode(x, context), k), context)


def pixel_error(x: Tensor, other: Tensor) -> float:
    """Return the mean squared difference of a pixel, in squared levels."""
    return (x - other).square().mean().item()


@torch.no_grad()
def first_scheme(flow: Flow, labels: Tensor, k: int, seed: int, levels: int = LEVELS) -> Tensor:
    """Draw one image a label (given to the flow if it takes it) from the first k codes, the rest zero, (n, 64)."""
    z = torch.randn(len(labels), PIXELS, generator=torch.Generator().manual_seed(seed))
    return to_levels(flow.decode(only_first(z, k), digit_models.context_of(flow, labels)), levels)


@torch.no_grad()
def second_scheme(
    flow: Flow, x: Tensor, labels: Tensor, k: int, num_samples: int, seed: int, levels: int = LEVELS
) -> tuple[Tensor, Tensor]:
    """Hold the first k codes of images (n, 64) and draw the rest.

    Returns:
        (n, 64), the images of the held codes alone, and (n, num_samples, 64), with the rest drawn.
    """
    context = digit_models.context_of(flow, labels)
    held = only_first(flow.encode(x, context), k)
    noise = torch.randn(len(x), num_samples, PIXELS - k, generator=torch.Generator().manual_seed(seed))
    z = torch.cat([held[:, None, :k].expand(-1, num_samples, -1), noise], -1)
    drawn = flow.decode(z, None if context is None else context[:, None])
    return to_levels(flow.decode(held, context), levels), to_levels(drawn, levels)


@torch.no_grad()
def whole_samples(flow: Flow, labels: Tensor, seed: int, *, temperature: float = 1.0, levels: int = LEVELS) -> Tensor:
    """Draw one image a label (given to the flow if it takes it) from all codes, (n, 64)."""
    z = temperature * torch.randn(len(labels), PIXELS, generator=torch.Generator().manual_seed(seed))
    return to_levels(flow.decode(z, digit_models.context_of(flow, labels)), levels)


def asked_labels(record: Record, num_samples: int = 1_000) -> Tensor:
    """Return the labels that samples are asked for, all as often: (n,)."""
    return torch.arange(100 if record.quick else num_samples) % NUM_LABELS


@dataclass(frozen=True)
class Findings:
    """What a flow with (or without) a bottleneck of k codes does with the test images and with noise.

    Attributes:
        nll: Of the test images.
        error: Of test images rebuilt from k codes, mean square of a pixel, squared levels.
        whole: Samples of all codes.
        first: Samples of the first k codes, the rest zero.
        whole_accuracy: Share of the samples of all codes in which the forest sees the label asked for; NaN without.
        first_accuracy: The same for the first scheme.
        label_kept: Second scheme: share of samples in which the forest sees the label of the held codes alone.
        variance_kept: Second scheme: pixel variance around the samples' own mean, mean over pixels, squared levels.
        variance: Pixel variance of samples of all codes (given the label where the flow takes it).
    """

    nll: Score
    error: float
    whole: Quality
    first: Quality
    whole_accuracy: float
    first_accuracy: float
    label_kept: float
    variance_kept: float
    variance: float


def measure(record: Record, flow: Flow, k: int, data: Task, judge: Judge, seed: int) -> Findings:
    """Measure both schemes and the rebuilding of test images."""
    x, labels = digit_models.middles(data.test.x), data.test.labels
    asked = asked_labels(record)
    whole = whole_samples(flow, asked, seed, levels=data.levels)
    first = first_scheme(flow, asked, k, seed, data.levels)
    alone, drawn = second_scheme(flow, x[:HELD], labels[:HELD], k, DRAWS, seed, data.levels)
    seen = judge.judge(drawn.reshape(-1, PIXELS)).predicted.reshape(drawn.shape[:2])
    accuracy: Callable[[Tensor], float]
    accuracy = (lambda images: judge.judge(images).accuracy(asked)) if flow.context_features else lambda _: float("nan")
    groups = [whole[asked == label] for label in range(NUM_LABELS)] if flow.context_features else [whole]
    return Findings(
        nll=digit_models.held_out_nll(flow, data.test, data.levels),
        error=pixel_error(x, rebuilt(flow, x, labels, k)),
        whole=judge.quality(whole),
        first=judge.quality(first),
        whole_accuracy=accuracy(whole),
        first_accuracy=accuracy(first),
        label_kept=(seen == judge.judge(alone).predicted[:, None]).double().mean().item(),
        variance_kept=drawn.double().var(1).mean().item(),
        variance=sum(group.double().var(0).mean().item() for group in groups) / len(groups),
    )


SECOND_SCHEME_NOTE = (
    f"The first k codes of {HELD} test images held, the rest drawn {DRAWS} times, mean (lowest to highest) over the "
    "seeds. Label kept: share of the samples in which the forest sees what it sees in the image of the held codes "
    "alone. Pixel variance: around the mean of the samples with the same held codes, in squared levels; of all: among "
    "samples of all codes."
)
SECOND_SCHEME_HEADER = ["label kept", "pixel variance", "of all"]


def second_scheme_cells(found: list[Findings]) -> list[str]:
    """Return the cells of `SECOND_SCHEME_HEADER`, each over the seeds."""
    return [
        spread([one.label_kept for one in found]),
        spread([one.variance_kept for one in found]),
        spread([one.variance for one in found]),
    ]
