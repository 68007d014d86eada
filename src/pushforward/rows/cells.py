"""A row of cells as numbers, as both networks take it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 4096  # rows at a time: the activations of more leave the cache


@dataclass(frozen=True)
class Places:
    """Where on its scale a column's cells lie: a cell that is drawn must look to the network as one that was read.

    Attributes:
        low: The least z of a number.
        high: The greatest.
        atoms: (codes of single values,), the z of each.
        cells: Of a column recorded in steps: from places, float64, to the middles of the cells that they lie in, and
            half their widths.
    """

    low: float = 0.0
    high: float = 0.0
    atoms: tuple[float, ...] = ()
    cells: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None

    def cells_at(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return places as they are read, and halves of their cells: 0 where the column has a density."""
        return (z, torch.zeros_like(z)) if self.cells is None else self.cells(z)


def split(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes (integers), places and halves, (n, D) each, of rows (n, 3 D)."""
    code, z, half = rows.unflatten(1, (3, -1)).unbind(1)
    return code.long(), z, half


def in_chunks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Return function(rows) one chunk of rows after the other."""
    if len(rows) <= CHUNK:
        return function(rows)
    return torch.cat([function(part) for part in rows.split(CHUNK)])
