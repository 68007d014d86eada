"""The flows of the studies on MNIST with fully connected networks, and how they are trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pushforward.bases import StandardNormal
from pushforward.data import mnist, mnist_sample, pixel_units
from pushforward.data.digits import Digits
from pushforward.flows import Flow
from pushforward.nets import MLP
from pushforward.studies.kit.record import Record
from pushforward.training import History
from pushforward.transforms import (
    ActNorm,
    Additive,
    Affine,
    Compose,
    Coupling,
    Elementwise,
    RationalQuadratic,
    Transform,
    masks,
)
from pushforward.transforms.spline import MIN_SHARE, MIN_SLOPE, SLOPE_AT_ZERO

LEVELS = 256
PIXELS = 784
QUICK_STEPS = 4


@dataclass(frozen=True)
class Recipe:
    """A flow and how it is trained.

    Attributes:
        make: From the training images (n, 784), uint8, to an untrained flow.
        seconds: Length of the training.
        options: Further options of `fit`.
    """

    make: Callable[[Tensor], Flow]
    seconds: float
    options: dict[str, Any] = field(default_factory=dict)


def load(record: Record) -> Digits:
    """Return MNIST split by the study's seed; the part that comes with the package in the quick form."""
    return mnist_sample() if record.quick else mnist(seed=record.seed)


def train(record: Record, label: str, recipe: Recipe, data: Digits) -> tuple[Flow, History]:
    """Return the recipe's flow, trained on the training images and chosen by the validation images, and its history.

    A study that was stopped goes on from the checkpoints it left in its folder.
    """
    torch.manual_seed(record.seed)
    flow = recipe.make(data.train.x)
    history = record.fit(
        label,
        flow,
        data.train.x,
        validation=data.validation.x,
        dequantize=LEVELS,
        seed=record.seed,
        max_seconds=recipe.seconds,
        quick={"num_steps": QUICK_STEPS},
        resumable=True,
        **recipe.options,
    )
    return flow, history


def to_levels(x: Tensor) -> Tensor:
    """Return the images that continuous values stand for, k for [k, k + 1), uint8."""
    return x.floor().clamp(0, LEVELS - 1).to(torch.uint8)


# ---- masked coupling -----------------------------------------------------------------------------------------------


def masks_of(kind: str, num_layers: int, *, paired: bool) -> list[Tensor]:
    """Return one mask a layer: a chequerboard inverted at each layer, or random ones.

    Args:
        kind: "chequerboard" or "random".
        num_layers: Number of couplings.
        paired: Whether every second random mask is the complement of the one before, so that each pixel is transformed
            as often as any other; if not, each is drawn anew.
    """
    chosen: list[Tensor] = []
    for layer in range(num_layers):
        again = layer % 2 and (paired or kind == "chequerboard")
        chosen.append(~chosen[-1] if again else masks.MASKS[kind](PIXELS))
    return chosen


def source_masked(kind: str) -> Flow:
    """Return the source's flow: couplings with tanh on the scale, pixels as x + u/255.

    The source gives no sizes. Pixels of paper are to be widened from 1/255 to about 1, by e^5.5 or more, and a layer
    widens by e at most the half of the pixels that it transforms: hence 16 layers.
    """
    layers = [coupling(mask, Affine("tanh"), (256, 256)) for mask in masks_of(kind, 16, paired=False)]
    return Flow(Compose(layers, names=_names(16)), StandardNormal(PIXELS), pixel_units("1/255"))


def our_masked(kind: str) -> Flow:
    """Return six wider couplings with a scale of each pixel before them, behind a logit and a spline of each pixel."""
    layers: list[Transform] = [
        Compose([ActNorm(PIXELS), coupling(mask, Affine("tanh"), (512, 512), dropout=0.2)])
        for mask in masks_of(kind, 6, paired=True)
    ]
    return Flow(
        Compose([paper_spline(), *layers, ActNorm(PIXELS)], names=["pixels", *_names(6), "scale"]),
        StandardNormal(PIXELS),
        pixel_units("logit"),
    )


def coupling(mask: Tensor, univariate: Affine | Additive, hidden: Sequence[int], dropout: float = 0.0) -> Coupling:
    """Return a coupling whose network has these hidden layers."""
    num_kept = int(mask.sum())
    num_params = (PIXELS - num_kept) * univariate.num_params
    return Coupling(mask, univariate, MLP(num_kept, num_params, hidden_features=hidden, dropout=dropout))


def paper_spline(features: int = PIXELS) -> Elementwise:
    """Return a spline of each pixel behind the logit that starts by making the noise of level 0 normal.

    Four of five pixels are paper, level 0: there the dequantized pixel is uniform noise on one level, which the logit
    turns into log u, and no affine map of log u is normal. The spline sends the quantiles of log u to those of a
    normal law in the lower half of its box; the inked levels keep the upper half. Training changes it pixel by pixel.
    """
    bound, spread = 14.0, 1.3  # the logit of MAF ends at 13.8; a standard deviation of paper in the box
    normal = torch.distributions.Normal(0.0, 1.0)
    quantile = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5])
    u = normal.cdf(quantile)
    paper = torch.logit(1e-6 + u / LEVELS)
    # Then the end of level 0, and the middle grey.
    x = torch.cat([torch.tensor([-bound]), paper, torch.tensor([-5.5, 0.0, bound])])
    y = torch.cat([torch.tensor([-bound]), spread * (quantile + 3.5) - bound, torch.tensor([-5.3, 1.0, bound])])
    slopes = torch.cat([spread * u / normal.log_prob(quantile).exp(), torch.tensor([3.0, 1.0])])
    sizes = [(knots.diff() / (2 * bound) - MIN_SHARE).log() for knots in (x, y)]
    layer = Elementwise(features, RationalQuadratic(len(x) - 1, bound))
    assert layer.params is not None
    with torch.no_grad():
        layer.params.copy_(torch.cat([*sizes, (slopes - MIN_SLOPE).expm1().log() - SLOPE_AT_ZERO]))
    return layer


def _names(num_layers: int) -> list[str]:
    return [f"layer {number}" for number in range(1, num_layers + 1)]
