"""Monotone rational-quadratic splines inside a box, identity outside."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.errors import require_count, require_number
from pushforward.specification import Specified
from pushforward.transforms.univariate import Univariate

MOST_BINS = 500
MIN_SHARE = 1e-3  # the least width and height of a bin, as a share of the box
MIN_SLOPE = 1e-3  # the least slope at a knot
# softplus(SLOPE_AT_ZERO) + MIN_SLOPE = 1: zero parameters give slope 1 at every knot
SLOPE_AT_ZERO = math.log(math.expm1(1 - MIN_SLOPE))


@dataclass(frozen=True)
class RationalQuadratic(Specified, Univariate):
    """Monotone rational-quadratic spline of K bins on [-bound, bound], identity outside (arXiv:1906.04032, eqs. 4-8).

    Parameters of one feature: K raw widths, K raw heights (softmax), K - 1 raw slopes at the inner knots (softplus);
    the slope at both ends of the box is 1, so the map is continuously differentiable. Inputs are clamped to the box
    first and the outputs chosen afterwards, so values and gradients are finite in the tails; the inverse's discriminant
    is kept above zero, where rounding could take it below.

    Args:
        bins: Number of bins K, at least 2.
        bound: Half the side of the box, in units of x, positive.

    Raises:
        InputError: If `bins` is not an integer from 2 to 500, or `bound` not above 0 and finite.
    """

    bins: int = 8
    bound: float = 5.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bins", require_count("bins", self.bins, 2, MOST_BINS))
        object.__setattr__(self, "bound", require_number("bound", self.bound, above=0))

    @property
    def num_params(self) -> int:  # noqa: D102
        return 3 * self.bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        inside, clamped = self._clamp(x)
        x0, y0, w, h, d0, d1 = self._bin(clamped, params, search_heights=False)
        # theta in [0, 1] but for rounding at a knot; s, d0, d1 > 0, so numerator and denominator are positive.
        theta = ((clamped - x0) / w).clamp(0, 1)
        s = h / w
        rest = theta * (1 - theta)
        denominator = s + (d0 + d1 - 2 * s) * rest
        y = y0 + h * (s * theta.square() + d0 * rest) / denominator
        return torch.where(inside, y, x), torch.where(inside, _log_slope(theta, rest, s, d0, d1, denominator), 0.0)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        inside, clamped = self._clamp(y)
        x0, y0, w, h, d0, d1 = self._bin(clamped, params, search_heights=True)
        s = h / w
        # eqs. 6-8 divided by h: rise = (y - y0) / h in [0, 1], a theta^2 + b theta + c = 0 with c <= 0.
        rise = ((clamped - y0) / h).clamp(0, 1)
        bend = rise * (d0 + d1 - 2 * s)
        a, b, c = s - d0 + bend, d0 - bend, -s * rise
        # Rounding can take the discriminant below zero; at zero the root's gradient would be infinite.
        root = (b.square() - 4 * a * c).clamp(min=1e-24).sqrt()
        # Of the two forms of one root, the one without cancellation; b < 0 implies a > 0.
        steep, q = b < 0, b.abs() + root
        theta = (torch.where(steep, q, -2 * c) / torch.where(steep, 2 * a, q)).clamp(0, 1)
        rest = theta * (1 - theta)
        denominator = s + (d0 + d1 - 2 * s) * rest
        x = x0 + w * theta
        return torch.where(inside, x, y), torch.where(inside, -_log_slope(theta, rest, s, d0, d1, denominator), 0.0)

    def _clamp(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return where x lies in the box or is NaN (which must come out as NaN), and x clamped to the box."""
        return ~(x.abs() > self.bound), x.clamp(-self.bound, self.bound)

    def _bin(self, values: Tensor, params: Tensor, *, search_heights: bool) -> tuple[Tensor, ...]:
        """Return the bin of each value: its left knot (x0, y0), width, height and the slopes at both ends."""
        K, bound = self.bins, self.bound
        # Parameters first: then every step below runs over long contiguous rows.
        raw = params.movedim(-1, 0).contiguous()
        raw_sizes, raw_slopes = raw.split((2 * K, K - 1))
        shares = raw_sizes.unflatten(0, (2, K)).softmax(1)
        # The K - 1 inner knots along x and y are running sums of the sizes: one small matrix product.
        sums = raw.new_full((K - 1, K), 2 * bound * (1 - MIN_SHARE * K)).tril()
        least = torch.linspace(1, K - 1, K - 1, dtype=raw.dtype, device=raw.device) * (2 * bound * MIN_SHARE) - bound
        knots = (torch.matmul(sums, shares.flatten(2)) + least[:, None]).unflatten(-1, raw.shape[1:])
        knots, raw_slopes = (part.expand(*part.shape[: -values.ndim], *values.shape) for part in (knots, raw_slopes))
        index = (values >= knots[int(search_heights)]).sum(0, keepdim=True)  # 0..K-1
        ends = torch.cat((index - 1, index)).clamp(0, K - 2)  # the bin's two knots, as inner knots
        outer = torch.cat((index == 0, index == K - 1))
        # The ends of the box are knots too, at -bound and bound, with raw slope 0, which is slope 1.
        edges = torch.linspace(-bound, bound, 2, dtype=raw.dtype, device=raw.device).view(2, *[1] * values.ndim)
        corners = torch.where(outer, edges, knots.gather(1, ends.expand(2, *ends.shape)))  # (x and y, both ends, N)
        left, right = corners.unbind(1)
        raw_ends = torch.where(outer, 0.0, raw_slopes.gather(0, ends))
        d0, d1 = (functional.softplus(raw_ends + SLOPE_AT_ZERO) + MIN_SLOPE).unbind(0)
        return *left.unbind(0), *(right - left).unbind(0), d0, d1


def _log_slope(theta: Tensor, rest: Tensor, s: Tensor, d0: Tensor, d1: Tensor, denominator: Tensor) -> Tensor:
    """Return log dy/dx, eq. 5."""
    numerator = d1 * theta.square() + 2 * s * rest + d0 * (1 - theta).square()
    return 2 * (s.log() - denominator.log()) + numerator.log()
