"""What a user hands to a flow as rows of data, checked."""

import math
from typing import Any

from torch import Tensor

from pushforward.numerics.arrays import as_tensor


def rows_of(x: Any, features: int) -> Tensor:
    """Return x as a floating-point tensor (*batch, features).

    Raises:
        ValueError: If it has another shape or holds integers, with the remedy.
    """
    x = as_tensor(x)
    if x.ndim == 0 or x.shape[-1] != features:
        flat = x.ndim > 2 and math.prod(x.shape[1:]) == features
        remedy = ": flatten images, channels first, with x.flatten(1)" if flat else ""
        raise ValueError(f"x must have {features} features on the last axis; got shape {tuple(x.shape)}{remedy}.")
    if not x.is_floating_point():
        raise ValueError(
            f"x holds integers ({str(x.dtype).removeprefix('torch.')}), which have no density: convert continuous "
            "data with x.float(); for pixel or count data use pf.fit(..., dequantize=256) and "
            "pf.metrics.nll(..., dequantize=256)."
        )
    return x
