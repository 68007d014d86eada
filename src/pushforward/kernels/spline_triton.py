"""The rational-quadratic spline in Triton: one element a lane, its parameters read once from memory, nothing between.

The equations are those of `rational_quadratic.plain`. One parameter of all features lies side by side, so neighbouring
lanes read neighbouring numbers; of the three passes over them (largest, sum, search) the last two meet the cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pushforward.kernels.rational_quadratic import MIN_SHARE, MIN_SLOPE, SLOPE_AT_ZERO

BLOCK, WARPS = 256, 4

# One compiled kernel serves all sizes and strides: to know them would help none of its loads.
_SIZES = [
    "size", "n", "gm_row", "gm_step", "gl_row", "gl_step", "v_row", "v_step", "p_row", "p_feature", "p_step", "g_row",
    "g_feature", "g_step",
]  # fmt: skip
# No argument of a kernel may be called `params`: Triton's own launcher uses the name.
# Named constants, and constants as parameters, reach a kernel in double precision; a variable would be float32.
_SHARE = tl.constexpr(MIN_SHARE)
_SLOPE = tl.constexpr(MIN_SLOPE)
_ZERO = tl.constexpr(SLOPE_AT_ZERO)


@triton.jit
def _over(a, b):
    """Return a / b, rounded as plain torch rounds it: Triton's own quotient of float32 is approximate."""
    if a.dtype == tl.float32:
        return tl.div_rn(a, b)
    return a / b


@triton.jit
def _softplus_and_slope(x):
    """Return log(1 + exp(x)), to the last digits where it is small, and its derivative."""
    e = tl.exp(-tl.abs(x))
    u = 1 + e
    # log1p by Kahan's quotient: u - 1 is what u has kept of e
    rest = tl.where(u == 1, e, tl.log(u) * (e / tl.where(u == 1, 1.0, u - 1)))
    return tl.maximum(x, 0.0) + rest, tl.where(x >= 0, 1.0, e) / u


@triton.jit
def _bin(
    v, base, step, mask, BOUND: tl.constexpr, STRETCH: tl.constexpr, K: tl.constexpr, SEARCH_HEIGHTS: tl.constexpr
):
    """Return the bin of v: number, left and right knot along x and y, running shares there, the softmaxes' scales."""
    zero = tl.zeros_like(v)
    most_w = tl.load(base, mask, 0.0)
    most_h = tl.load(base + K * step, mask, 0.0)
    for k in tl.range(1, K):
        most_w = tl.maximum(most_w, tl.load(base + k * step, mask, 0.0))
        most_h = tl.maximum(most_h, tl.load(base + (K + k) * step, mask, 0.0))
    sum_w, sum_h = zero, zero
    for k in tl.range(0, K):
        sum_w += tl.exp(tl.load(base + k * step, mask, 0.0) - most_w)
        sum_h += tl.exp(tl.load(base + (K + k) * step, mask, 0.0) - most_h)
    cum_w, cum_h = zero, zero
    left_w, left_h = zero - BOUND, zero - BOUND
    number = zero.to(tl.int32)
    x0, x1, y0, y1 = left_w, left_w, left_h, left_h
    share_w0, share_w1, share_h0, share_h1 = cum_w, cum_w, cum_h, cum_h
    for k in tl.range(0, K):
        before_w, before_h = cum_w, cum_h
        cum_w += _over(tl.exp(tl.load(base + k * step, mask, 0.0) - most_w), sum_w)
        cum_h += _over(tl.exp(tl.load(base + (K + k) * step, mask, 0.0) - most_h), sum_h)
        least = (zero + (k + 1)) * (2 * BOUND * _SHARE) - BOUND
        right_w = cum_w * STRETCH + least
        right_h = cum_h * STRETCH + least
        if k == K - 1:  # the end of the box is a knot exactly
            right_w = zero + BOUND
            right_h = zero + BOUND
        reached = left_w
        if SEARCH_HEIGHTS:
            reached = left_h
        here = (v >= reached) | (k == 0)
        number = tl.where(here, k, number)
        x0, x1 = tl.where(here, left_w, x0), tl.where(here, right_w, x1)
        y0, y1 = tl.where(here, left_h, y0), tl.where(here, right_h, y1)
        share_w0, share_w1 = tl.where(here, before_w, share_w0), tl.where(here, cum_w, share_w1)
        share_h0, share_h1 = tl.where(here, before_h, share_h0), tl.where(here, cum_h, share_h1)
        left_w, left_h = right_w, right_h
    return number, x0, x1, y0, y1, share_w0, share_w1, share_h0, share_h1, most_w, most_h, sum_w, sum_h


