"""The imputers that others use, each from training rows to rows filled once or more."""

import warnings
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.studies.tables.features import numbers_of

if TYPE_CHECKING:
    import polars as pl

DRAWS = 20
MOST_DONORS, NEIGHBOURS = 3_000, 10
MEDIAN = "median or mode"

Imputer = Callable[["pl.DataFrame", "pl.DataFrame", int], "list[pl.DataFrame]"]  # training rows, rows, seed


def _median_or_mode(train: "pl.DataFrame", rows: "pl.DataFrame", seed: int) -> "list[pl.DataFrame]":
    import polars as pl

    numbers = numbers_of(train)
    usual = {
        name: train[name].median() if name in numbers else train[name].drop_nulls().mode().sort()[0]
        for name in train.columns
    }
    real = rows.with_columns(pl.col(numbers).cast(pl.Float64))
    return [real.with_columns(pl.col(name).fill_null(value) for name, value in usual.items())]


def _neighbours(train: "pl.DataFrame", rows: "pl.DataFrame", seed: int) -> "list[pl.DataFrame]":
    from sklearn.impute import KNNImputer

    donors = np.random.default_rng(seed).permutation(train.height)[:MOST_DONORS]
    imputer = KNNImputer(n_neighbors=NEIGHBOURS, weights="distance", keep_empty_features=True)
    return _standardized(train, rows, lambda x, y: [imputer.fit(x[donors]).transform(y)])


def _regressions(train: "pl.DataFrame", rows: "pl.DataFrame", seed: int) -> "list[pl.DataFrame]":
    return _standardized(train, rows, lambda x, y: [_iterative(x, seed, draws=False).transform(y)])


def _drawn_regressions(train: "pl.DataFrame", rows: "pl.DataFrame", seed: int) -> "list[pl.DataFrame]":
    def filled(x: np.ndarray, y: np.ndarray) -> Iterable[np.ndarray]:
        imputer = _iterative(x, seed, draws=True)
        return [imputer.transform(y) for _ in range(DRAWS)]  # each goes on with the imputer's random numbers

    return _standardized(train, rows, filled)


def _iterative(x: np.ndarray, seed: int, *, draws: bool) -> Any:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return IterativeImputer(
        sample_posterior=draws, random_state=seed, min_value=np.nanmin(x, 0), max_value=np.nanmax(x, 0)
    ).fit(x)


def _standardized(
    train: "pl.DataFrame", rows: "pl.DataFrame", filled: Callable[[np.ndarray, np.ndarray], Iterable[np.ndarray]]
) -> "list[pl.DataFrame]":
    """Return the numbers of rows filled by what takes those of training rows and rows, (n, F), NaN where none is."""
    import polars as pl

    names = numbers_of(train)
    x, y = (part.select(pl.col(names).cast(pl.Float64)).to_numpy() for part in (train, rows))
    mean, std = np.nanmean(x, 0), np.nanstd(x, 0)
    std = np.where(std > 0, std, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ten rounds of regressions did not converge
        found = list(filled((x - mean) / std, (y - mean) / std))
    return [pl.from_numpy(one * std + mean, schema=names) for one in found]


IMPUTERS: MappingProxyType[str, Imputer] = MappingProxyType(
    {
        MEDIAN: _median_or_mode,
        "KNNImputer": _neighbours,
        "IterativeImputer": _regressions,
        f"IterativeImputer, {DRAWS} draws": _drawn_regressions,
    }
)
