"""Losses: `(model, batch, generator, **options) -> (B,)`, one number a row; `fit` alone takes their weighted mean."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Batch(NamedTuple):
    """What a loss is given at one step.

    Attributes:
        x: Rows of data, (size, D), or None where the loss needs no data.
        context: (size, C), or None.
        weight: (size,), or None where every row counts the same.
        size: Number of rows.
    """

    x: Tensor | None
    context: Tensor | None
    weight: Tensor | None
    size: int


def nll(model: nn.Module, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
    """Negative log-likelihood of each row in nats, (size,): minimising its mean is maximum likelihood.

    Args:
        model: Anything with `log_prob(x, context)`.
        batch: Rows of data with their context.
        generator: Unused; every loss takes one.
    """
    return -model.log_prob(batch.x, batch.context)  # type: ignore[operator]