@triton.jit
def _slopes(number, base, step, mask, K: tl.constexpr):
    """Return the slopes at both ends of a bin and their derivatives by the raw slopes, 0 at the ends of the box."""
    raw = base + 2 * K * step
    first, last = number == 0, number == K - 1
    at = number.to(tl.int64)
    d0, by0 = _softplus_and_slope(tl.load(raw + (at - 1) * step, mask & (number > 0), 0.0) + _ZERO)
    d1, by1 = _softplus_and_slope(tl.load(raw + at * step, mask & (number < K - 1), 0.0) + _ZERO)
    return d0 + _SLOPE, d1 + _SLOPE, tl.where(first, 0.0, by0), tl.where(last, 0.0, by1)


@triton.jit
def _place(v, inside, x0, y0, w, h, d0, d1, INVERSE: tl.constexpr):
    """Return theta, the place in the bin from 0 to 1."""
    if INVERSE:
        rise = _to_unit(_over(v - y0, h))
        s = _over(h, w)
        bend = rise * (d0 + d1 - 2 * s)
        a, b, c = s - d0 + bend, d0 - bend, -s * rise
        squared = b * b - 4 * a * c
        root = tl.sqrt(tl.where(squared < 1e-24, 1e-24, squared))
        q = tl.abs(b) + root
        theta = _over(tl.where(b < 0, q, -2 * c), tl.where(b < 0, 2 * a, q))
    else:
        theta = _over(v - x0, w)
    return _to_unit(theta)


@triton.jit
def _to_unit(x):
    """Return x clamped to [0, 1]; NaN stays."""
    return tl.where(x < 0, 0.0, tl.where(x > 1, 1.0, x))


@triton.jit
def _where_rows_are(size, n, BLOCK: tl.constexpr):
    """Return the elements of a block, each one's row and feature, and which exist."""
    element = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return element // n, element % n, element < size


