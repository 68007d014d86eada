"""Rows of a mixed table as features for models that take real numbers alone."""

from typing import TYPE_CHECKING

import numpy as np

from pushforward.studies.tables.detection import MISSING

if TYPE_CHECKING:
    import polars as pl


class Features:
    """Numbers standardized, categories one-hot; missing numbers are the median, missing categories one of their own.

    Args:
        rows: Training rows: they give medians, means, standard deviations and categories; a category that is none of
            theirs has no feature.
    """

    def __init__(self, rows: "pl.DataFrame") -> None:
        self._numbers: dict[str, tuple[float, float, float]] = {}
        self._levels: dict[str, np.ndarray] = {}
        for name in rows.columns:
            if rows[name].dtype.is_numeric():
                median = float(np.nanmedian(numbers(rows[name])))
                filled = _filled(rows[name], median)
                self._numbers[name] = (median, float(filled.mean()), deviation(filled))
            else:
                self._levels[name] = np.unique(_texts(rows[name]))

    def __call__(self, rows: "pl.DataFrame") -> np.ndarray:
        """Return features, (n, F)."""
        columns = []
        for name, (median, mean, std) in self._numbers.items():
            columns.append((_filled(rows[name], median)[:, None] - mean) / std)
        for name, levels in self._levels.items():
            columns.append((_texts(rows[name])[:, None] == levels).astype(float))
        return np.concatenate(columns, 1)


def numbers(column: "pl.Series") -> np.ndarray:
    """Return the cells of a column of numbers, (n,), NaN where none is."""
    import polars as pl

    return column.cast(pl.Float64).to_numpy()


def deviation(values: np.ndarray) -> float:
    """Return the standard deviation of values, NaN left out; 1 where it is 0."""
    return float(np.nanstd(values)) or 1.0


def numbers_of(rows: "pl.DataFrame") -> list[str]:
    """Return the names of the columns that hold numbers."""
    return [name for name, dtype in rows.schema.items() if dtype.is_numeric()]


def of_known_categories(rows: "pl.DataFrame", train: "pl.DataFrame") -> "pl.DataFrame":
    """Return the rows whose categories the training rows all have: of others no conditional law is known."""
    import polars as pl

    categories = [name for name in rows.columns if name not in numbers_of(rows)]
    known = [
        pl.col(name).is_null() | pl.col(name).is_in(train[name].drop_nulls().unique().to_list()) for name in categories
    ]
    return rows.filter(*known) if known else rows


def _filled(column: "pl.Series", value: float) -> np.ndarray:
    cells = numbers(column)
    return np.where(np.isnan(cells), value, cells)


def _texts(column: "pl.Series") -> np.ndarray:
    import polars as pl

    return column.cast(pl.String).fill_null(MISSING).to_numpy().astype(str)
