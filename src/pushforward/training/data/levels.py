"""Floats that are integers in disguise: images k / 255, ratings, counts that were scaled."""

import torch
from torch import Tensor

MOST_LEVELS = 256
LEAST_REPEATS = 10  # numbers a level, on average
LOOKED_AT = 100_000  # numbers


def levels_note(x: Tensor) -> str | None:
    """Return a remark where all values of floating-point rows, (N, ...), lie on few levels time and again, or None."""
    if not x.is_floating_point() or not x.numel():
        return None
    values = x[: max(LOOKED_AT // x[0].numel(), 1)].flatten() if len(x) else x
    levels = torch.unique(values)
    if not 1 < len(levels) <= MOST_LEVELS or len(values) < LEAST_REPEATS * len(levels):
        return None
    least, most = levels[0].item(), levels[-1].item()
    return (
        f"all values lie on {len(levels)} levels from {least:g} to {most:g}, where a density grows without end: give "
        "the integers themselves, such as (x * 255).round().byte() for images in [0, 1], and dequantize=256"
    )
