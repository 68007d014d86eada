"""The flows of the studies on digits, and how they and their rivals are trained."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward import losses, metrics, recipes
from pushforward.data.digits import LEVELS, Digits, LabelledImages, digits
from pushforward.flow import Flow
from pushforward.studies.record import Record
from pushforward.transforms import Logit, Scale, Standardize

NUM_LABELS = 10
PIXELS = 64
QUICK_ROWS = 120  # of each part, in the quick form


@dataclass(frozen=True)
class Recipe:
    """A flow and how it is trained.

    Attributes:
        make: From the number of context features to an untrained flow.
        steps: Training steps.
        options: Further options of `fit`.
    """

    make: Callable[[int], Flow]
    steps: int
    options: dict[str, Any] = field(default_factory=dict)


def source_flow(context_features: int = 0, *, num_blocks: int = 8, width: int = 128) -> Flow:
    """Return the source's RealNVP: log-scale tanh, random rotations between the blocks; pixels in [0, 1]."""
    return recipes.realnvp(
        PIXELS,
        num_layers=num_blocks,
        hidden_features=(width, width),
        context_features=context_features,
        log_scale="tanh",
        mixing="orthogonal",
        preprocessing=[Scale(1 / (LEVELS - 1))],
    )


def our_flow(context_features: int = 0) -> Flow:
    """Return spline couplings with dropout behind a logit, which gives a pixel's ends, 0 and 16, room."""
    return recipes.nsf(PIXELS, num_layers=6, context_features=context_features, **_regularised())


def affine_flow(context_features: int = 0) -> Flow:
    """Return affine couplings made in the same way: half the time a step, for the many trainings with a bottleneck."""
    return recipes.realnvp(PIXELS, num_layers=8, context_features=context_features, **_regularised())


def _regularised() -> dict[str, Any]:
    return {
        "hidden_features": (128, 128),
        "dropout": 0.2,
        "mask": "random",  # each with its complement after it, so that no pixel is left as it is
        "preprocessing": [Scale(1 / LEVELS), Logit(0.02), Standardize(PIXELS)],
    }


# The source trains with Adam at 1e-3 and starts with 10 epochs; an epoch is 10 batches of 100.
ADAM = {"learning_rate": 1e-3, "schedule": "constant", "batch_size": 100, "clip_norm": None}
FIRST_RUN = Recipe(lambda context_features: source_flow(context_features, num_blocks=2), 100, ADAM)
SOURCE_RECIPE = Recipe(source_flow, 1_000, ADAM)
OUR_RECIPE = Recipe(our_flow, 1_500, {"learning_rate": 2e-3, "optimizer": "adamw", "batch_size": 64})
AFFINE_RECIPE = Recipe(affine_flow, 800, {"learning_rate": 2e-3, "optimizer": "adamw", "batch_size": 128})


def one_hot(labels: Tensor) -> Tensor:
    """Return labels (n,) as context (n, 10)."""
    return functional.one_hot(labels, NUM_LABELS).float()


def to_levels(x: Tensor) -> Tensor:
    """Return the images that continuous values stand for, k for [k, k + 1), int64 from 0 to 16."""
    return x.floor().clamp(0, LEVELS - 1).long()


def middles(x: Tensor) -> Tensor:
    """Return the middle of each level, k + 1/2: an image without noise as a flow for dequantized images sees it."""
    return x.float() + 0.5


def load(record: Record) -> Digits:
    """Return the digits, split by the study's seed; a few of each part in the quick form."""
    data = digits(seed=record.seed)
    if record.quick:
        data = Digits(*(LabelledImages(part.x[:QUICK_ROWS], part.labels[:QUICK_ROWS]) for part in data))
    return data


def train(
    record: Record,
    label: str,
    recipe: Recipe,
    data: Digits,
    seed: int,
    *,
    conditional: bool = False,
    loss: Callable[..., Tensor] = losses.nll,
) -> Flow:
    """Return the recipe's flow trained on the training images; the validation images choose the step."""
    torch.manual_seed(seed)
    flow = recipe.make(NUM_LABELS if conditional else 0)
    fit(record, label, flow, data, recipe.steps, loss=loss, seed=seed, **recipe.options)
    return flow


def fit(record: Record, label: str, model: nn.Module, data: Digits, steps: int, **options: Any) -> None:
    """Train any model on the dequantized training images, with their labels where it takes a context."""
    takes_labels = bool(getattr(model, "context_features", 0))
    rows = [(part.x, one_hot(part.labels) if takes_labels else None) for part in (data.train, data.validation)]
    steps = min(steps, 12) if record.quick else steps
    record.fit(label, model, *rows[0], validation=rows[1], dequantize=LEVELS, num_steps=steps, **options)


def context_of(model: Any, labels: Tensor) -> Tensor | None:
    """Return the context of images with these labels, None where the model takes none."""
    return one_hot(labels) if getattr(model, "context_features", 0) else None


def held_out_nll(model: Any, part: LabelledImages) -> metrics.Score:
    """Return the NLL of dequantized images in nats, given their labels where the model takes them."""
    return metrics.nll(model, part.x, context_of(model, part.labels), dequantize=LEVELS)


def bits(nats: float) -> float:
    """Return nats of an image as bits a pixel."""
    return metrics.bits_per_dim(nats, PIXELS)


def less_or_more(difference: float) -> str:
    """Return "1.5 nats an image less", or more where the difference is negative."""
    return f"{abs(difference):.1f} nats an image {'less' if difference >= 0 else 'more'}"
