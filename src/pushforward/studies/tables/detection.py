"""Can boosted trees tell rows that a model drew from real ones? The detection score of papers on synthetic tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import InputError

if TYPE_CHECKING:
    import polars as pl

FOLDS, SEEDS, THREADS = 3, (0, 1, 2), 2
MOST_LEVELS = 100  # of a column of categories that have a feature of their own; rarer ones share one
MISSING = "\0missing"


@dataclass(frozen=True)
class Detection:
    """What trees see between two sets of rows.

    Attributes:
        auc: Area under the curve on rows that the trees did not see, mean over folds and seeds; 0.5 for equal laws.
        score: 2 (1 - AUC), at most 1, mean over folds and seeds: 1 where nothing is seen, 0 where everything is.
        by_seed: The same for each seed.
    """

    auc: float
    score: float
    by_seed: list[float]


def classifier_name() -> str:
    """Return which trees judge: xgboost's where it is installed, scikit-learn's otherwise, in words."""
    try:
        import xgboost
    except ImportError:
        import sklearn

        return f"scikit-learn {sklearn.__version__} HistGradientBoostingClassifier (xgboost is not installed)"
    return f"xgboost {xgboost.__version__} XGBClassifier"


def detect(real: "pl.DataFrame", drawn: "pl.DataFrame", *, seeds: Sequence[int] = SEEDS) -> Detection:
    """Judge rows by trees with default parameters, cross-validated; the larger set is cut at random to the smaller.

    The protocol is that of sdmetrics' detection scores, three stratified folds, with trees in place of its logistic
    regression, as in [1].

    Args:
        real: Rows of the table.
        drawn: Rows with the same columns.
        seeds: Of cuts and folds; each is one cross-validation.

    References:
        [1] Scassola et al. (2026), A sobering look at tabular data generation via probabilistic circuits.
        arXiv:2603.23016.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    areas = []
    for seed in seeds:
        x, y = _labelled(real, drawn, seed)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y)
        areas.append(
            [
                roc_auc_score(y[held], _classifier(seed).fit(x[seen], y[seen]).predict_proba(x[held])[:, 1])
                for seen, held in folds
            ]
        )
    by_seed = [fmean(min(1.0, 2 * (1 - area)) for area in one) for one in areas]
    return Detection(fmean(map(fmean, areas)), fmean(by_seed), by_seed)


def p_value(real: "pl.DataFrame", drawn: "pl.DataFrame", *, seed: int = 0) -> tuple[float, float]:
    """Return the trees' accuracy on a held-out half, and how probable one as high is for equal laws (binomial)."""
    from scipy.stats import binomtest
    from sklearn.model_selection import train_test_split

    x, y = _labelled(real, drawn, seed)
    seen, held = train_test_split(np.arange(len(y)), test_size=0.5, stratify=y, random_state=seed)
    correct = int((_classifier(seed).fit(x[seen], y[seen]).predict(x[held]) == y[held]).sum())
    return correct / len(held), float(binomtest(correct, len(held), 0.5, alternative="greater").pvalue)


def _classifier(seed: int) -> Any:
    try:
        from xgboost import XGBClassifier
    except ImportError:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(random_state=seed)
    return XGBClassifier(random_state=seed, n_jobs=THREADS)


def _labelled(real: "pl.DataFrame", drawn: "pl.DataFrame", seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (2 n, F) and labels (2 n,) of as many real rows, 1, as drawn ones, 0."""
    import polars as pl

    if real.columns != drawn.columns:
        raise InputError(f"the drawn rows have the columns {drawn.columns}; the real ones have {real.columns}")
    size = min(real.height, drawn.height)
    random = np.random.default_rng(seed)
    real, drawn = (rows[np.sort(random.permutation(rows.height)[:size])] for rows in (real, drawn))
    x = [
        _features(pl.concat([_plain(real[name]), _plain(drawn[name].cast(real.schema[name]))])) for name in real.columns
    ]
    return np.concatenate(x, 1), np.repeat((1, 0), size)


def _plain(column: "pl.Series") -> "pl.Series":
    """Return a column as real numbers or as text; dates as their distance from 1970."""
    import polars as pl

    number = column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == pl.Boolean
    return column.to_physical().cast(pl.Float64) if number else column.cast(pl.String)


def _features(column: "pl.Series") -> np.ndarray:
    """Return numbers as they are, missing ones NaN, which the trees handle; categories one-hot, missing one of them."""
    import polars as pl

    if column.dtype != pl.String:
        return column.to_numpy().astype(np.float32)[:, None]
    levels, codes, counts = np.unique(
        column.fill_null(MISSING).to_numpy().astype(str), return_inverse=True, return_counts=True
    )
    rank = np.empty(len(levels), int)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(levels))
    width = min(len(levels), MOST_LEVELS + 1)
    return np.eye(width, dtype=np.float32)[np.minimum(rank[codes], width - 1)]
