"""Labels as the context of a flow, and images as the levels of their pixels."""

from torch import Tensor
from torch.nn import functional


def one_hot(labels: Tensor, num_labels: int) -> Tensor:
    """Return labels (n,) as context (n, num_labels)."""
    return functional.one_hot(labels, num_labels).float()


def to_levels(x: Tensor, levels: int) -> Tensor:
    """Return the images that continuous values stand for, k for [k, k + 1), int64 from 0 to levels - 1."""
    return x.floor().clamp(0, levels - 1).long()


def middles(x: Tensor) -> Tensor:
    """Return the middle of each level, k + 1/2: an image without noise as a flow for dequantized images sees it."""
    return x.float() + 0.5
