"""Boolean masks for `Coupling`: True marks a feature that passes through unchanged; `~mask` swaps the roles."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pushforward.errors import InputError, described, require_count
from pushforward.numerics.generators import check_generator

__all__ = ["MASKS", "alternating", "chequerboard", "halves", "random"]


def halves(features: int) -> Tensor:
    """Keep the first half (the larger one if D is odd), transform the rest."""
    features = require_count("features", features)
    return torch.arange(features, device="cpu") < (features + 1) // 2


def alternating(features: int) -> Tensor:
    """Keep features 0, 2, 4, ..."""
    return torch.arange(require_count("features", features), device="cpu") % 2 == 0


def random(features: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Keep half of the features (the larger half if D is odd), drawn at random."""
    check_generator(generator)
    return halves(features)[torch.randperm(features, generator=generator, device="cpu")]


def chequerboard(features: int | Sequence[int]) -> Tensor:
    """Keep the pixels of a flattened image whose row and column add up to an even number.

    Args:
        features: Height and width, or channels, height and width; or D of a square image.

    Raises:
        InputError: If a size is not valid, or `features` is a number that is no square.
    """
    if not isinstance(features, Sequence) or isinstance(features, str):
        features = require_count("features", features)
        side = math.isqrt(features)
        if side * side != features:
            raise InputError(
                f"a chequerboard mask of {features} features needs (height, width); {features} is no square."
            )
        features = (side, side)
    if len(features) not in (2, 3):
        raise InputError(
            f"features must be D, (height, width) or (channels, height, width); got {described(features)}."
        )
    *channels, height, width = (require_count(f"features[{place}]", size) for place, size in enumerate(features))
    rows, columns = (torch.arange(size, device="cpu") for size in (height, width))
    board = (rows[:, None] + columns) % 2 == 0
    return board.expand(*channels, height, width).flatten()


MASKS: dict[str, Callable[[int], Tensor]] = {
    "halves": halves,
    "alternating": alternating,
    "random": random,
    "chequerboard": chequerboard,
}
