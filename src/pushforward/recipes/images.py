"""Published flows of images, flattened on the last axis; the functions take a shape and return a plain `Flow`."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from pushforward.bases import Base
from pushforward.errors import require_count, require_image_shape
from pushforward.flows import Flow
from pushforward.nets import ConvNet
from pushforward.recipes.assembly import Ends, Steps, stepped_flow
from pushforward.transforms import (
    ActNorm,
    Affine,
    Compose,
    Coupling,
    LULinear,
    OnFeatures,
    PerPixel,
    Transform,
    masks,
    squeeze,
)

Shape = tuple[int, int, int]


def glow(
    shape: Sequence[int],
    *,
    num_levels: int = 2,
    num_layers: int = 8,
    hidden_channels: int = 32,
    num_blocks: int = 1,
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    log_scale: str = "soft",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
    context_preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Levels of squeezing and steps of ActNorm, 1 x 1 convolution by LU and coupling (Glow, arXiv:1807.03039).

    After each level but the last, half of the channels is factored out: it goes to the base as it is. The last coupling
    of a level transforms that half given the other, which is Glow's learned density of what is factored out. Two
    departures: matrices start as the identity and the couplings change roles from step to step, and the networks are
    `pf.nets.ConvNet`, far smaller than Glow's, to train in minutes on a processor.

    Args:
        shape: Channels C, height H and width W; H and W can be halved `num_levels` times.
        num_levels: Number of levels.
        num_layers: Number of steps at each level; each is one learned step of the flow.
        hidden_channels: Channels of the conditioners' hidden layers.
        num_blocks: Residual blocks of a conditioner.
        context_features: Size of the context seen by every conditioner; 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.
        log_scale: "soft" (bounded by 2), "tanh" (bounded by 1) or "plain".
        base: Density of the latent; `StandardNormal(C H W)` by default.
        preprocessing: Transforms next to the data. For 8-bit pixels, which `fit(..., dequantize=256)` turns into
            numbers in (0, 256), `[Scale(1 / 256), Logit(1e-6)]` keeps samples in that range.
        context_preprocessing: Transforms of the context, such as `[Standardize(context_features)]`.

    Raises:
        ValueError: If a size or a name is not valid, or the image cannot be halved so often.

    Example:
        >>> flow = glow((1, 8, 8), num_layers=2, hidden_channels=8)
        >>> flow.sample(3).shape
        torch.Size([3, 64])
    """
    networks = _networks(hidden_channels, num_blocks, context_features, activation, dropout)
    num_levels, num_layers = require_count("num_levels", num_levels), require_count("num_layers", num_layers)
    size, univariate = _checked(shape, num_levels, num_levels), Affine(log_scale)
    features = math.prod(size)
    steps: Steps = []
    for _ in range(num_levels):
        before: list[Transform] = [squeeze(size)]
        size = _squeezed(size)
        for layer in range(num_layers):
            mix = PerPixel(size, LULinear(size[0]))
            coupling = _coupling(_channel_mask(size, num_layers - layer), size, univariate, networks)
            steps.append(_on_first(size, features, [*before, PerPixel(size, ActNorm(size[0])), mix, coupling]))
            before = []
        size = (size[0] // 2, *size[1:])
    return stepped_flow(steps, features, Ends(base, preprocessing, context_preprocessing))


def realnvp_image(
    shape: Sequence[int],
    *,
    num_levels: int = 2,
    num_layers: int = 3,
    hidden_channels: int = 32,
    num_blocks: int = 1,
    context_features: int = 0,
    activation: str = "relu",
    dropout: float = 0.0,
    log_scale: str = "soft",
    base: Base | None = None,
    preprocessing: Sequence[Transform] = (),
    context_preprocessing: Sequence[Transform] = (),
) -> Flow:
    """Levels of chequerboard couplings, squeezing and channel couplings (RealNVP, arXiv:1605.08803, 3.6).

    After each level but the last, half of the channels is factored out: it goes to the base as it is. The last level
    has one more chequerboard coupling and neither squeezes nor couples channels. ActNorm before each coupling stands
    where the paper has batch normalization.

    Args:
        shape: Channels C, height H and width W; H and W can be halved `num_levels` - 1 times.
        num_levels: Number of levels.
        num_layers: Number of couplings of each kind at each level; each is one learned step of the flow.
        hidden_channels: Channels of the conditioners' hidden layers.
        num_blocks: Residual blocks of a conditioner.
        context_features: Size of the context seen by every conditioner; 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.
        log_scale: "soft" (bounded by 2), "tanh" (bounded by 1) or "plain".
        base: Density of the latent; `StandardNormal(C H W)` by default.
        preprocessing: Transforms next to the data, as for `glow`.
        context_preprocessing: Transforms of the context.

    Raises:
        ValueError: If a size or a name is not valid, or the image cannot be halved so often.

    Example:
        >>> flow = realnvp_image((1, 28, 28), num_levels=3, hidden_channels=8)
        >>> len(flow.transform)  # 3 + 3, 3 + 3, and 4 on images of 7 x 7
        16
    """
    networks = _networks(hidden_channels, num_blocks, context_features, activation, dropout)
    num_levels, num_layers = require_count("num_levels", num_levels), require_count("num_layers", num_layers)
    size, univariate = _checked(shape, num_levels, num_levels - 1), Affine(log_scale)
    features = math.prod(size)
    steps: Steps = []
    for level in range(num_levels):
        last = level == num_levels - 1
        for layer in range(num_layers + last):
            board = masks.chequerboard(size)
            coupling = _coupling(~board if layer % 2 else board, size, univariate, networks)
            steps.append(_on_first(size, features, [PerPixel(size, ActNorm(size[0])), coupling]))
        if last:
            break
        before: list[Transform] = [squeeze(size)]
        size = _squeezed(size)
        for layer in range(num_layers):
            coupling = _coupling(_channel_mask(size, num_layers - layer), size, univariate, networks)
            steps.append(_on_first(size, features, [*before, PerPixel(size, ActNorm(size[0])), coupling]))
            before = []
        size = (size[0] // 2, *size[1:])
    return stepped_flow(steps, features, Ends(base, preprocessing, context_preprocessing))


def _networks(
    hidden_channels: int, num_blocks: int, context_features: int, activation: str, dropout: float
) -> dict[str, Any]:
    """Return the options that every conditioner is made with."""
    return {
        "hidden_channels": hidden_channels,
        "num_blocks": num_blocks,
        "context_features": context_features,
        "activation": activation,
        "dropout": dropout,
    }


def _checked(shape: Sequence[int], num_levels: int, num_squeezes: int) -> Shape:
    """Return the shape, if images of it can be squeezed so often."""
    shape = channels, height, width = require_image_shape(shape)
    sizes = [f"{height} x {width}"]
    for squeezes in range(num_squeezes):
        if height % 2 or width % 2:
            possible = num_levels - num_squeezes + squeezes
            remedy = f"use num_levels={possible}" if possible else "pad or crop them to an even height and width"
            raise ValueError(
                f"num_levels={num_levels} halves images {num_squeezes} times, but {' -> '.join(sizes)} cannot be "
                f"halved again: {remedy} (shape is channels, height, width: {', '.join(map(str, shape))})."
            )
        height, width = height // 2, width // 2
        sizes.append(f"{height} x {width}")
    if num_squeezes < num_levels and height * width < 2:
        remedy = f"use num_levels={num_levels - 1}" if num_levels > 1 else "use pf.recipes.realnvp"
        raise ValueError(f"num_levels={num_levels} leaves images of {sizes[-1]}, which have no chequerboard: {remedy}.")
    return shape


def _squeezed(size: Shape) -> Shape:
    return 4 * size[0], size[1] // 2, size[2] // 2


def _channel_mask(size: Shape, layers_left: int) -> torch.Tensor:
    """Return the mask of half of the channels; the last layer keeps the first half, what is factored out changes."""
    first_half = masks.halves(math.prod(size))
    return first_half if layers_left % 2 else ~first_half


def _coupling(mask: torch.Tensor, size: Shape, univariate: Affine, networks: dict[str, Any]) -> Coupling:
    return Coupling(mask, univariate, ConvNet(mask, size, univariate.num_params, **networks))


def _on_first(size: Shape, features: int, parts: list[Transform]) -> list[Transform]:
    """Return the parts of a step on the features that are left at its level, which come first."""
    left = math.prod(size)
    return parts if left == features else [OnFeatures(torch.arange(left, device="cpu"), Compose(parts))]
