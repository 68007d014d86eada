"""Data: toy densities with the truth attached, handwritten digits, and images of one's own."""

from pushforward.data.digits import Digits, LabelledImages, digits
from pushforward.data.energies import ENERGIES, Energy
from pushforward.data.images import Images, images, pixel_units
from pushforward.data.mixed_table import MixedLaw, mixed_table
from pushforward.data.mnist import mnist, mnist_sample
from pushforward.data.probai_samples import THREE_SETS, Sample, three_sets
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
    "ENERGIES",
    "Energy",
    "THREE_SETS",
    "TOYS",
    "Sample",
    "Density",
    "Digits",
    "Images",
    "LabelledImages",
    "MixedLaw",
    "ToyData",
    "boomerang",
    "chequerboard",
    "circles",
    "digits",
    "eight_gaussians",
    "hexagon",
    "images",
    "mixed_table",
    "mnist",
    "mnist_sample",
    "pinwheel",
    "pixel_units",
    "spirals",
    "three_sets",
    "two_blobs",
    "two_gaussians",
    "two_moons",
]
