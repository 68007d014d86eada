"""Flows that are wrong from their base's side, each in one way; the tests and verify_power.py look for them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, StudentT

import pushforward as pf

Draw = Callable[[Tensor, torch.Generator], Tensor]
LogProb = Callable[[Tensor, Tensor | None], Tensor]


class Broken(pf.bases.Base):
    """A base of any draws and any log_prob.

    Args:
        features: D.
        draw: Makes draws of standard normal ones, (n, D).
        log_prob: (n, D), context -> (n,).
        context_features: C.
        seed: Another seed is another experiment, though `verify` always begins with the same generator.
    """

    def __init__(self, features: int, draw: Draw, log_prob: LogProb, context_features: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.features, self.context_features = features, context_features
        self._draw, self._log_prob, self.seed = draw, log_prob, seed

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return what was given: (n, D) -> (n,)."""
        return self._log_prob(z, context)

    def sample(self, shape: Any, *, context: Any = None, temperature: float = 1.0, generator: Any = None) -> Tensor:
        """Draw (*shape, D)."""
        own = torch.Generator().manual_seed(self.seed + int(torch.randint(2**62, (), generator=generator)))
        rows = torch.randn((math.prod(shape), self.features), generator=own)
        return self._draw(rows, own).reshape(*shape, self.features)


def normal(z: Tensor, context: Tensor | None = None) -> Tensor:
    """Return log N(z; 0, I)."""
    return Normal(0.0, 1.0).log_prob(z).sum(-1)


def plus(value: float | Tensor) -> Draw:
    """Return draws with a number added to the first feature, or a row to all."""
    return lambda z, _: z + (value if isinstance(value, Tensor) else value * (torch.arange(z.shape[1]) == 0))


def times(value: float, features: int | None = None) -> Draw:
    """Return draws with some features, or all, multiplied."""
    return lambda z, _: z * torch.where(torch.arange(z.shape[1]) < (features or z.shape[1]), value, 1.0)


def modes(distance: float, share: float, along: str) -> tuple[Draw, LogProb]:
    """Return draws of a mixture of two normals so far apart, and its log_prob were both of equal weight."""

    def direction(features: int) -> Tensor:
        ones = torch.ones(features) / features**0.5
        return distance / 2 * (ones if along == "diagonal" else (torch.arange(features) == 0).float())

    def draw(z: Tensor, generator: torch.Generator) -> Tensor:
        side = (torch.rand(len(z), 1, generator=generator) < share).float()
        return z + (2 * side - 1) * direction(z.shape[1])

    def log_prob(z: Tensor, _: Tensor | None = None) -> Tensor:
        centre = direction(z.shape[1])
        return torch.logaddexp(normal(z - centre), normal(z + centre)) - math.log(2)

    return draw, log_prob


def correlated(value: float) -> Draw:
    """Return draws whose first two features are correlated."""

    def draw(z: Tensor, _: torch.Generator) -> Tensor:
        second = value * z[:, 0] + math.sqrt(1 - value**2) * z[:, 1]
        return torch.cat([z[:, :1], second[:, None], z[:, 2:]], 1)

    return draw


def student(degrees: float, scale: float) -> LogProb:
    """Return the log density of independent Student t features."""
    return lambda z, _: StudentT(degrees, scale=scale).log_prob(z).sum(-1)


def heavy(z: Tensor, generator: torch.Generator) -> Tensor:
    """Return draws of a Student t with 3 degrees of freedom, with the quartiles of a normal."""
    squares = torch.randn(3, *z.shape, generator=generator).square().mean(0)
    return 0.8818 * z / squares.sqrt()


def cut(low: float, high: float) -> Draw:
    """Return draws whose first feature is kept between two bounds (of a normal)."""

    def draw(z: Tensor, _: torch.Generator) -> Tensor:
        ends = Normal(0.0, 1.0).cdf(torch.tensor([low, high]))
        level = ends[0] + (ends[1] - ends[0]) * Normal(0.0, 1.0).cdf(z[:, :1])
        return torch.cat([Normal(0.0, 1.0).icdf(level).clamp(low, high), z[:, 1:]], 1)

    return draw


def only_between(low: float, high: float) -> LogProb:
    """Return log N(z; 0, I) where the first feature lies between two bounds, -inf elsewhere: a part of the mass."""
    return lambda z, _: torch.where((z[..., 0] < low) | (z[..., 0] > high), -math.inf, normal(z))


def uniform(z: Tensor, _: torch.Generator) -> Tensor:
    """Return draws of the unit box."""
    return Normal(0.0, 1.0).cdf(z)


def box(side: float) -> LogProb:
    """Return the log density 0 on a box from 0 to `side`."""
    return lambda z, _: torch.where(((z < 0) | (z > side)).any(-1), -math.inf, 0.0)


def same(z: Tensor, _: torch.Generator) -> Tensor:
    """Return standard normal draws."""
    return z


