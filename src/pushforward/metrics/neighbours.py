"""How near do generated rows come to given ones? Near the training rows it tells copies from new rows."""

from typing import Any

import torch
from torch import Tensor

from pushforward.errors import require_count
from pushforward.numerics.arrays import as_tensor
from pushforward.numerics.threads import threads


@threads(1)
def nearest_neighbour_distance(a: Any, b: Any, *, batch_size: int = 1024) -> Tensor:
    """Return the Euclidean distance of each row of a to the nearest row of b, (n,), float64.

    With b the training rows: generated rows much nearer than held-out real ones are copies, much farther ones have left
    the data.

    Args:
        a: (n, D), tensor or array.
        b: (m, D), m at least 1.
        batch_size: Rows of a compared at once; it does not change the result.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> nearest_neighbour_distance([[0.0, 0.0], [3.0, 5.0]], [[0.0, 1.0], [0.0, 0.0]])
        tensor([0., 5.], dtype=torch.float64)
    """
    batch_size = require_count("batch_size", batch_size)
    a, b = as_tensor(a, "a").detach().double().cpu(), as_tensor(b, "b").detach().double().cpu()
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(b):
        raise ValueError(
            f"a and b must be rows (n, D) and (m, D) of the same D, at least one in b; got {tuple(a.shape)} and "
            f"{tuple(b.shape)}."
        )
    # Without the shortcut through a matrix product, whose rounding hides that a row is a copy.
    exact = "donot_use_mm_for_euclid_dist"
    nearest = [torch.cdist(rows, b, compute_mode=exact).amin(1) for rows in a.split(batch_size)]
    return torch.cat(nearest)
