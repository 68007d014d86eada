"""What a user hands to a flow as rows of data and their context, checked."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import InputError
from pushforward.flows.units import parameters_in
from pushforward.numerics.arrays import as_tensor


def device_of(model: nn.Module) -> torch.device | None:
    """Return where the tensors of a model are, or None where it has none."""
    for tensors in (parameters_in(model), model.buffers()):
        for tensor in tensors:
            return tensor.device
    return None


def read_rows(flow: Any, x: Any, context: Any) -> tuple[Tensor, Tensor | None]:
    """Return rows x as a floating-point tensor, (*batch, D), where the flow is, and their context by `read_context`.

    Raises:
        InputError: If x has another shape, is elsewhere, or holds integers, with the remedy.
    """
    x, features = as_tensor(x, "x", device_of(flow)), flow.features
    if x.ndim == 0 or x.shape[-1] != features:
        flat = x.ndim > 2 and math.prod(x.shape[1:]) == features
        remedy = ": flatten images, channels first, with x.flatten(1)" if flat else ""
        raise InputError(f"x must have {features} features on the last axis; got shape {tuple(x.shape)}{remedy}.")
    if not x.is_floating_point():
        raise InputError(
            f"x holds integers ({str(x.dtype).removeprefix('torch.')}), which have no density: convert continuous "
            "data with x.float(); for pixel or count data use pf.fit(..., dequantize=256) and "
            "pf.metrics.nll(..., dequantize=256)."
        )
    return x, read_context(flow, context, x.shape[:-1])


def read_context(flow: Any, context: Any, batch: Sequence[int] = ()) -> Tensor | None:
    """Return context as a tensor where the flow is, (C,) or (*batch, C), or None; `check_context` says if it fits.

    ========================  ==================================================================
    (C,), floats              one context for all rows
    (*batch, C)               one for each row; an axis of size 1 stretches
    batch, where C is 1       one number for each row, as `fit` takes it too
    ========================  ==================================================================

    Args:
        flow: What takes it, with `context_features` C.
        context: Whatever the user gave.
        batch: The data's batch shape; for samples, whose batch is the context's own, ().

    Raises:
        InputError: If it is elsewhere, no numbers, or whole numbers (C,), which are labels rather than one context.
    """
    if context is None:
        return None
    context, size = as_tensor(context, "context", device_of(flow)), flow.context_features
    if size == 1 and context.shape != (1,) and (context.ndim == 1 or (batch and tuple(context.shape) == tuple(batch))):
        return context.unsqueeze(-1)
    if size > 1 and context.ndim == 1 and not context.is_floating_point():
        raise InputError(
            f"context is one row of whole numbers, shape {tuple(context.shape)}: labels go in as "
            f"torch.nn.functional.one_hot(labels, {size}); one context of {size} numbers goes in as floats."
        )
    return context
