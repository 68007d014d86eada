"""The spline by itself in C, for conditioners of any kind, with its gradient."""

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from pushforward.kernels.native.library import MOST_BINS, compiled
from pushforward.kernels.plain_gradient import plain_gradient
from pushforward.kernels.rational_quadratic import SLOPE_AT_ZERO, plain
from pushforward.kernels.switch import runs_in_c
from pushforward.numerics.threads import available

# Parameters of all values: below it, handing work to a second thread costs more than it saves.
LEAST_SHARED_NUMBERS = 500_000


def fused(values: Tensor, params: Tensor, bins: int, bound: float, inverse: bool) -> tuple[Tensor, Tensor] | None:
    """Return what `rational_quadratic` does, computed in C; or None where it cannot be."""
    library = compiled(values.dtype) if bins <= MOST_BINS else None
    if library is None:
        return None
    how = bins, bound, inverse
    if not torch.is_grad_enabled() or not (values.requires_grad or params.requires_grad):
        return _map(library, values, params, how)
    # Half the overhead of an operator of torch.library; `torch.compile` needs none, since it fuses the plain version.
    return _Spline.apply(library, values, params, how)


def _map(library: ctypes.CDLL, values: Tensor, params: Tensor, how: tuple[int, float, bool]) -> tuple[Tensor, Tensor]:
    flat, each = _flat(values, params)
    bins, bound, inverse = how
    mapped, log_slope = values.new_empty(values.shape), values.new_empty(values.shape)
    library.spline_map(
        flat.data_ptr(), each.data_ptr(), *each.stride(), flat.numel(), values.shape[-1], bins, bound, SLOPE_AT_ZERO,
        inverse, mapped.data_ptr(), log_slope.data_ptr(), _threads(flat, bins),
    )  # fmt: skip
    return mapped, log_slope


class _Spline(torch.autograd.Function):
    """The spline with its gradient; a gradient that is to be differentiated itself goes through plain torch."""

    @staticmethod
    def forward(
        ctx: Any, library: ctypes.CDLL, values: Tensor, params: Tensor, how: tuple[int, float, bool]
    ) -> tuple[Tensor, Tensor]:
        ctx.library, ctx.how = library, how
        ctx.save_for_backward(values, params)
        return _map(library, values, params, how)

    @staticmethod
    def backward(ctx: Any, by_mapped: Tensor, by_log: Tensor) -> tuple[Any, ...]:
        values, params = ctx.saved_tensors
        bins, bound, inverse = ctx.how
        if torch.is_grad_enabled() or not runs_in_c(by_mapped, by_log):  # to be differentiated, or many at once
            again = functools.partial(plain, bins=bins, bound=bound, inverse=inverse)
            return None, *plain_gradient(again, (values, params), ctx.needs_input_grad[1:3], (by_mapped, by_log)), None
        flat, each = _flat(values, params)
        by_values, by_each = torch.empty_like(flat), torch.empty_like(each)
        by_mapped, by_log = by_mapped.contiguous(), by_log.contiguous()
        ctx.library.spline_gradient(
            by_mapped.data_ptr(), by_log.data_ptr(), flat.data_ptr(), each.data_ptr(), *each.stride(), flat.numel(),
            values.shape[-1], bins, bound, SLOPE_AT_ZERO, inverse, by_values.data_ptr(), by_each.data_ptr(),
            *by_each.stride(), _threads(flat, bins),
        )  # fmt: skip
        by_params = by_each.reshape(*values.shape, by_each.shape[-1]).sum_to_size(params.shape)
        return None, by_values.reshape(values.shape), by_params, None


def _flat(values: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
    """Return values side by side, (R, n), and the parameters of each, (R, n, 3 K - 1), of any strides."""
    n, size = values.shape[-1], params.shape[-1]
    if values.shape != params.shape[:-1]:
        params = params.expand(*values.shape, size)
    if values.ndim != 2:
        rows = values.shape[:-1].numel()
        values, params = values.reshape(rows, n), params.reshape(rows, n, size)
    return values.contiguous(), params


def _threads(flat: Tensor, bins: int) -> int:
    if flat.numel() * (3 * bins - 1) < LEAST_SHARED_NUMBERS:
        return 1
    return min(torch.get_num_threads(), available())
