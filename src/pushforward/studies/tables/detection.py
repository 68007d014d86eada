"""Can a classifier tell sampled rows from real ones? The score of the papers on tables (arXiv:2310.09656)."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl

FOLDS = 3
MISSING = "?"  # as what a missing cell of words is seen


def detection_score(real: "pl.DataFrame", sampled: "pl.DataFrame", *, seed: int = 0, threads: int = 2) -> float:
    """Return 2 (1 - AUC), cut at 1: 1 where the classifier does no better than chance, 0 where it is always right.

    AUC is the mean over three stratified folds of XGBoost with its default settings (scikit-learn's gradient boosting
    where XGBoost is not installed), words as columns of 0 and 1, numbers as they are, dates and times as numbers.

    Args:
        real: Rows.
        sampled: As many, with the same columns.
        seed: Seed of the folds.
        threads: That the classifier uses.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    num = min(real.height, sampled.height)
    both = np.hstack([_columns(real[name].head(num), sampled[name].head(num)) for name in real.columns])
    is_real = np.r_[np.ones(num), np.zeros(num)]
    areas = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(both, is_real):
        model = classifier(threads).fit(both[train], is_real[train])
        areas.append(roc_auc_score(is_real[test], model.predict_proba(both[test])[:, 1]))
    return min(2 * (1 - float(np.mean(areas))), 1.0)


def classifier(threads: int) -> Any:
    """Return an untrained classifier: XGBoost's, or scikit-learn's."""
    try:
        from xgboost import XGBClassifier
    except ModuleNotFoundError:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(random_state=0)
    return XGBClassifier(n_jobs=threads)


def _columns(real: "pl.Series", sampled: "pl.Series") -> np.ndarray:
    """Return both below one another, (2 n, columns)."""
    import polars as pl

    if real.dtype == pl.String:
        words = np.array([*real.fill_null(MISSING), *sampled.fill_null(MISSING)])
        return (words[:, None] == np.unique(words)).astype(np.float32)
    return np.concatenate([part.to_physical().cast(pl.Float64).to_numpy() for part in (real, sampled)])[:, None]
