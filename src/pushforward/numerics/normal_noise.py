"""Standard normal noise of the dtype and on the device of other numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.numerics.generators import drawn_from


def normal_noise(shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw N(0, 1) numbers of a shape, with the dtype and device of `like`."""
    return torch.randn(tuple(shape), dtype=like.dtype, device=like.device, **drawn_from(generator))
