"""Data: toy densities with the truth attached."""

from pushforward.data.toy import (
    TOYS,
    ToyData,
    boomerang,
    chequerboard,
    circles,
    eight_gaussians,
    hexagon,
    pinwheel,
    spirals,
    two_blobs,
    two_gaussians,
    two_moons,
)
from pushforward.data.toy_density import Density

__all__ = [
    "TOYS",
    "Density",
    "ToyData",
    "boomerang",
    "chequerboard",
    "circles",
    "eight_gaussians",
    "hexagon",
    "pinwheel",
    "spirals",
    "two_blobs",
    "two_gaussians",
    "two_moons",
]
