"""What others use to say a number or a class given features: quantiles and log densities, or probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from pushforward.studies.tables.proper_scores import LEVELS

RIDGE = 1.0  # of standardized features
MOST_TREES = 300  # fewer where a tenth of the training rows has long seen nothing better


@dataclass(frozen=True)
class Predicted:
    """What a method says of a number, row by row.

    Attributes:
        quantiles: (n, levels), at `LEVELS`.
        log_prob: (n,), log density of what came, nats; None of a method that has none.
    """

    quantiles: np.ndarray
    log_prob: np.ndarray | None = None


def _alone(x: np.ndarray, y: np.ndarray, test: np.ndarray, came: np.ndarray, seed: int) -> Predicted:
    return Predicted(np.tile(np.quantile(y, LEVELS), (len(test), 1)))


def _linear(x: np.ndarray, y: np.ndarray, test: np.ndarray, came: np.ndarray, seed: int) -> Predicted:
    from scipy.stats import norm
    from sklearn.linear_model import Ridge

    fitted = Ridge(alpha=RIDGE).fit(x, y)
    mean, std = fitted.predict(test), float((y - fitted.predict(x)).std())
    return Predicted(mean[:, None] + std * norm.ppf(LEVELS), norm.logpdf(came, mean, std))


def _trees(x: np.ndarray, y: np.ndarray, test: np.ndarray, came: np.ndarray, seed: int) -> Predicted:
    from sklearn.ensemble import HistGradientBoostingRegressor

    of_levels = [
        HistGradientBoostingRegressor(
            loss="quantile", quantile=level, max_iter=MOST_TREES, early_stopping=True, random_state=seed
        )
        .fit(x, y)
        .predict(test)
        for level in LEVELS
    ]
    return Predicted(np.sort(np.stack(of_levels, 1), 1))


# Name -> from training features and numbers, test features and what came there, and a seed.
REGRESSORS: MappingProxyType[str, Callable[..., Predicted]] = MappingProxyType(
    {"boosted quantiles": _trees, "linear, Gaussian": _linear, "the column alone": _alone}
)


def _tree_classes(x: np.ndarray, y: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    fitted = HistGradientBoostingClassifier(max_iter=MOST_TREES, early_stopping=True, random_state=seed).fit(x, y)
    return fitted.classes_, fitted.predict_proba(test)


def _logistic(x: np.ndarray, y: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=1_000).fit(x, y)
    return fitted.classes_, fitted.predict_proba(test)


def _shares(x: np.ndarray, y: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    classes, counts = np.unique(y, return_counts=True)
    return classes, np.tile(counts / len(y), (len(test), 1))


# Name -> from training features and classes, test features and a seed to the classes and their probabilities.
CLASSIFIERS: MappingProxyType[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = MappingProxyType(
    {"boosted trees": _tree_classes, "logistic regression": _logistic, "the column alone": _shares}
)
