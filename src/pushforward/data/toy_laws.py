"""The laws of the toy data: each knows its log-density per label, how to draw, and its entropy."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pushforward.data.toy_density import Density, grid_entropy
from pushforward.errors import require_number
from pushforward.numerics.default_device import on_the_cpu

_LOG_2PI = math.log(2 * math.pi)
# Gaussian tails are cut at this many standard deviations in entropy quadratures: what is left out is below 1e-17.
_TAIL = 9.0
_AT_ONCE = 2**17  # terms of a mixture, rows times centres, that stay in the cache of the processor


def _log_mixture(x: Tensor, centres: Tensor, log_weights: Tensor, sigma: float) -> Tensor:
    """Log of sum_k w_k N(x; c_k, sigma^2 I), rows x (n, 2), centres (K, 2), log_weights (K,)."""
    bias = log_weights - centres.square().sum(-1) / (2 * sigma**2)
    rows = max(_AT_ONCE // len(centres), 32)
    return torch.cat([_log_mixture_of_few(few, centres, bias, sigma) for few in x.split(rows)])


def _log_mixture_of_few(x: Tensor, centres: Tensor, bias: Tensor, sigma: float) -> Tensor:
    # |x - c|^2 is expanded so that the (n, K) work is one matrix product; float64 bears the cancellation.
    exponents = torch.addmm(bias, x, centres.T / sigma**2)
    largest = exponents.amax(-1, keepdim=True)
    # Far terms are raised to e^-600 of the largest: below that exp gives denormal numbers, ten times slower.
    log_sum = (exponents - largest).clamp(min=-600).exp().sum(-1).log() + largest.squeeze(-1)
    return log_sum - x.square().sum(-1) / (2 * sigma**2) - _LOG_2PI - 2 * math.log(sigma)


def _around(points: Tensor, margin: float) -> tuple[list[float], list[float]]:
    """Corners of the rectangle that leaves a margin around the points."""
    return (points.amin(0) - margin).tolist(), (points.amax(0) + margin).tolist()


class GaussianPeaks(Density):
    """Mixture of round Gaussians of one width; several peaks may share a label.

    Args:
        centres: One centre a peak.
        sigma: Standard deviation of every peak.
        weights: Probability of each peak, summing to one.
        labels: Label of each peak, from 0 on without gaps.
    """

    @on_the_cpu()
    def __init__(
        self, centres: Sequence[tuple[float, float]], sigma: float, weights: Sequence[float], labels: Sequence[int]
    ) -> None:
        sigma = require_number("sigma", sigma, above=0)
        self.centres = torch.tensor(centres, dtype=torch.float64)
        self.sigma = sigma
        self.weights = torch.tensor(weights, dtype=torch.float64)
        self.labels = torch.tensor(labels)
        self.label_proportions = tuple(self.weights[self.labels == k].sum().item() for k in range(max(labels) + 1))

    def _log_prob_by_label(self, x: Tensor) -> Tensor:
        columns = []
        for label, share in enumerate(self.label_proportions):
            own = self.labels == label
            columns.append(_log_mixture(x, self.centres[own], (self.weights[own] / share).log(), self.sigma))
        return torch.stack(columns, -1)

    def _draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        weights = self.weights * (self.labels == labels[:, None])
        centres = self.centres[torch.multinomial(weights, 1, generator=generator).squeeze(1)]
        return centres + self.sigma * torch.randn(centres.shape, dtype=torch.float64, generator=generator)

    def _entropy(self, label: int | None) -> float:
        low, high = _around(self.centres, _TAIL * self.sigma)
        return grid_entropy(lambda x: self.log_prob(x, label=label), low, high, step=self.sigma / 2)


class NoisyCurves(Density):
    """Points spread along curves, one curve a label, all equally likely, plus round Gaussian noise.

    p(x | label) = ∫ N(x; c(u), noise^2 I) w(u) du over u in [0, 1], by Gauss-Legendre quadrature with a number of nodes
    that grows with length / noise. The error of log p is below 1e-9 near the curves and below 1e-6 within three of
    their radii; further out it is small beside log p. The cost of `log_prob` grows with 1 / noise, that of `entropy`
    with its square, from some noise on with its cube.

    Args:
        curves: u (n,) -> points (n, 2).
        length: Length of the longest curve.
        noise: Standard deviation of the noise.
        power: w(u) = power u^(power - 1), the law of v^(1/power) for a uniform v.
    """

    @on_the_cpu()
    def __init__(
        self, curves: Sequence[Callable[[Tensor], Tensor]], *, length: float, noise: float, power: int = 1
    ) -> None:
        from scipy.special import roots_legendre

        noise = require_number("noise", noise, above=0)
        self.curves, self.noise, self.power = tuple(curves), noise, power
        self.label_proportions = (1 / len(self.curves),) * len(self.curves)
        # Nodes are at most 0.63 noise apart in the middle of the curve, much closer at its ends.
        roots, weights = roots_legendre(max(32, math.ceil(2.5 * length / noise)))
        nodes = (torch.from_numpy(roots) + 1) / 2
        self.nodes = [curve(nodes) for curve in self.curves]
        self.log_weights = (torch.from_numpy(weights) / 2 * power * nodes ** (power - 1)).log()

    def _log_prob_by_label(self, x: Tensor) -> Tensor:
        return torch.stack([_log_mixture(x, nodes, self.log_weights, self.noise) for nodes in self.nodes], -1)

    def _draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        u = torch.rand(len(labels), dtype=torch.float64, generator=generator) ** (1 / self.power)
        points = torch.stack([curve(u) for curve in self.curves])[labels, torch.arange(len(labels))]
        return points + self.noise * torch.randn(points.shape, dtype=torch.float64, generator=generator)

    def _entropy(self, label: int | None) -> float:
        low, high = _around(torch.cat(self.nodes), _TAIL * self.noise)
        return grid_entropy(lambda x: self.log_prob(x, label=label), low, high, step=self.noise / 2)


class NoisyCircles(Density):
    """Points spread evenly over circles around the origin, all equally likely, plus round Gaussian noise.

    With r = |x|:  p(x | R) = exp(-(r^2 + R^2) / (2 s^2)) I0(r R / s^2) / (2 pi s^2), I0 the modified Bessel function.

    Args:
        radii: Radius R of each circle; its position is the label.
        noise: Standard deviation s of the noise.
    """

    @on_the_cpu()
    def __init__(self, radii: Sequence[float], *, noise: float) -> None:
        noise = require_number("noise", noise, above=0)
        self.radii, self.noise = torch.tensor(radii, dtype=torch.float64), noise
        self.label_proportions = (1 / len(radii),) * len(radii)

    def _log_prob_by_label(self, x: Tensor) -> Tensor:
        r, variance = x.norm(dim=-1, keepdim=True), self.noise**2
        # i0e(k) = exp(-k) I0(k): the exponentials together are exp(-(r - R)^2 / (2 s^2)), which cannot overflow.
        log_bessel = torch.special.i0e(r * self.radii / variance).log()
        return log_bessel - (r - self.radii).square() / (2 * variance) - _LOG_2PI - math.log(variance)

    def _draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        angle = 2 * math.pi * torch.rand(len(labels), dtype=torch.float64, generator=generator)
        points = self.radii[labels, None] * torch.stack([angle.cos(), angle.sin()], -1)
        return points + self.noise * torch.randn(points.shape, dtype=torch.float64, generator=generator)

    def _entropy(self, label: int | None) -> float:
        edge = self.radii.max().item() + _TAIL * self.noise
        return grid_entropy(lambda x: self.log_prob(x, label=label), (-edge, -edge), (edge, edge), step=self.noise / 2)


class Squares(Density):
    """Uniform on equal, disjoint squares, [left, left + side) x [bottom, bottom + side); -inf outside.

    Args:
        corners: Lower left corner of each square; its position is the label.
        side: Side of the squares.
    """

    @on_the_cpu()
    def __init__(self, corners: Sequence[tuple[float, float]], side: float) -> None:
        self.corners, self.side = torch.tensor(corners, dtype=torch.float64), side
        self.label_proportions = (1 / len(corners),) * len(corners)

    def _log_prob_by_label(self, x: Tensor) -> Tensor:
        offset = x[:, None] - self.corners
        inside = ((offset >= 0) & (offset < self.side)).all(-1)
        value = torch.full_like(offset[..., 0], -2 * math.log(self.side)).masked_fill(~inside, -torch.inf)
        return value.masked_fill(x.isnan().any(-1, keepdim=True), torch.nan)

    def _draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        u = torch.rand(len(labels), 2, dtype=torch.float64, generator=generator)
        # A millionth of the side stays free at the edges, so that rounding to float32 moves no point out of its square.
        return self.corners[labels] + self.side * u.clamp(1e-6, 1 - 1e-6)

    def _entropy(self, label: int | None) -> float:
        num_squares = len(self.corners) if label is None else 1
        return math.log(num_squares * self.side**2)


class Parabola(Density):
    """x2 ~ N(0, 1) and x1 ~ N(x2^2, noise^2): a bent Gaussian, without labels.

    Args:
        noise: Standard deviation of x1 about the parabola.
    """

    @on_the_cpu()
    def __init__(self, *, noise: float) -> None:
        noise = require_number("noise", noise, above=0)
        self.noise = noise

    def _log_prob_by_label(self, x: Tensor) -> Tensor:
        first, second = x[:, :1], x[:, 1:]
        squares = second.square() + ((first - second.square()) / self.noise).square()
        return -squares / 2 - _LOG_2PI - math.log(self.noise)

    def _draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        first, second = torch.randn(len(labels), 2, dtype=torch.float64, generator=generator).unbind(-1)
        return torch.stack([second.square() + self.noise * first, second], -1)

    def _entropy(self, label: int | None) -> float:
        return _LOG_2PI + 1 + math.log(self.noise)


class TwistedArms(Density):
    """Gaussian arms around the origin, twisted into a pinwheel, all arms equally likely.

    Arm k: u ~ N((1, 0), diag(radial^2, tangential^2)); x = scale R(2 pi k / num_arms + rate exp|u|) u with R(a) the
    rotation by a. The twist depends on |u| alone, so it preserves area and is undone by x's own radius: the density is
    closed. (The usual pinwheel twists by exp(u1), which folds.)

    Args:
        num_arms: Number of arms; the arm is the label.
        radial: Standard deviation along an arm.
        tangential: Standard deviation across it.
        rate: Strength of the twist.
        scale: Factor on everything.
    """

    @on_the_cpu()
    def __init__(self, num_arms: int, *, radial: float, tangential: float, rate: float, scale: float) -> None:
        radial, tangential = (
            require_number("radial", radial, above=0),
            require_number("tangential", tangential, above=0),
        )
        self.num_arms, self.rate, self.scale = num_arms, rate, scale
        self.widths = torch.tensor([radial, tangential], dtype=torch.float64)
        self.label_proportions = (1 / num_arms,) * num_arms

    def _angle(self, radius: Tensor, arm: Tensor) -> Tensor:
        # No point lies 50 widths out, and exp must not overflow for one that is asked about.
        return 2 * math.pi * arm.double() / self.num_arms + self.rate * radius.clamp(max=50).exp()

    def _log_prob_by_label(self, x: Tensor) -> Tensor:
        u = x[:, None] / self.scale
        turned = _rotate(u, -self._angle(u.norm(dim=-1), torch.arange(self.num_arms)))
        standard = (turned - turned.new_tensor([1.0, 0.0])) / self.widths
        return -standard.square().sum(-1) / 2 - _LOG_2PI - self.widths.log().sum() - 2 * math.log(self.scale)

    def _draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        u = self.widths * torch.randn(len(labels), 2, dtype=torch.float64, generator=generator)
        u[:, 0] += 1
        return self.scale * _rotate(u, self._angle(u.norm(dim=-1), labels))

    def _entropy(self, label: int | None) -> float:
        if label is not None:
            return _LOG_2PI + 1 + self.widths.log().sum().item() + 2 * math.log(self.scale)
        edge = self.scale * (1 + _TAIL * self.widths.max().item())
        step = self.scale * self.widths.min().item() / 5
        return grid_entropy(self.log_prob, (-edge, -edge), (edge, edge), step=step)


def _rotate(u: Tensor, angle: Tensor) -> Tensor:
    """Rotate points (..., 2) by angles (...), which broadcast."""
    first, second = u.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * first - sin * second, sin * first + cos * second], -1)
