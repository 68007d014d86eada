"""Base densities: what a flow carries to the data."""

from pushforward.bases.density import Base, Box, DiagonalNormal, GaussianMixture, StandardNormal
from pushforward.bases.from_torch import SAVEABLE_DISTRIBUTIONS, FromTorch
from pushforward.bases.joint import Joint

__all__ = [
    "SAVEABLE_DISTRIBUTIONS",
    "Base",
    "Box",
    "DiagonalNormal",
    "FromTorch",
    "GaussianMixture",
    "Joint",
    "StandardNormal",
]
