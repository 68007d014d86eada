"""The spline as operators of torch, so that autograd, CUDA graphs and `torch.compile` take the kernels as their own."""

import functools
from typing import Any

import torch
from torch import Tensor

from pushforward.kernels.plain_gradient import plain_gradient
from pushforward.kernels.rational_quadratic import plain


@torch.library.custom_op("pushforward::rational_quadratic", mutates_args=())
def _forward_op(values: Tensor, params: Tensor, bins: int, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
    from pushforward.kernels import spline_triton

    return spline_triton.forward(values, params, bins, bound, inverse)


@torch.library.custom_op("pushforward::rational_quadratic_backward", mutates_args=())
def _backward_op(
    by_mapped: Tensor, by_log: Tensor, values: Tensor, params: Tensor, bins: int, bound: float, inverse: bool
) -> tuple[Tensor, Tensor]:
    from pushforward.kernels import spline_triton

    return spline_triton.backward(by_mapped, by_log, values, params, bins, bound, inverse)


@_forward_op.register_fake
def _(values: Tensor, params: Tensor, bins: int, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
    mapped = torch.empty_like(values, memory_format=torch.contiguous_format)
    return mapped, torch.empty_like(mapped)


@_backward_op.register_fake
def _(
    by_mapped: Tensor, by_log: Tensor, values: Tensor, params: Tensor, bins: int, bound: float, inverse: bool
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(values, memory_format=torch.contiguous_format), torch.empty_like(params)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    values, params, *ctx.rest = inputs
    ctx.save_for_backward(values, params)


def _backward(ctx: Any, by_mapped: Tensor, by_log: Tensor) -> tuple[Tensor | None, ...]:
    values, params = ctx.saved_tensors
    bins, bound, inverse = ctx.rest
    if not torch.is_grad_enabled():
        return *_backward_op(by_mapped, by_log, values, params, bins, bound, inverse), None, None, None
    # A gradient that will be differentiated itself: through the plain map.
    again = functools.partial(plain, bins=bins, bound=bound, inverse=inverse)
    return *plain_gradient(again, (values, params), ctx.needs_input_grad[:2], (by_mapped, by_log)), None, None, None


_forward_op.register_autograd(_backward, setup_context=_keep)


def fused(values: Tensor, params: Tensor, bins: int, bound: float, inverse: bool) -> tuple[Tensor, Tensor]:
    """Return what `rational_quadratic` does, computed by one kernel."""
    shape = torch.broadcast_shapes(values.shape, params.shape[:-1])
    rows = values.expand(shape).reshape(-1, shape[-1])
    each = params.expand(*shape, params.shape[-1]).reshape(-1, shape[-1], params.shape[-1])
    mapped, log_slope = _forward_op(rows, each, bins, bound, inverse)
    return mapped.reshape(shape), log_slope.reshape(shape)
