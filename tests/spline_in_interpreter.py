"""Run by test_spline_kernel.py in a process of its own: the Triton kernels in Triton's interpreter, on the CPU.

TRITON_INTERPRET=1 python spline_in_interpreter.py results.pt
"""

import sys

import torch

from pushforward.kernels import spline_triton
from pushforward.kernels.rational_quadratic import plain

BOUND = 5.0


def given(bins, rows=120, features=3):
    generator = torch.Generator().manual_seed(bins)
    raw = 2 * torch.randn(rows, (3 * bins - 1) * features, generator=generator, dtype=torch.float64)
    values = 2.5 * torch.randn(rows, features, generator=generator, dtype=torch.float64)
    values[0] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    values[1] = torch.tensor([1e30, -1e30, BOUND])
    values[2] = torch.tensor([0.0, -0.0, 1e-300])
    by = torch.randn(2, rows, features, generator=generator, dtype=torch.float64)
    return values, raw, by


def in_kernel(values, raw, by, bins, inverse):
    params = raw.unflatten(-1, (3 * bins - 1, values.shape[-1])).transpose(-1, -2)
    mapped, log_slope = spline_triton.forward(values, params, bins, BOUND, inverse)
    by_values, by_params = spline_triton.backward(*by, values, params, bins, BOUND, inverse)
    assert by_params.stride() == params.stride()
    return mapped, log_slope, by_values, by_params.transpose(-1, -2).flatten(1)


def in_torch(values, raw, by, bins, inverse):
    values, raw = values.clone().requires_grad_(), raw.clone().requires_grad_()
    params = raw.unflatten(-1, (3 * bins - 1, values.shape[-1])).transpose(-1, -2)
    found = plain(values, params, bins=bins, bound=BOUND, inverse=inverse)
    return *(part.detach() for part in found), *torch.autograd.grad(found, (values, raw), tuple(by))


def strided(bins=4):
    """Return results for rows of other strides, and for parameters that all rows share."""
    values, raw, _ = given(bins)
    params = raw.unflatten(-1, (3 * bins - 1, 3)).transpose(-1, -2)
    pairs = {}
    for name, v, p in [
        ("transposed", values.T.contiguous().T, params.contiguous()),
        ("shared", values, params[3:4].expand_as(params)),
        ("no rows", values[:0], params[:0]),
    ]:
        pairs[name] = (
            spline_triton.forward(v, p, bins, BOUND, False),
            plain(v, p, bins=bins, bound=BOUND, inverse=False),
        )
    return pairs


def main(path):
    results = {}
    for bins in (2, 8, 17):
        for inverse in (False, True):
            values, raw, by = given(bins)
            results["exact", bins, inverse] = in_torch(values, raw, by, bins, inverse)
            for dtype in (torch.float64, torch.float32):
                parts = values.to(dtype), raw.to(dtype), by.to(dtype), bins, inverse
                results["kernel", dtype, bins, inverse] = in_kernel(*parts)
                results["plain", dtype, bins, inverse] = in_torch(*parts)
    torch.save({"results": results, "strided": strided()}, path)


if __name__ == "__main__":
    main(sys.argv[1])
