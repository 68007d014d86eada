"""Monotone rational-quadratic splines: the map in plain torch, and the one door to the kernels that stand in for it."""

import math

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

from pushforward.kernels.switch import kernels_are_on, runs_in_c

MIN_SHARE = 1e-3  # the least width and height of a bin, as a share of the box
MIN_SLOPE = 1e-3  # the least slope at a knot
# softplus(SLOPE_AT_ZERO) + MIN_SLOPE = 1: zero parameters give slope 1 at every knot
SLOPE_AT_ZERO = math.log(math.expm1(1 - MIN_SLOPE))


def rational_quadratic(
    values: Tensor, params: Tensor, *, bins: int, bound: float, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Return the spline of K bins on [-bound, bound] at values, or its inverse, and the log of its slope.

    Identity outside the box; arXiv:1906.04032, eqs. 4-8. Inputs are clamped to the box first and the outputs chosen
    afterwards, so values and gradients are finite in the tails.

    Args:
        values: (*batch, n).
        params: (*batch, n, 3 K - 1): raw widths and heights (softmax), raw slopes at the inner knots (softplus). A
            batch axis of size 1 stretches.
        bins: K.
        bound: Half the side of the box.
        inverse: Whether values are heights, and places are asked for.

    Returns:
        The mapped values and log d mapped / d values, both (*batch, n).
    """
    found = None
    if _is_covered(values, params):
        if values.device.type == "cuda":
            from pushforward.kernels.spline_op import fused as on_cuda

            found = on_cuda(values, params, bins, bound, inverse)
        elif runs_in_c(values, params):
            from pushforward.kernels.spline_native import fused as in_c

            found = in_c(values, params, bins, bound, inverse)
    return plain(values, params, bins=bins, bound=bound, inverse=inverse) if found is None else found


def _is_covered(values: Tensor, params: Tensor) -> bool:
    """Return whether a kernel may stand in: not for functions of torch.func, forward-mode duals and other dtypes."""
    return (
        kernels_are_on()
        and values.dtype == params.dtype
        and values.dtype in (torch.float32, torch.float64)
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def plain(values: Tensor, params: Tensor, *, bins: int, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
    """Return what `rational_quadratic` does, in plain torch: the reference of every kernel."""
    # NaN lies inside, as it must come out as NaN.
    inside, clamped = ~(values.abs() > bound), values.clamp(-bound, bound)
    x0, y0, w, h, d0, d1 = _bin(clamped, params, bins, bound, search_heights=inverse)
    # theta in [0, 1] but for rounding at a knot; s, d0, d1 > 0, so numerator and denominator are positive.
    s = h / w
    theta = _theta_of_height(((clamped - y0) / h).clamp(0, 1), s, d0, d1) if inverse else (clamped - x0) / w
    theta = theta.clamp(0, 1)
    rest = theta * (1 - theta)
    denominator = s + (d0 + d1 - 2 * s) * rest
    mapped = x0 + w * theta if inverse else y0 + h * (s * theta.square() + d0 * rest) / denominator
    numerator = d1 * theta.square() + 2 * s * rest + d0 * (1 - theta).square()
    log_slope = 2 * (s.log() - denominator.log()) + numerator.log()  # eq. 5
    return torch.where(inside, mapped, values), torch.where(inside, -log_slope if inverse else log_slope, 0.0)


def _theta_of_height(rise: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """Return the place in a bin, in units of its width, of a height in units of its height."""
    # eqs. 6-8 divided by h: a theta^2 + b theta + c = 0 with c <= 0.
    bend = rise * (d0 + d1 - 2 * s)
    a, b, c = s - d0 + bend, d0 - bend, -s * rise
    # Rounding can take the discriminant below zero; at zero the root's gradient would be infinite.
    root = (b.square() - 4 * a * c).clamp(min=1e-24).sqrt()
    # Of the two forms of one root, the one without cancellation; b < 0 implies a > 0.
    steep, q = b < 0, b.abs() + root
    return torch.where(steep, q, -2 * c) / torch.where(steep, 2 * a, q)


def _bin(values: Tensor, params: Tensor, bins: int, bound: float, *, search_heights: bool) -> tuple[Tensor, ...]:
    """Return the bin of each value: its left knot (x0, y0), width, height and the slopes at both ends."""
    # Parameters first: then every step below runs over long contiguous rows.
    raw = params.movedim(-1, 0).contiguous()
    raw_sizes, raw_slopes = raw.split((2 * bins, bins - 1))
    shares = raw_sizes.reshape(2, bins, *raw_sizes.shape[1:]).softmax(1)
    # The K - 1 inner knots along x and y are running sums of the sizes: one small matrix product.
    sums = raw.new_full((bins - 1, bins), 2 * bound * (1 - MIN_SHARE * bins)).tril()
    least = torch.linspace(1, bins - 1, bins - 1, dtype=raw.dtype, device=raw.device) * (2 * bound * MIN_SHARE) - bound
    knots = (torch.matmul(sums, shares.flatten(2)) + least[:, None]).reshape(2, bins - 1, *raw.shape[1:])
    knots, raw_slopes = (part.expand(*part.shape[: -values.ndim], *values.shape) for part in (knots, raw_slopes))
    index = (values >= knots[int(search_heights)]).sum(0, keepdim=True)  # 0..K-1
    ends = torch.cat((index - 1, index)).clamp(0, bins - 2)  # the bin's two knots, as inner knots
    outer = torch.cat((index == 0, index == bins - 1))
    # The ends of the box are knots too, at -bound and bound, with raw slope 0, which is slope 1.
    edges = torch.linspace(-bound, bound, 2, dtype=raw.dtype, device=raw.device).view(2, *[1] * values.ndim)
    corners = torch.where(outer, edges, knots.gather(1, ends.expand(2, *ends.shape)))  # (x and y, both ends, N)
    left, right = corners.unbind(1)
    raw_ends = torch.where(outer, 0.0, raw_slopes.gather(0, ends))
    d0, d1 = (functional.softplus(raw_ends + SLOPE_AT_ZERO) + MIN_SLOPE).unbind(0)
    return *left.unbind(0), *(right - left).unbind(0), d0, d1
