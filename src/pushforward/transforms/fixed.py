"""What is left of a transform without its learned parts: its fixed mixing."""

from torch import nn

from pushforward.transforms.base import Compose, Inverse, Transform
from pushforward.transforms.image import OnFeatures, PerPixel


def is_learned(module: nn.Module) -> bool:
    """Return whether the module has parameters."""
    return any(True for _ in module.parameters())


def fixed(transform: Transform) -> Transform:
    """Return what is left of a transform without its learned parts."""
    if not is_learned(transform):
        return transform
    if isinstance(transform, Inverse):
        return Inverse(fixed(transform.transform))
    if isinstance(transform, PerPixel):
        return PerPixel(transform.shape, fixed(transform.transform))
    if isinstance(transform, OnFeatures):
        return OnFeatures(transform.indices, fixed(transform.transform))
    return Compose([fixed(part) for part in transform] if isinstance(transform, Compose) else [])
