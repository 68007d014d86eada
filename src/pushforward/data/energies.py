"""The four test energies of Rezende & Mohamed (arXiv:1505.05770, table 1): unnormalized densities in the plane."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

WALL = 4.0  # three of the energies do not change along z1: beyond |z1| = 4 a wall keeps them integrable
WALL_WIDTH = 0.2
REACH, GRID = 8.0, 2001  # of the quadrature of log Z


@dataclass(frozen=True)
class Energy:
    """An unnormalized density exp(-U(z)).

    Attributes:
        name: What it looks like.
        log_density: z (*batch, 2) -> -U(z), (*batch,), nats.
    """

    name: str
    log_density: Callable[[Tensor], Tensor]

    @cached_property
    def log_z(self) -> float:
        """Log of the integral of exp(-U) over the plane, by quadrature on a grid of 2,001 x 2,001 points."""
        line = torch.linspace(-REACH, REACH, GRID, dtype=torch.float64)
        rows = [
            self.log_density(torch.stack((line.expand(len(part), -1), part[:, None].expand(-1, GRID)), -1))
            for part in line.split(100)
        ]
        cell = 2 * math.log((line[1] - line[0]).item())
        return torch.logsumexp(torch.cat(rows).flatten(), 0).item() + cell

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the normalized log density of z (*batch, 2), in nats: (*batch,)."""
        return self.log_density(z) - self.log_z


def _bell(distance: Tensor, width: float) -> Tensor:
    return -0.5 * (distance / width).square()


def _wall(z1: Tensor) -> Tensor:
    return _bell(functional.relu(z1.abs() - WALL), WALL_WIDTH)


def _wave(z1: Tensor) -> Tensor:
    return torch.sin(math.pi * z1 / 2)


def _ring(z: Tensor) -> Tensor:
    z1 = z[..., 0]
    radius = (z.square().sum(-1) + 1e-12).sqrt()
    return _bell(radius - 2, 0.4) + torch.logaddexp(_bell(z1 - 2, 0.6), _bell(z1 + 2, 0.6))


def _sine(z: Tensor) -> Tensor:
    z1, z2 = z.unbind(-1)
    return _bell(z2 - _wave(z1), 0.4) + _wall(z1)


def _split(z: Tensor) -> Tensor:
    z1, z2 = z.unbind(-1)
    apart = 3 * _bell(z1 - 1, 0.6).exp()
    return torch.logaddexp(_bell(z2 - _wave(z1), 0.35), _bell(z2 - _wave(z1) + apart, 0.35)) + _wall(z1)


def _fork(z: Tensor) -> Tensor:
    z1, z2 = z.unbind(-1)
    apart = 3 * torch.sigmoid((z1 - 1) / 0.3)
    return torch.logaddexp(_bell(z2 - _wave(z1), 0.4), _bell(z2 - _wave(z1) + apart, 0.35)) + _wall(z1)


ENERGIES: dict[str, Energy] = {
    name: Energy(name, log_density)
    for name, log_density in {"ring": _ring, "sine": _sine, "split": _split, "fork": _fork}.items()
}
