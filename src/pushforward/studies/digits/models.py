"""The flows of the studies on digits, and how they and their rivals are trained."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward import losses, metrics, recipes
from pushforward.data.digits import LEVELS, LabelledImages, digits
from pushforward.flows import Flow
from pushforward.studies.kit.record import Record
from pushforward.training import History
from pushforward.transforms import Logit, Scale, Standardize

NUM_LABELS = 10
PIXELS = 64
QUICK_ROWS = 120  # of each part, in the quick form
MANY = 5_000  # images are enough to look at the codes of


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


def source_flow(context_features: int = 0, *, num_blocks: int = 8, width: int = 128, levels: int = LEVELS) -> Flow:
    """Return the source's RealNVP: log-scale tanh, random rotations between the blocks; pixels in [0, 1]."""
    return recipes.realnvp(
        PIXELS,
        num_layers=num_blocks,
        hidden_features=(width, width),
        context_features=context_features,
        log_scale="tanh",
        mixing="orthogonal",
        preprocessing=[Scale(1 / (levels - 1))],
    )


def our_flow(context_features: int = 0, **options: Any) -> Flow:
    """Return spline couplings behind a logit, which gives a pixel's ends room; options are those of the details."""
    return recipes.nsf(PIXELS, num_layers=6, context_features=context_features, **_details(**options))


def affine_flow(context_features: int = 0, **options: Any) -> Flow:
    """Return affine couplings made in the same way: half the time a step, for the many trainings with a bottleneck."""
    return recipes.realnvp(PIXELS, num_layers=8, context_features=context_features, **_details(**options))


def _details(*, levels: int = LEVELS, alpha: float = 0.02, width: int = 128, dropout: float = 0.2) -> dict[str, Any]:
    return {
        "hidden_features": (width, width),
        "dropout": dropout,
        "mask": "random",  # each with its complement after it, so that no pixel is left as it is
        "preprocessing": [Scale(1 / levels), Logit(alpha), Standardize(PIXELS)],
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


@dataclass(frozen=True)
class Task:
    """A set of digits, and what is trained on it.

    Attributes:
        train: To learn from.
        validation: To stop training by.
        test: To report.
        recipes: Those of "source", "ours" and "affine", the last for the many trainings with a bottleneck.
        levels: Values a pixel takes, 0 to levels - 1.
        weight: Of the squared error in levels, in the loss with a bottleneck.
        autoencoder_steps: Training steps of an autoencoder.
        num_seeds: Repetitions of each training.
        details: Of our flows, for their names.
        resumable: Whether trainings keep checkpoints in the study's folder, and go on from them.
    """

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    recipes: dict[str, Recipe]
    levels: int = LEVELS
    weight: float = 0.1  # the nats of noise with a deviation of 2.2 levels
    autoencoder_steps: int = 1_200
    num_seeds: int = 3
    details: str = "logit, dropout"
    resumable: bool = False


def at_most(part: LabelledImages, num_rows: int | None) -> LabelledImages:
    """Return the first images of a part, all of them if the number is None."""
    return LabelledImages(part.x[:num_rows], part.labels[:num_rows])


def to_levels(x: Tensor, levels: int = LEVELS) -> Tensor:
    """Return the images that continuous values stand for, k for [k, k + 1), int64 from 0 to levels - 1."""
    return x.floor().clamp(0, levels - 1).long()


def middles(x: Tensor) -> Tensor:
    """Return the middle of each level, k + 1/2: an image without noise as a flow for dequantized images sees it."""
    return x.float() + 0.5


def load(record: Record) -> Task:
    """Return the digits, split by the study's seed; a few of each part in the quick form."""
    most = QUICK_ROWS if record.quick else None
    train, validation, test = (at_most(part, most) for part in digits(seed=record.seed))
    return Task(train, validation, test, {"source": SOURCE_RECIPE, "ours": OUR_RECIPE, "affine": AFFINE_RECIPE})


def train(
    record: Record,
    label: str,
    recipe: Recipe,
    data: Task,
    seed: int,
    *,
    conditional: bool = False,
    loss: Callable[..., Tensor] = losses.nll,
) -> Flow:
    """Return the recipe's flow trained on the training images; the validation images choose the step."""
    return train_with_history(record, label, recipe, data, seed, conditional=conditional, loss=loss)[0]


def train_with_history(
    record: Record,
    label: str,
    recipe: Recipe,
    data: Task,
    seed: int,
    *,
    conditional: bool = False,
    loss: Callable[..., Tensor] = losses.nll,
) -> tuple[Flow, History]:
    """Return the same with the history of the training."""
    torch.manual_seed(seed)
    flow = recipe.make(NUM_LABELS if conditional else 0)
    return flow, fit(record, label, flow, data, recipe.steps, loss=loss, seed=seed, **recipe.options)


def fit(record: Record, label: str, model: nn.Module, data: Task, steps: int, **options: Any) -> History:
    """Train any model on the dequantized training images, with their labels where it takes a context."""
    takes_labels = bool(getattr(model, "context_features", 0))
    rows = [(part.x, one_hot(part.labels) if takes_labels else None) for part in (data.train, data.validation)]
    steps = min(steps, 12) if record.quick else steps
    options |= {"validation": rows[1], "dequantize": data.levels, "num_steps": steps, "resumable": data.resumable}
    return record.fit(label, model, *rows[0], **options)


def context_of(model: Any, labels: Tensor) -> Tensor | None:
    """Return the context of images with these labels, None where the model takes none."""
    return one_hot(labels) if getattr(model, "context_features", 0) else None


def held_out_nll(model: Any, part: LabelledImages, levels: int = LEVELS) -> metrics.Score:
    """Return the NLL of dequantized images in nats, given their labels where the model takes them."""
    return metrics.nll(model, part.x, context_of(model, part.labels), dequantize=levels)


def bits(nats: float) -> float:
    """Return nats of an image as bits a pixel."""
    return metrics.bits_per_dim(nats, PIXELS)


def less_or_more(difference: float) -> str:
    """Return "1.5 nats an image less", or more where the difference is negative."""
    return f"{abs(difference):.1f} nats an image {'less' if difference >= 0 else 'more'}"
