"""Any array as a tensor."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(value: Any) -> Tensor:
    """Return an array or tensor as a tensor, without a copy where torch can do without."""
    if isinstance(value, np.ndarray) and (not value.flags.writeable or min(value.strides, default=0) < 0):
        value = value.copy()  # torch takes neither read-only nor reversed arrays
    return value if isinstance(value, Tensor) else torch.as_tensor(value)