@triton.jit(do_not_specialize=_SIZES)
def _forward_kernel(
    values, raw, mapped, log_slope, size, n, v_row, v_step, p_row, p_feature, p_step,
    BOUND: tl.constexpr, STRETCH: tl.constexpr, K: tl.constexpr, INVERSE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, feature, mask = _where_rows_are(size, n, BLOCK)
    value = tl.load(values + row * v_row + feature * v_step, mask, 0.0)
    inside = ~(tl.abs(value) > BOUND)
    v = tl.where(inside, value, 0.0)
    base = raw + row * p_row + feature * p_feature
    number, x0, x1, y0, y1, _, _, _, _, _, _, _, _ = _bin(v, base, p_step, mask, BOUND, STRETCH, K, INVERSE)
    w, h = x1 - x0, y1 - y0
    d0, d1, _, _ = _slopes(number, base, p_step, mask, K)
    theta = _place(v, inside, x0, y0, w, h, d0, d1, INVERSE)
    s, rest = _over(h, w), theta * (1 - theta)
    denominator = s + (d0 + d1 - 2 * s) * rest
    numerator = d1 * theta * theta + 2 * s * rest + d0 * (1 - theta) * (1 - theta)
    log = 2 * (tl.log(s) - tl.log(denominator)) + tl.log(numerator)
    if INVERSE:
        result, log = x0 + w * theta, -log
    else:
        result = y0 + _over(h * (s * theta * theta + d0 * rest), denominator)
    out = row * n + feature
    tl.store(mapped + out, tl.where(inside, result, value), mask)
    tl.store(log_slope + out, tl.where(inside, log, 0.0), mask)


@triton.jit(do_not_specialize=_SIZES)
def _backward_kernel(
    by_mapped, by_log, values, raw, by_values, by_raw, size, n,
    gm_row, gm_step, gl_row, gl_step, v_row, v_step, p_row, p_feature, p_step, g_row, g_feature, g_step,
    BOUND: tl.constexpr, STRETCH: tl.constexpr, K: tl.constexpr, INVERSE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, feature, mask = _where_rows_are(size, n, BLOCK)
    value = tl.load(values + row * v_row + feature * v_step, mask, 0.0)
    g = tl.load(by_mapped + row * gm_row + feature * gm_step, mask, 0.0)
    q = tl.load(by_log + row * gl_row + feature * gl_step, mask, 0.0)
    inside = ~(tl.abs(value) > BOUND)
    v = tl.where(inside, value, 0.0)
    base = raw + row * p_row + feature * p_feature
    number, x0, x1, y0, y1, share_w0, share_w1, share_h0, share_h1, most_w, most_h, sum_w, sum_h = _bin(
        v, base, p_step, mask, BOUND, STRETCH, K, INVERSE
    )
    w, h = x1 - x0, y1 - y0
    d0, d1, by_raw0, by_raw1 = _slopes(number, base, p_step, mask, K)
    theta = _place(v, inside, x0, y0, w, h, d0, d1, INVERSE)
    s, rest = _over(h, w), theta * (1 - theta)
    # F = y0 + h N / D and L = 2 (log s - log D) + log M, each by theta, s, d0, d1 (and F by h)
    N = s * theta * theta + d0 * rest
    D = s + (d0 + d1 - 2 * s) * rest
    M = d1 * theta * theta + 2 * s * rest + d0 * (1 - theta) * (1 - theta)
    F_theta = h * s * M / (D * D)
    F_s = h * (theta * theta * D - N * (1 - 2 * rest)) / (D * D)
    F_d0 = h * rest * (D - N) / (D * D)
    F_d1 = -h * rest * N / (D * D)
    D_theta = (d0 + d1 - 2 * s) * (1 - 2 * theta)
    L_theta = 2 * (d1 * theta + s * (1 - 2 * theta) - d0 * (1 - theta)) / M - 2 * D_theta / D
    L_s = 2 / s - 2 * (1 - 2 * rest) / D + 2 * rest / M
    L_d0 = (1 - theta) * (1 - theta) / M - 2 * rest / D
    L_d1 = theta * theta / M - 2 * rest / D
    if INVERSE:
        # x = x0 + w theta with F(theta) = y: d theta = (dy - the other parts of dF) / F_theta
        by_theta = g * w - q * L_theta
        along = by_theta / F_theta
        by_value = along
        a, q = -along, -q
        by_x0, by_w = g, g * theta
    else:
        by_theta = g * F_theta + q * L_theta
        by_value = by_theta / w
        a = g
        by_x0, by_w = -by_value, -by_value * theta
    by_s = a * F_s + q * L_s
    by_h = a * N / D + by_s / w  # s = h / w
    by_w -= by_s * s / w
    by_y0 = a
    by_d0, by_d1 = a * F_d0 + q * L_d0, a * F_d1 + q * L_d1
    tl.store(by_values + row * n + feature, tl.where(inside, tl.where(value == value, by_value, 0.0), g), mask)

    # From the knots to the shares: knot j = STRETCH * (sum of the shares before it) + a constant; the ends do not move.
    left, right = inside & (number > 0), inside & (number < K - 1)
    w_left = tl.where(left, STRETCH * (by_x0 - by_w), 0.0)
    w_right = tl.where(right, STRETCH * by_w, 0.0)
    h_left = tl.where(left, STRETCH * (by_y0 - by_h), 0.0)
    h_right = tl.where(right, STRETCH * by_h, 0.0)
    mean_w = w_left * share_w0 + w_right * share_w1  # of the softmax's backward
    mean_h = h_left * share_h0 + h_right * share_h1
    slope0 = tl.where(left, by_d0 * by_raw0, 0.0)
    slope1 = tl.where(right, by_d1 * by_raw1, 0.0)
    into = by_raw + row * g_row + feature * g_feature
    for k in tl.range(0, K):
        share_w = _over(tl.exp(tl.load(base + k * p_step, mask, 0.0) - most_w), sum_w)
        share_h = _over(tl.exp(tl.load(base + (K + k) * p_step, mask, 0.0) - most_h), sum_h)
        by_share_w = tl.where(k < number, w_left, 0.0) + tl.where(k <= number, w_right, 0.0) - mean_w
        by_share_h = tl.where(k < number, h_left, 0.0) + tl.where(k <= number, h_right, 0.0) - mean_h
        tl.store(into + k * g_step, share_w * by_share_w, mask)
        tl.store(into + (K + k) * g_step, share_h * by_share_h, mask)
    for k in tl.range(0, K - 1):
        by_slope = tl.where(k == number - 1, slope0, 0.0) + tl.where(k == number, slope1, 0.0)
        tl.store(into + (2 * K + k) * g_step, by_slope, mask)


def _constants(bins: int, bound: float, inverse: bool) -> dict[str, float]:
    stretch = 2 * bound * (1 - MIN_SHARE * bins)
    return {"BOUND": bound, "STRETCH": stretch, "K": bins, "INVERSE": inverse, "BLOCK": BLOCK}


def forward(values: Tensor, params: Tensor, bins: int, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
    """Return mapped values and log slopes, (R, n), of values (R, n) and params (R, n, 3 K - 1) of any strides."""
    mapped, log_slope = (torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(2))
    if values.numel():
        _forward_kernel[(triton.cdiv(values.numel(), BLOCK),)](
            values, params, mapped, log_slope, values.numel(), values.shape[1], *values.stride(), *params.stride(),
            **_constants(bins, bound, inverse), num_warps=WARPS,
        )  # fmt: skip
    return mapped, log_slope


def backward(
    by_mapped: Tensor, by_log: Tensor, values: Tensor, params: Tensor, bins: int, bound: float, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of values, (R, n), and of params, (R, n, 3 K - 1), laid out as params are."""
    by_values = torch.empty_like(values, memory_format=torch.contiguous_format)
    by_params = torch.empty_like(params)
    if values.numel():
        _backward_kernel[(triton.cdiv(values.numel(), BLOCK),)](
            by_mapped, by_log, values, params, by_values, by_params, values.numel(), values.shape[1],
            *by_mapped.stride(), *by_log.stride(), *values.stride(), *params.stride(), *by_params.stride(),
            **_constants(bins, bound, inverse), num_warps=WARPS,
        )  # fmt: skip
    return by_values, by_params
