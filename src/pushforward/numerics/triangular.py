"""Triangular systems of equations, in operators that an exported program may hold."""

from collections.abc import Callable

import torch
from torch import Tensor

_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)  # torch 2.6 has none


def solve_triangular(matrix: Tensor, columns: Tensor, *, upper: bool) -> Tensor:
    """Return x with matrix x = columns: (D, D) and (D, N) -> (D, N).

    While a program is exported it is written out as D substitutions: ONNX has no operator for it.

    Args:
        matrix: Upper or lower triangular, without a zero on its diagonal.
        columns: Right-hand sides.
        upper: Whether it is the upper one.
    """
    if not _exporting():
        return torch.linalg.solve_triangular(matrix, columns, upper=upper)
    if upper:
        return _substituted(matrix.flip((0, 1)), columns.flip(0)).flip(0)
    return _substituted(matrix, columns)


def _substituted(lower: Tensor, columns: Tensor) -> Tensor:
    """Return x by forward substitution, a row after the other."""
    found = columns[:1] / lower[:1, :1]
    for row in range(1, len(lower)):
        left = columns[row : row + 1] - lower[row : row + 1, :row] @ found
        found = torch.cat((found, left / lower[row : row + 1, row : row + 1]))
    return found
