"""Numbers, dates and times as one kind of number: days for dates, seconds for times, moments and durations."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

TICKS = 1e6  # microseconds in a second: what moments and durations are kept in
MOST_DECIMALS = 9  # a column with more is not recorded in decimals
DAY = 86_400.0


def to_numbers(kind: str, cells: "pl.Series") -> np.ndarray:
    """Return the cells of a column of numbers, dates or times as numbers, (n,), float64; NaN where one is missing."""
    import polars as pl

    if kind == "date":
        cells = cells.cast(pl.Date).to_physical()
    elif kind == "time":
        cells = cells.cast(pl.Time).to_physical() / 1e9
    elif kind == "moment":
        cells = cells.cast(pl.Datetime("us")).to_physical() / TICKS
    elif kind == "duration":
        cells = cells.cast(pl.Duration("us")).to_physical() / TICKS
    return cells.cast(pl.Float64).to_numpy().copy()


def from_numbers(kind: str, values: np.ndarray) -> "pl.Series":
    """Return cells out of numbers, null for NaN."""
    import polars as pl

    cells = pl.Series(values, nan_to_null=True)
    if kind == "real":
        return cells
    if kind in ("integer", "date"):
        cells = cells.round().cast(pl.Int64)
        return cells if kind == "integer" else cells.cast(pl.Int32).cast(pl.Date)
    if kind == "time":
        return (cells.clip(0, DAY - 1e-6) * 1e9).round().cast(pl.Int64).cast(pl.Time)
    return (cells * TICKS).round().cast(pl.Int64).cast(pl.Datetime("us") if kind == "moment" else pl.Duration("us"))


def decimals_of(values: np.ndarray) -> int | None:
    """Return with how many decimals values are recorded, at most 9; None for more."""
    for decimals in range(MOST_DECIMALS + 1):
        with np.errstate(over="ignore"):
            rounded = np.round(values, decimals)
        if (np.abs(rounded - values) <= 1e-12 * np.abs(values)).all():
            return decimals
    return None


def grid_of(values: np.ndarray, unit: float) -> float:
    """Return the largest multiple of a unit by which all values differ; 0 if some differ by another."""
    ticks = (values - values[0]) / unit
    whole = np.round(ticks)
    if np.abs(ticks - whole).max(initial=0.0) > 1e-3 or np.abs(whole).max(initial=0.0) > 2**52:
        return 0.0
    return float(np.gcd.reduce(whole.astype(np.int64))) * unit or unit
