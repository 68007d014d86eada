"""A row of cells as numbers, as both networks take it."""

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 4096  # rows at a time: the activations of more leave the cache


def split(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes (integers), places and halves, (n, D) each, of rows (n, 3 D)."""
    code, z, half = rows.unflatten(1, (3, -1)).unbind(1)
    return code.long(), z, half


def in_chunks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Return function(rows) one chunk of rows after the other."""
    if len(rows) <= CHUNK:
        return function(rows)
    return torch.cat([function(part) for part in rows.split(CHUNK)])
