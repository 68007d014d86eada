"""Flows with a bottleneck: the two ways of sampling them, rebuilding from few codes, and what each is measured by."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

import torch
from torch import Tensor

from pushforward import Flow, losses
from pushforward.data.digits import LEVELS
from pushforward.studies.digits.task import NUM_LABELS, PIXELS, Task, context_of
from pushforward.studies.kit import Candidate, Comparison, Record, Trained, middles, to_levels
from pushforward.studies.kit.tables import Columns, Score, mean

KEPT = (2, 4, 8)
MOST = KEPT[-1]
HELD = 100  # test images whose first codes are held
DRAWS = 20  # samples of the rest for each


def only_first(z: Tensor, k: int) -> Tensor:
    """Return codes (..., D) with all but the first k set to zero."""
    return torch.cat([z[..., :k], torch.zeros_like(z[..., k:])], -1)


@torch.no_grad()
def rebuilt(flow: Flow, x: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return images (n, 64), middles of levels, decoded from their first k codes."""
    context = context_of(flow, labels)
    return flow.decode(only_first(flow.encode(x, context), k), context)


def pixel_error(x: Tensor, other: Tensor) -> float:
    """Return the mean squared difference of a pixel, in squared levels."""
    return (x - other).square().mean().item()


@torch.no_grad()
def first_scheme(flow: Flow, labels: Tensor, k: int, seed: int, levels: int = LEVELS) -> Tensor:
    """Draw one image a label (given to flows that take it) from the first k codes, the rest zero, (n, 64)."""
    z = torch.randn(len(labels), PIXELS, generator=torch.Generator().manual_seed(seed))
    return to_levels(flow.decode(only_first(z, k), context_of(flow, labels)), levels)


@torch.no_grad()
def second_scheme(
    flow: Flow, x: Tensor, labels: Tensor, k: int, num_samples: int, seed: int, levels: int = LEVELS
) -> tuple[Tensor, Tensor]:
    """Hold the first k codes of images (n, 64): what they give alone, and with the rest drawn, (n, num_samples, 64)."""
    context = context_of(flow, labels)
    held = only_first(flow.encode(x, context), k)
    noise = torch.randn(len(x), num_samples, PIXELS - k, generator=torch.Generator().manual_seed(seed))
    z = torch.cat([held[:, None, :k].expand(-1, num_samples, -1), noise], -1)
    drawn = flow.decode(z, None if context is None else context[:, None])
    return to_levels(flow.decode(held, context), levels), to_levels(drawn, levels)


SECOND_SCHEME_NOTE = (
    f"The first k codes of {HELD} test images held, the rest drawn {DRAWS} times, mean (lowest to highest) over the "
    "seeds. Label kept: share of the samples in which the forest sees what it sees in the image of the held codes "
    "alone. Pixel variance: around the mean of the samples with the same held codes, in squared levels; of all: among "
    "samples of all codes."
)
SECOND_SCHEME_COLUMNS: Columns = (
    ("label kept", "label_kept"),
    ("pixel variance", "variance_kept"),
    ("of all", "variance"),
)


def train_bottlenecks(
    record: Record, task: Task, candidates: Mapping[str, Candidate], *, keep: str, none: str, given_labels: bool = False
) -> dict[int, Comparison]:
    """Return candidates trained with a bottleneck of every k and with none (k = 0, measured with the largest), by k.

    What they do is kept as the numbers `keep`.k2 and so on, or `keep`.`none`.
    """
    flows = {}
    for k in (0, *KEPT):
        label = f"{{key}}, {f'k = {k}' if k else 'no bottleneck'}, seed {{seed}}"
        loss = partial(losses.bottleneck, k=k, weight=task.weight) if k else losses.nll
        flows[k] = task.fit(Comparison(record), candidates, given_labels=given_labels, label=label, loss=loss)
        judge = partial(_measured, task, k or MOST, record.size(1_000, quick=100))
        flows[k].score(judge, keep=f"{keep}.{f'k{k}' if k else none}", by_seed=True)
    return flows


def _measured(task: Task, k: int, num_samples: int, one: Trained) -> Score:
    """Return what a flow with (or without) a bottleneck of k codes does with the test images and with noise."""
    flow, seed, judge, given = one.model, one.seed, task.judge, one.model.context_features > 0
    x, labels = middles(task.test.x), task.test.labels
    asked = torch.arange(num_samples) % NUM_LABELS
    whole, first = (first_scheme(flow, asked, codes, seed, task.levels) for codes in (PIXELS, k))
    alone, drawn = second_scheme(flow, x[:HELD], labels[:HELD], k, DRAWS, seed, task.levels)
    seen = judge.judge(drawn.flatten(0, 1)).predicted.reshape(drawn.shape[:2])
    groups = [whole[asked == label] for label in range(NUM_LABELS)] if given else [whole]
    return Score(
        nll=task.nll(flow),
        error=pixel_error(x, rebuilt(flow, x, labels, k)),
        whole=judge.quality(whole),  # samples of all codes
        first=judge.quality(first),  # samples of the first k codes, the rest zero
        # Share of the samples in which the forest sees the label asked for.
        whole_accuracy=judge.judge(whole).accuracy(asked) if given else math.nan,
        first_accuracy=judge.judge(first).accuracy(asked) if given else math.nan,
        # Second scheme: share of the samples in which it sees the label of the held codes alone, and their variance
        # around their own mean, beside that of all samples (given the label where the flow takes it), squared levels.
        label_kept=(seen == judge.judge(alone).predicted[:, None]).double().mean().item(),
        variance_kept=drawn.double().var(1).mean().item(),
        variance=fmean(group.double().var(0).mean().item() for group in groups),
    )


def percent(found: Sequence[Score], name: str) -> str:
    """Return the mean of a share over the seeds."""
    return f"{100 * mean(found, name):.0f} %"


def variance_left(found: Sequence[Score]) -> str:
    """Return what is left of the variance of all samples when the first codes are held, mean over the seeds."""
    return f"{100 * fmean(one.variance_kept / one.variance for one in found):.0f} %"
