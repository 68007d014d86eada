"""Numbers, dates and times as one kind of number: days or months for dates, seconds for times, moments, durations."""

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
    elif kind == "month":
        cells = cells.cast(pl.Date)
        since = (cells.dt.year() - 1970) * 12 + cells.dt.month().cast(pl.Int32) - 1
        cells = since + (cells.dt.day() - 1) / cells.dt.days_in_month()
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
    if kind in ("real", "periodic"):
        return cells
    if kind in ("integer", "date"):
        cells = cells.round().cast(pl.Int64)
        return cells if kind == "integer" else cells.cast(pl.Int32).cast(pl.Date)
    if kind == "month":
        months = (
            cells.floor()
            .cast(pl.Int32)
            .to_frame("month")
            .select(pl.date(pl.col("month") // 12 + 1970, pl.col("month") % 12 + 1, 1))
        )
        return months.to_series()
    if kind == "time":
        return (cells.clip(0, DAY - 1e-6) * 1e9).round().cast(pl.Int64).cast(pl.Time)
    return (cells * TICKS).round().cast(pl.Int64).cast(pl.Datetime("us") if kind == "moment" else pl.Duration("us"))


def counts_months(dates: np.ndarray) -> bool:
    """Whether distinct dates, in days since 1970, are three or more first days of a month."""
    first = dates.astype("datetime64[D]")
    return len(dates) > 2 and bool((first == first.astype("datetime64[M]").astype("datetime64[D]")).all())


def days_of_months(values: np.ndarray) -> np.ndarray:
    """Return months since 1970, any shape, as days since 1970; a part of a month as the days of it."""
    first = np.floor(values).astype("datetime64[M]")
    start, end = (month.astype("datetime64[D]").astype(float) for month in (first, first + 1))
    return start + (values - np.floor(values)) * (end - start)


def months_of_days(values: np.ndarray) -> np.ndarray:
    """Return days since 1970, any shape, as months since 1970, the days of a month as a part of it."""
    first = np.floor(values).astype("datetime64[D]").astype("datetime64[M]")
    start, end = (month.astype("datetime64[D]").astype(float) for month in (first, first + 1))
    return first.astype(float) + (values - start) / (end - start)


def decimals_of(values: np.ndarray) -> int | None:
    """Return with how many decimals values are recorded, at most 9; None for more."""
    for decimals in range(MOST_DECIMALS + 1):
        with np.errstate(over="ignore"):
            rounded = np.round(values, decimals)
        if (np.abs(rounded - values) <= 1e-12 * np.abs(values)).all():
            return decimals
    return None
