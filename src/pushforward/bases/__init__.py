"""Base densities: what a flow carries to the data."""

from pushforward.bases.density import Base, Box, DiagonalNormal, GaussianMixture, StandardNormal
from pushforward.bases.from_torch import SAVEABLE_DISTRIBUTIONS, FromTorch

__all__ = ["SAVEABLE_DISTRIBUTIONS", "Base", "Box", "DiagonalNormal", "FromTorch", "GaussianMixture", "StandardNormal"]