# kind -> name -> (draws, log_prob, features where it can be seen)
BASES: dict[str, dict[str, tuple[Draw, LogProb, tuple[int, ...]]]] = {
    "location": {
        "one feature by 0.3": (plus(0.3), normal, (1, 2, 5)),
        "one feature by 0.5": (plus(0.5), normal, (1, 2, 5, 20, 64)),
        "all features by 0.2": (lambda z, _: z + 0.2, normal, (1, 2, 5, 20, 64)),
    },
    "scale": {
        "one feature by 1.25": (times(1.25, 1), normal, (1, 2, 5, 20)),
        "all features by 1.2": (times(1.2), normal, (1, 2, 5, 20, 64)),
        "all features by 0.8": (times(0.8), normal, (1, 2, 5, 20, 64)),
    },
    "weights of modes": {
        "0.6 for 0.5, 12 apart, along a feature": (*modes(12.0, 0.6, "feature"), (1, 2, 5)),
        "0.35 for 0.5, 12 apart, along a diagonal": (*modes(12.0, 0.35, "diagonal"), (2, 5, 20, 64)),
        "0.3 for 0.5, 30 apart, along a feature": (*modes(30.0, 0.3, "feature"), (1, 2, 5, 20, 64)),
    },
    "correlation": {
        "0.3": (correlated(0.3), normal, (2, 5)),
        "0.5": (correlated(0.5), normal, (2, 5, 20, 64)),
        "-0.8": (correlated(-0.8), normal, (2, 5, 20, 64)),
    },
    "tails": {
        "of a Student t, for a normal": (heavy, normal, (1, 2, 5, 20, 64)),
        "of a normal, for a Student t": (same, student(3.0, 0.8818), (1, 2, 5, 20, 64)),
        "none beyond 2, for a normal": (
            lambda z, _: Normal(0.0, 1.0).icdf(0.02275 + 0.9545 * Normal(0.0, 1.0).cdf(z)),
            normal,
            (1, 2, 5, 20),
        ),
    },
    "constant": {
        "1.2": (same, lambda z, _: normal(z) + math.log(1.2), (1, 2, 5, 20, 64)),
        "0.8": (same, lambda z, _: normal(z) + math.log(0.8), (1, 2, 5, 20, 64)),
        "(2 pi)^(D/2) forgotten": (same, lambda z, _: -0.5 * z.square().sum(-1), (1, 2, 5, 20, 64)),
    },
    "support": {
        "a normal between -1 and 1": (cut(-1.0, 1.0), only_between(-1.0, 1.0), (1, 2, 5, 20)),
        "a normal above -1": (cut(-1.0, 9.0), only_between(-1.0, 9.0), (1, 2, 5, 20)),
        "a box of side 0.9": (lambda z, g: 0.9 * uniform(z, g), box(0.9), (1, 2, 5, 20)),
    },
    "a mode is never drawn": {
        "one of two": (*modes(12.0, 1.0, "feature"), (1, 2, 5, 20, 64)),
    },
}
FACTORS: dict[str, LogProb] = {
    "exp of the context's first number": lambda z, c: normal(z) + c[..., 0],  # type: ignore[index]
    "forgotten scale, which the context decides": lambda z, c: normal(z) - 0.5 * c.square().sum(-1),  # type: ignore[union-attr]
    "1.5 where the context is positive": lambda z, c: normal(z) + 0.405 * (c[..., 0] > 0),  # type: ignore[index]
}
GOOD: dict[str, tuple[Draw, LogProb, tuple[int, ...]]] = {
    "normal": (same, normal, (1, 2, 5, 20, 64)),
    "box": (uniform, box(1.0), (1, 2, 5, 20)),
    "two modes": (*modes(12.0, 0.5, "diagonal"), (1, 2, 5, 20, 64)),
    "Student t": (heavy, student(3.0, 0.8818), (1, 2, 5, 20)),
}


class Partial(pf.transforms.Transform):
    """A map, number by number, that is right on the data and reaches only a part of the latent space."""

    def __init__(self, forward: Callable[[Tensor], Tensor], inverse: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._forward, self._inverse = forward, inverse

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latent, log_det by differentiation of each number."""
        with torch.enable_grad():
            single = x if x.requires_grad else x.detach().requires_grad_()
            y = self._forward(single)
            slope = torch.autograd.grad(y.sum(), single, create_graph=x.requires_grad)[0]
        keep = x.requires_grad
        return (y if keep else y.detach()), (slope if keep else slope.detach()).abs().log().sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latent to data."""
        x = self._inverse(y)
        return x, -self.forward(x)[1]


MAPS: dict[str, Callable[[], Partial]] = {
    "tanh, whose inverse clamps": lambda: Partial(torch.tanh, lambda y: torch.atanh(y.clamp(-0.9999, 0.9999))),
    "softplus, whose inverse is NaN below 0": lambda: Partial(
        torch.nn.functional.softplus, lambda y: y + torch.log(-torch.expm1(-y))
    ),
    "the identity, whose inverse clamps at 2": lambda: Partial(lambda x: 1.0 * x, lambda y: y.clamp(-2, 2)),
    "a fold of the line": lambda: Partial(torch.abs, torch.abs),
    "exp, whose inverse is NaN below 0": lambda: Partial(torch.exp, torch.log),
}


def base_of(kind: str, name: str, features: int, seed: int = 0) -> Broken:
    """Return a broken base; of the kind "good", one that is right."""
    draw, log_prob, _ = (GOOD if kind == "good" else BASES[kind])[name]
    return Broken(features, draw, log_prob, seed=seed)
