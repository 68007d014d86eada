"""The detectors of outliers that others use, fitted to features: forest, neighbours, mixture of Gaussians."""

import warnings
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

TREES, NEIGHBOURS, COMPONENTS = 300, 20, (1, 3, 10)
REGULARIZATION = 1e-3  # added to the variances of standardized features: one-hot ones are linearly dependent


def _forest(x: np.ndarray, seed: int) -> Any:
    from sklearn.ensemble import IsolationForest

    return IsolationForest(n_estimators=TREES, random_state=seed).fit(x)


def _neighbours(x: np.ndarray, seed: int) -> Any:
    from sklearn.neighbors import LocalOutlierFactor

    return LocalOutlierFactor(n_neighbors=NEIGHBOURS, novelty=True).fit(x)


def _mixture(x: np.ndarray, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = [GaussianMixture(k, reg_covar=REGULARIZATION, random_state=seed).fit(x) for k in COMPONENTS]
    return min(fitted, key=lambda one: one.bic(x))


# Name -> from training features and a seed to what has `score_samples`, high where rows are usual.
DETECTORS: MappingProxyType[str, Callable[[np.ndarray, int], Any]] = MappingProxyType(
    {"IsolationForest": _forest, "LocalOutlierFactor": _neighbours, "GaussianMixture": _mixture}
)
