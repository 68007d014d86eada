"""How good laws of one number are beside what came: CRPS and pinball losses, coverage, and errors of shares."""

import math

import numpy as np

from pushforward.tables.column_law import QUANTILES

LEVELS = np.array(QUANTILES)  # of the quantiles that every method gives


def crps_of_draws(draws: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""Return the CRPS of ensembles:  mean |x_i - y| - 1 / (2 m^2) sum_ij |x_i - x_j|  [1, eq. 21].

    Args:
        draws: (m, n), the ensembles.
        y: (n,), what came.

    Returns:
        (n,), in units of y.

    References:
        [1] Gneiting & Raftery (2007), Strictly proper scoring rules, prediction, and estimation.
    """
    m = len(draws)
    # sum_ij |x_i - x_j| = 2 sum_i (2 i - m - 1) x_(i) of the draws in order, i from 1.
    weights = 2 * np.arange(1, m + 1) - m - 1
    return np.abs(draws - y).mean(0) - weights @ np.sort(draws, 0) / m**2


def pinball(quantiles: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the losses of quantiles at `LEVELS`, (n, levels), whose expectation the true quantile makes least."""
    above = y[:, None] - quantiles
    return np.maximum(LEVELS * above, (LEVELS - 1) * above)


def crps_of_quantiles(quantiles: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return twice the mean pinball loss over `LEVELS`, (n,): of all levels between 0 and 1 it would be the CRPS."""
    return 2 * pinball(quantiles, y).mean(1)


def share_inside(low: np.ndarray, high: np.ndarray, y: np.ndarray) -> float:
    """Return the share of values between two ends, these included."""
    return float(((low <= y) & (y <= high)).mean())


def standard_error(values: np.ndarray) -> float:
    """Return that of the mean of independent values."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def error_of_share(level: float, known: int, fresh: int) -> tuple[float, float]:
    """Return mean and standard deviation of the share of fresh rows whose conformal p-value is at most a level.

    With k = floor(level (known + 1)) the share is beta(k, known + 1 - k) over draws of the known rows, and of `fresh`
    rows beta-binomial, where no two scores are equal.

    Args:
        level: Of the p-values.
        known: Number of rows that p-values compare with.
        fresh: Number of rows that have them.
    """
    mean = math.floor(level * (known + 1) + 1e-9) / (known + 1)
    return mean, math.sqrt(mean * (1 - mean) * (known + 1 + fresh) / (fresh * (known + 2)))
