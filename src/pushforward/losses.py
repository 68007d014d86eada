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


def bottleneck(
    model: nn.Module, batch: Batch, generator: torch.Generator | None = None, *, k: int, weight: float = 1.0
) -> Tensor:
    """Negative log-likelihood plus the error of rebuilding each row from its first k latent dimensions, (size,).

    The other latent dimensions are set to zero before decoding, not in the likelihood: nll(x) + weight |x - decode(z_1,
    ..., z_k, 0, ..., 0)|^2 with z = encode(x). The latent is thereby sorted, what matters most for the picture first.

    Args:
        model: A flow, or anything with `encode_and_log_prob` and `decode`.
        batch: Rows of data with their context.
        generator: Unused; every loss takes one.
        k: Number of latent dimensions kept, from 1 to D.
        weight: Of the squared error, summed over the features in squared units of x. 1 / (2 sigma^2) makes it, up to a
            constant, the nats of Gaussian noise of standard deviation sigma around the rebuilt row.

    Raises:
        ValueError: If k is not from 1 to D, or the weight is negative.

    Example:
        >>> import pushforward as pf
        >>> from functools import partial
        >>> flow = pf.recipes.realnvp(3, num_layers=2)
        >>> history = pf.fit(flow, torch.randn(100, 3), loss=partial(bottleneck, k=2), num_steps=5, progress=False)
    """
    z, log_prob = model.encode_and_log_prob(batch.x, batch.context)  # type: ignore[operator]
    if not isinstance(k, int) or not 1 <= k <= z.shape[-1]:
        raise ValueError(f"k must be an integer from 1 to {z.shape[-1]}, the number of features; got {k!r}.")
    if not weight >= 0:
        raise ValueError(f"weight must not be negative; got {weight!r}.")
    kept = torch.cat([z[..., :k], torch.zeros_like(z[..., k:])], -1)
    rebuilt = model.decode(kept, batch.context)  # type: ignore[operator]
    return weight * (batch.x - rebuilt).square().sum(-1) - log_prob
