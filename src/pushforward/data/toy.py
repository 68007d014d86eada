"""Toy data in the plane with the truth attached: points, labels, and the exact density they were drawn from."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pushforward.data.toy_density import Density, Standardized, data_generator
from pushforward.data.toy_laws import GaussianPeaks, NoisyCircles, NoisyCurves, Parabola, Squares, TwistedArms
from pushforward.display import shapes
from pushforward.errors import InputError, require_count, require_flag, require_number


class ToyData(NamedTuple):
    """Points with the density they come from.

    Attributes:
        x: (num_samples, 2), float32.
        labels: (num_samples,), int64, or None where the law has no labels.
        density: The exact density in x's own units; its `sample` is the only source of test sets.
    """

    x: Tensor
    labels: Tensor | None
    density: Density

    def __repr__(self) -> str:
        return shapes(self)


def two_moons(num_samples: int, *, noise: float = 0.1, standardize: bool = False, seed: int = 0) -> ToyData:
    """Two interleaved half circles with Gaussian noise: the law of scikit-learn's `make_moons`.

    Label 0: (cos a, sin a), label 1: (1 - cos a, 1/2 - sin a), a uniform on [0, pi]. Exact entropy at noise 0.1: 1.0076
    nats.

    Args:
        num_samples: Number of points.
        noise: Standard deviation of the noise, above 0.
        standardize: Centre and scale each axis by the sample's own mean and (population) standard deviation; the
            density is then the density in those units.
        seed: Seed of the draw.

    Raises:
        ValueError: If `noise` is not above 0 or `num_samples` below 1.

    Example:
        >>> data = two_moons(1000); data.x.shape, round(data.density.entropy(), 4)
        (torch.Size([1000, 2]), 1.0076)
    """

    def upper(u: Tensor) -> Tensor:
        return torch.stack([(math.pi * u).cos(), (math.pi * u).sin()], -1)

    def lower(u: Tensor) -> Tensor:
        return torch.stack([1 - (math.pi * u).cos(), 0.5 - (math.pi * u).sin()], -1)

    return _toy(NoisyCurves([upper, lower], length=math.pi, noise=noise), num_samples, standardize, seed)


def circles(
    num_samples: int, *, noise: float = 0.06, factor: float = 0.5, standardize: bool = False, seed: int = 0
) -> ToyData:
    """Two concentric circles of radius 1 (label 0) and `factor` (label 1) with noise: the law of `make_circles`.

    Exact entropy at the defaults: 0.788. Arguments as in `two_moons`; `factor` lies between 0 and 1.
    """
    factor = require_number("factor", factor, above=0, below=1)
    return _toy(NoisyCircles([1.0, factor], noise=noise), num_samples, standardize, seed)


def two_gaussians(num_samples: int, *, standardize: bool = False, seed: int = 0) -> ToyData:
    """Two Gaussians of width 0.1: label 0 at (0.75, 0.75) with weight 1/5, label 1 at (0.25, 0.25) with 4/5.

    Exact entropy: -1.2674. Arguments as in `two_moons`.
    """
    density = GaussianPeaks([(0.75, 0.75), (0.25, 0.25)], 0.1, [0.2, 0.8], [0, 1])
    return _toy(density, num_samples, standardize, seed)


def chequerboard(num_samples: int, *, standardize: bool = False, seed: int = 0) -> ToyData:
    """Uniform on the corners and the centre of a 3 x 3 board on the unit square; the label is the square.

    Exact entropy: ln(5/9) = -0.5878; log_prob is -inf outside the squares. Arguments as in `two_moons`.
    """
    corners = [(i / 3, j / 3) for i in range(3) for j in range(3) if (i + j) % 2 == 0]
    return _toy(Squares(corners, 1 / 3), num_samples, standardize, seed)


def hexagon(num_samples: int, *, num_labels: int = 6, standardize: bool = False, seed: int = 0) -> ToyData:
    """Six Gaussians of width 0.1 on the corners of a regular hexagon of radius 1.

    With 6 labels the label is the corner; with 2, two opposite corners have label 0 and the other four label 1. Exact
    entropy: 0.0245; given the label -1.7673 (6) or -0.6120 (2). Other arguments as in `two_moons`.
    """
    num_labels = require_count("num_labels", num_labels)
    if num_labels not in (2, 6):
        raise InputError(f"num_labels must be 2 or 6; got {num_labels}.")
    labels = list(range(6)) if num_labels == 6 else [0, 1, 1, 0, 1, 1]
    return _toy(GaussianPeaks(_polygon(6, 1.0), 0.1, [1 / 6] * 6, labels), num_samples, standardize, seed)


def two_blobs(num_samples: int, *, standardize: bool = False, seed: int = 0) -> ToyData:
    """Two equal Gaussians of width 0.2: label 0 at (-0.5, 0.5), 1 at (0.5, -0.5). Arguments as in `two_moons`."""
    return _toy(GaussianPeaks([(-0.5, 0.5), (0.5, -0.5)], 0.2, [0.5, 0.5], [0, 1]), num_samples, standardize, seed)


def boomerang(num_samples: int, *, noise: float = 0.25, standardize: bool = False, seed: int = 0) -> ToyData:
    """A bent Gaussian without labels: x2 ~ N(0, 1), x1 ~ N(x2^2, noise^2).

    Exact entropy: ln(2 pi e noise). Arguments as in `two_moons`.
    """
    return _toy(Parabola(noise=noise), num_samples, standardize, seed)


def eight_gaussians(num_samples: int, *, standardize: bool = False, seed: int = 0) -> ToyData:
    """Eight Gaussians of width 0.5 on a circle of radius 4, all divided by the root of 2; the label counts by angle.

    The data of FFJORD (Grathwohl et al. 2018, arXiv:1810.01367). Exact entropy: 2.832. Arguments as in `two_moons`.
    """
    centres = _polygon(8, 4 / math.sqrt(2))
    return _toy(GaussianPeaks(centres, 0.5 / math.sqrt(2), [1 / 8] * 8, list(range(8))), num_samples, standardize, seed)


def pinwheel(num_samples: int, *, standardize: bool = False, seed: int = 0) -> ToyData:
    """Five twisted arms, the label is the arm.

    u ~ N((1, 0), diag(0.3^2, 0.1^2)), x = 2 R(2 pi label / 5 + exp|u| / 4) u with R(a) the rotation by a: FFJORD's
    pinwheel, but for a twist that preserves area, so that the density is closed. Arguments as in `two_moons`.
    """
    density = TwistedArms(5, radial=0.3, tangential=0.1, rate=0.25, scale=2.0)
    return _toy(density, num_samples, standardize, seed)


def spirals(num_samples: int, *, noise: float = 0.1, standardize: bool = False, seed: int = 0) -> ToyData:
    """Two interleaved spirals with Gaussian noise; the label is the arm.

    x = +-(-t cos t, t sin t) / 3 + noise, t = 3 pi v^(1/2), v uniform on [0, 1], so that points are spread about evenly
    over the length: FFJORD's spirals with the noise made Gaussian. Arguments as in `two_moons`.
    """

    def arm(u: Tensor) -> Tensor:
        t = 3 * math.pi * u
        return torch.stack([-t * t.cos(), t * t.sin()], -1) / 3

    end = 3 * math.pi
    length = (end * math.hypot(1, end) + math.asinh(end)) / 6  # of the spiral r = t / 3
    density = NoisyCurves([arm, lambda u: -arm(u)], length=length, noise=noise, power=2)
    return _toy(density, num_samples, standardize, seed)


TOYS: dict[str, Callable[..., ToyData]] = {
    "two-moons": two_moons,
    "circles": circles,
    "two-gaussians": two_gaussians,
    "chequerboard": chequerboard,
    "hexagon": hexagon,
    "two-blobs": two_blobs,
    "boomerang": boomerang,
    "eight-gaussians": eight_gaussians,
    "pinwheel": pinwheel,
    "spirals": spirals,
}
"""Every toy density under its name on the command line."""


def _polygon(num_corners: int, radius: float) -> list[tuple[float, float]]:
    angles = [2 * math.pi * k / num_corners for k in range(num_corners)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _toy(density: Density, num_samples: int, standardize: bool, seed: int) -> ToyData:
    x, labels = density.draw(num_samples, data_generator(seed))
    if require_flag("standardize", standardize):
        require_count("num_samples, where standardize=True,", num_samples, 2)
        mean, std = x.mean(0), x.std(0, correction=0)
        x, density = (x - mean) / std, Standardized(density, mean, std)
    return ToyData(x.float(), labels if density.label_proportions else None, density)
