"""Jacobians of a map's rows by automatic differentiation, and how rounding errors grow through them."""

from collections.abc import Callable

import torch
from torch import Tensor

# (x, *context) -> y, log_det
Map = Callable[..., tuple[Tensor, Tensor]]

# Jacobians of about so many numbers are in memory at once.
CHUNK_NUMBERS = 1 << 22


def derivatives(forward: Map, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
    """Return dy/dx, (N, D, D), and d log_det/dx, (N, D), by one backward pass for each output.

    Args:
        forward: (N, D) and context -> y (N, D), log_det (N,); no row may depend on another.
        x: (N, D).
        context: Nothing, or (N, C).
    """
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        y, log_det = forward(x.clone(), *context)
        rows = [
            torch.autograd.grad(output.sum(), x, retain_graph=True, materialize_grads=True)[0]
            if output.requires_grad
            else torch.zeros_like(x)
            for output in (*y.unbind(-1), log_det)
        ]
    return torch.stack(rows[:-1], 1), rows[-1]


def sensitivity(forward: Map, x_size: Tensor, y_size: Tensor, x: Tensor, *context: Tensor) -> list[Tensor]:
    """Return for each row in float64, with J = dy/dx and absolute values taken of each element:

    log|det J|, (N,); d log_det/dx, (N, D); |J^-1| y_size and |J| x_size, (N, D); tr(|J^-1| |J|), (N,). To first order a
    relative error eps of y moves x by eps |J^-1| |y|, and one of J moves log|det J| by eps tr(|J^-1| |J|).

    Args:
        forward: As for `derivatives`.
        x_size: Magnitude of x, (N, D).
        y_size: Magnitude of y, (N, D).
        x: (N, D).
        context: Nothing, or (N, C).
    """  # noqa: D415
    pieces = []
    rows = max(1, CHUNK_NUMBERS // x.shape[-1] ** 2)
    for x_piece, y_piece, *own in zip(*(part.split(rows) for part in (x_size, y_size, x, *context)), strict=True):
        jacobian, slope = (part.double() for part in derivatives(forward, *own))
        size, backward = jacobian.abs(), torch.linalg.inv_ex(jacobian).inverse.abs()
        of_x, of_y = (backward @ y_piece[..., None]).squeeze(-1), (size @ x_piece[..., None]).squeeze(-1)
        log_det = torch.linalg.slogdet(jacobian).logabsdet
        pieces.append((log_det, slope, of_x, of_y, (backward * size.mT).sum((-2, -1))))
    return [torch.cat(parts) for parts in zip(*pieces, strict=True)]
