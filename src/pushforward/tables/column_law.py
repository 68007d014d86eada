"""The conditional law of one column of numbers, row by row: mean, standard deviation, quantiles."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pushforward.rows.heads import mixture_cdf
from pushforward.tables.encoders import NumberEncoder

if TYPE_CHECKING:
    import polars as pl

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
GRID = 512  # places at which a law is summed: shares of a row's own range
HALVINGS = 40


def law_of_numbers(encoder: NumberEncoder, share: np.ndarray, mixture: Tensor) -> "pl.DataFrame":
    """Return mean, standard deviation and the 5, 25, 50, 75 and 95 % quantiles of each row's law, in units of x.

    The law is cut to the observed range, as samples are.

    Args:
        encoder: Of the column.
        share: (n, codes), the probabilities of the atoms and, last, of "a number".
        mixture: (n, 3, K), of the places of numbers.
    """
    import polars as pl

    parts = [
        _of_chunk(encoder, share[rows], mixture[rows].double())
        for rows in (slice(start, start + 1024) for start in range(0, len(share), 1024))
    ]
    values = np.concatenate(parts) if parts else np.zeros((0, 2 + len(QUANTILES)))
    return pl.DataFrame(
        {name: values[:, k] for k, name in enumerate(["mean", "std", *(f"q{share:.0%}"[:-1] for share in QUANTILES)])}
    )


def _of_chunk(encoder: NumberEncoder, share: np.ndarray, mixture: Tensor) -> np.ndarray:
    """Return mean, standard deviation and quantiles, (n, 2 + quantiles)."""
    low, high, atoms = encoder.places.low, encoder.places.high, np.array(encoder.places.atoms)
    n = len(share)
    ends = mixture_cdf(mixture, torch.tensor([[low, high]], dtype=torch.float64).expand(n, 2)).numpy()
    inside = np.maximum(ends[:, 1:] - ends[:, :1], 1e-12)

    def cdf(z: np.ndarray) -> np.ndarray:
        numbers = (mixture_cdf(mixture, torch.from_numpy(z)).numpy() - ends[:, :1]) / inside
        of_atoms = (share[:, None, :-1] * (atoms <= z[..., None])).sum(-1)
        return share[:, -1:] * np.clip(numbers, 0, 1) + of_atoms

    # The places of equal steps of probability: quantiles, and with many of them the moments.
    wanted = np.concatenate(((np.arange(GRID) + 0.5) / GRID, QUANTILES))
    left, right = (np.full((n, len(wanted)), min([low, *atoms]) - 1e-9), np.full((n, len(wanted)), max([high, *atoms])))
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        below = cdf(middle) < wanted
        left, right = np.where(below, middle, left), np.where(below, right, middle)
    x = encoder.values_at(right)
    if len(atoms):  # a step of the law is at an atom itself
        nearest = np.abs(right[..., None] - atoms).argmin(-1)
        x = np.where(np.abs(atoms[nearest] - right) < 1e-6, encoder.atoms[nearest], x)
    x = encoder.told(x)
    moments = x[:, :GRID]
    return np.column_stack((moments.mean(1), moments.std(1), x[:, GRID:]))
