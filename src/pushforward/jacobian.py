"""Jacobians by automatic differentiation, one a row: slow, and true whatever the map."""

from collections.abc import Callable

import torch
from torch import Tensor

# Rows differentiated at once hold about this many numbers.
CHUNK_NUMBERS = 1 << 16


def row_jacobians(function: Callable[..., Tensor], x: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    """Return d function(row)/d row of every row, and the values.

    Every row is given alone, as a batch of one. Functions that `torch.func.vmap` cannot take (they branch on values, say)
    are differentiated row by row and output by output.

    Args:
        function: (1, D) and one row of each of the others -> (1, M).
        x: (N, D).
        others: More arguments, (N, ...) each, not differentiated.

    Returns:
        Jacobians (N, M, D) and values (N, M), without gradients.

    Raises:
        RuntimeError: If the values do not depend on x by operations that autograd knows.
    """

    def row(x: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        value = function(x[None], *(other[None] for other in others))[0]
        return value, value

    with torch.enable_grad():
        try:
            rows = max(1, CHUNK_NUMBERS // x.shape[-1] ** 2)
            jacobians, values = torch.func.vmap(torch.func.jacrev(row, has_aux=True), chunk_size=rows)(x, *others)
        except Exception:  # an error of the function's own is raised again below
            pairs = [_row_jacobian(row, *parts) for parts in zip(x, *others, strict=True)]
            jacobians, values = (torch.stack(part) for part in zip(*pairs, strict=True))
    return jacobians.detach(), values.detach()


def _row_jacobian(row: Callable[..., tuple[Tensor, Tensor]], x: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value, _ = row(x, *others)
    if not value.requires_grad:
        raise RuntimeError("the result does not depend on x by operations that autograd knows")
    gradients = [torch.autograd.grad(v, x, retain_graph=True, materialize_grads=True)[0] for v in value]
    return torch.stack(gradients), value
