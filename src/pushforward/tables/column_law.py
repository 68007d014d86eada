"""The conditional law of one column, row by row: of numbers mean, deviation and quantiles, else probabilities."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pushforward.rows.place_law import PlaceLaw
from pushforward.tables.category_encoder import CategoryEncoder
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.number_cells import from_numbers, months_of_days

if TYPE_CHECKING:
    import polars as pl

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
OUTER = (0.0005, 0.9995)  # quantiles of a row's numbers between which most of the cells lie
CELLS, OUTER_CELLS = 256, 8  # over which moments are summed: between these quantiles, and on either side
HALVINGS = 40
CHUNK = 1024  # rows at a time


def law_of_categories(name: str, encoder: CategoryEncoder, share: np.ndarray) -> "pl.DataFrame":
    """Return the most probable value of the table, and the probability of each, "P(value)", of each row.

    Where another value than those of the table has a probability, it stands last, "P(another value)".

    Args:
        name: Of the column.
        encoder: Of the column.
        share: (n, codes), the probabilities of the categories among themselves.
    """
    import polars as pl

    columns = {f"P({one})": (1 - encoder.other) * share[:, k] for k, one in enumerate(encoder.values)}
    if encoder.other:
        another = "another value"
        while another in encoder.values:
            another = f"yet {another}"
        columns[f"P({another})"] = np.full(len(share), encoder.other)
    return pl.DataFrame([pl.Series(name, encoder.values).gather(share.argmax(1)), *pl.DataFrame(columns)])


def law_of_numbers(encoder: NumberEncoder, share: np.ndarray, numbers: PlaceLaw) -> "pl.DataFrame":
    """Return mean, standard deviation and the 5, 25, 50, 75 and 95 % quantiles of each row's law, in units of x.

    The law is cut to the observed range, as samples are.

    Args:
        encoder: Of the column.
        share: (n, codes), the probabilities of the atoms and, last, of "a number".
        numbers: (n), of the places of numbers.
    """
    import polars as pl

    parts = [
        _of_chunk(encoder, share[rows], numbers[rows])
        for rows in (slice(start, start + CHUNK) for start in range(0, len(share), CHUNK))
    ]
    values = np.concatenate(parts) if parts else np.zeros((0, 2 + len(QUANTILES)))
    return pl.DataFrame(
        {name: values[:, k] for k, name in enumerate(["mean", "std", *(f"q{share:.0%}"[:-1] for share in QUANTILES)])}
    )


def as_cells(encoder: NumberEncoder, values: np.ndarray, *, exact: bool = False) -> "pl.Series":
    """Return means or quantiles of a law of numbers, (n,), as cells of the column: dates as dates, hours within a day.

    Args:
        encoder: Of the column.
        values: As `law_of_numbers` gives them.
        exact: As exact as the column is recorded, as cells of the table are.
    """
    if exact:
        values = encoder.as_recorded(months_of_days(values) if encoder.kind == "month" else values)
    if encoder.circle:
        values = encoder.circle.closed(values)
    return from_numbers("date" if encoder.kind == "month" and not exact else encoder.kind, values)


def _of_chunk(encoder: NumberEncoder, share: np.ndarray, numbers: PlaceLaw) -> np.ndarray:
    """Return mean, standard deviation and quantiles, (n, 2 + quantiles)."""
    low, high, atoms = encoder.places.low, encoder.places.high, np.array(encoder.places.atoms)
    n = len(share)

    def of_numbers(z: np.ndarray) -> np.ndarray:
        return numbers.cdf(torch.from_numpy(z)).numpy()

    def of_all(z: np.ndarray) -> np.ndarray:
        return share[:, -1:] * of_numbers(z) + (share[:, None, :-1] * (atoms <= z[..., None])).sum(-1)

    z = _quantiles(of_all, QUANTILES, n, min([low, *atoms]), max([high, *atoms]))
    x = encoder.values_at(z)
    if len(atoms):  # a step of the law is at an atom itself
        nearest = np.abs(z[..., None] - atoms).argmin(-1)
        x = np.where(np.abs(atoms[nearest] - z) < 1e-6, encoder.atoms[nearest], x)
    x = encoder.told(x)
    outer = _quantiles(of_numbers, OUTER, n, low, high)
    edges = np.concatenate((
        np.linspace(np.full(n, low), outer[:, 0], OUTER_CELLS, endpoint=False),
        np.linspace(outer[:, 0], outer[:, 1], CELLS, endpoint=False),
        np.linspace(outer[:, 1], np.full(n, high), OUTER_CELLS + 1),
    )).T.copy()  # fmt: skip
    edges[:, 0] -= 1e-9  # what lies at the end itself counts
    weight = share[:, -1:] * np.diff(of_numbers(edges), axis=1)
    weight = np.concatenate((weight, share[:, :-1]), 1)
    only_at, middles = numbers.only_at.numpy(), (edges[:, 1:] + edges[:, :-1]) / 2
    middles = encoder.values_at(np.where(np.isnan(only_at), middles, only_at))
    values = encoder.told(np.concatenate((middles, np.broadcast_to(encoder.atoms, (n, len(atoms)))), 1))
    weight /= weight.sum(1, keepdims=True)
    mean = (weight * values).sum(1)
    spread = np.sqrt((weight * (values - mean[:, None]) ** 2).sum(1))
    return np.column_stack((mean, spread, x))


def _quantiles(
    cdf: Callable[[np.ndarray], np.ndarray], shares: Sequence[float], n: int, low: float, high: float
) -> np.ndarray:
    """Return the least z of which cdf(z) is as large as each share, (n, shares), by halving the range."""
    left, right = np.full((n, len(shares)), low - 1e-9), np.full((n, len(shares)), high)
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        below = cdf(middle) < np.asarray(shares)
        left, right = np.where(below, middle, left), np.where(below, right, middle)
    return right
