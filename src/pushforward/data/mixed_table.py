"""A table of mixed columns whose law is known: what a model of rows is measured against."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.errors import InputError, require_count, require_number, require_seed

KINDS = ("van", "car", "bike")
SHARES = np.array([0.2, 0.5, 0.3])
TRIPS = np.array([2.0, 5.0, 9.0])  # mean of the count, given the kind
FREE = np.array([0.1, 0.3, 0.6])  # probability that nothing is paid, given the kind
FEE, PER_TRIP, FEE_WIDTH = 1.0, 0.15, 0.4  # log of the amount paid: mean for no trip, more for each, standard deviation
SPEED = np.array([0.0, 1.0, -1.0])  # mean of the first of the pair, given the kind
SLOPE, PAIR_WIDTH = 0.8, 0.6
MOST_TRIPS = 80  # beyond lies less than 1e-40
COLUMNS = ("kind", "trips", "paid", "speed", "load")


@dataclass(frozen=True)
class MixedLaw:
    """The law of `mixed_table`: exact log probabilities of rows and of any of their cells.

    kind: a category. trips | kind: Poisson. paid | kind, trips: 0 with a probability, else log-normal. speed | kind and
    load | speed: normal.
    """

    def log_prob(self, rows: Any, given: Sequence[str] = ()) -> np.ndarray:
        """Return the log probability of each row's cells, in nats: (rows,), float64.

        Probabilities of kind, trips and of paid = 0, densities of the other amounts, speed and load. Missing cells, and
        columns that are not there, are left out of the event, exactly: the others' marginal.

        Args:
            rows: A polars frame with some of the columns of `mixed_table`.
            given: Columns whose cells are given instead.

        Raises:
            InputError: If a column or a kind is unknown.
        """
        if unknown := [name for name in (*rows.columns, *given) if name not in COLUMNS]:
            raise InputError(f'the law has no column "{unknown[0]}" (columns: {", ".join(COLUMNS)})')
        whole = self._marginal(rows)
        return whole - self._marginal(rows.select(list(given))) if given else whole

    def _marginal(self, rows: Any) -> np.ndarray:
        """Sum over the kinds and the numbers of trips that the cells allow."""
        there = {name: rows[name].to_numpy() if name in rows.columns else None for name in COLUMNS}
        trips = np.arange(MOST_TRIPS + 1)
        # (rows, kinds, trips)
        total = np.log(SHARES)[:, None] + _log_poisson(trips, TRIPS[:, None])[None]
        total = np.repeat(total, rows.height, axis=0)
        if there["kind"] is not None:
            if others := set(there["kind"]) - {*KINDS, None}:
                raise InputError(f'the law has no kind "{min(others)}" (kinds: {", ".join(KINDS)})')
            kind = np.array([KINDS.index(name) if name is not None else -1 for name in there["kind"]])[:, None, None]
            total = np.where((kind < 0) | (np.arange(len(KINDS))[:, None] == kind), total, -np.inf)
        if (count := _cells(there["trips"])) is not None:
            total = np.where(np.isnan(count) | (trips == count), total, -np.inf)
        if (paid := _cells(there["paid"])) is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                log_paid = np.log(paid)
                amount = _log_normal(log_paid, FEE + PER_TRIP * trips, FEE_WIDTH) - log_paid
            free = FREE[:, None]
            term = np.where(paid == 0, np.log(free), np.log1p(-free) + amount)
            total = total + np.where(np.isnan(paid), 0.0, np.where(paid < 0, -np.inf, term))
        total = total + self._pair(_cells(there["speed"]), _cells(there["load"]))
        top = total.max(axis=(1, 2), keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        with np.errstate(divide="ignore"):
            return np.log(np.exp(total - top).sum(axis=(1, 2))) + top[:, 0, 0]

    @staticmethod
    def _pair(speed: np.ndarray | None, load: np.ndarray | None) -> np.ndarray:
        """Return log p(speed, load | kind), of those that are there: (rows or 1, kinds, 1)."""
        mean = SPEED[:, None]
        nothing = np.full((1, 1, 1), np.nan)
        speed, load = nothing if speed is None else speed, nothing if load is None else load
        alone = _log_normal(load, SLOPE * mean, math.hypot(SLOPE, PAIR_WIDTH))
        term = np.where(np.isnan(speed), 0.0, _log_normal(speed, mean, 1.0))
        after = np.where(np.isnan(speed), alone, _log_normal(load, SLOPE * speed, PAIR_WIDTH))
        return term + np.where(np.isnan(load), 0.0, after)


def mixed_table(num_rows: int, *, missing: float = 0.2, seed: int = 0) -> tuple[Any, MixedLaw]:
    """Draw a table of a category, a count, an amount with an atom at 0 and a correlated pair, and return its law.

    Args:
        num_rows: Number of rows.
        missing: Probability of each cell to be missing, whatever it and the others are.
        seed: Decides the rows.

    Returns:
        A polars frame with the columns kind (text), trips (integer), paid, speed and load (real), and its `MixedLaw`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from pushforward.data import mixed_table
        >>> rows, law = mixed_table(100, missing=0.0)
        >>> law.log_prob(rows).shape, law.log_prob(rows, given=["kind"]).shape
        ((100,), (100,))
    """
    import polars as pl

    num_rows, missing = require_count("num_rows", num_rows), require_number("missing", missing, least=0, below=1)
    random = np.random.default_rng([require_seed(seed), 15])
    kind = random.choice(len(KINDS), num_rows, p=SHARES)
    trips = random.poisson(TRIPS[kind])
    paid = np.exp(FEE + PER_TRIP * trips + FEE_WIDTH * random.normal(size=num_rows))
    paid[random.random(num_rows) < FREE[kind]] = 0.0
    speed = SPEED[kind] + random.normal(size=num_rows)
    load = SLOPE * speed + PAIR_WIDTH * random.normal(size=num_rows)
    cells: dict[str, Any] = {"kind": np.array(KINDS)[kind], "trips": trips, "paid": paid, "speed": speed, "load": load}
    gone = random.random((num_rows, len(COLUMNS))) < missing
    frame = pl.DataFrame(cells)
    return frame.with_columns(
        pl.when(pl.Series(~gone[:, place])).then(pl.col(name)).alias(name) for place, name in enumerate(COLUMNS)
    ), MixedLaw()


def _cells(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else values.astype(float)[:, None, None]


def _log_normal(x: np.ndarray, mean: Any, width: float) -> np.ndarray:
    return -0.5 * ((x - mean) / width) ** 2 - math.log(width) - 0.5 * math.log(2 * math.pi)


def _log_poisson(count: np.ndarray, mean: np.ndarray) -> np.ndarray:
    from scipy.special import gammaln

    return count * np.log(mean) - mean - gammaln(count + 1)
