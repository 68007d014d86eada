"""Is the latent of held-out data standard normal? Moments, Q-Q points and a test with its null by simulation."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class LatentNormality:
    """How far latent points are from N(0, I).

    Attributes:
        mean: (D,), 0 if normal.
        std: (D,), 1 if normal.
        skewness: (D,), 0 if normal.
        kurtosis: (D,), excess kurtosis, 0 if normal.
        max_correlation: Largest |correlation| between two dimensions, 0 where D = 1.
        kolmogorov: (D,), largest distance between the empirical and the normal distribution function.
        normal_quantiles: (Q,), the horizontal axis of a Q-Q plot.
        quantiles: (Q, D), the vertical one: the quantiles of each dimension.
        statistic: Unbiased squared MMD between the points and N(0, I) itself, Gaussian kernel of width sqrt(2 D): about 0
            if normal.
        p_value: Share of simulated normal samples with as large a statistic, at least 1 / (num_simulations + 1).
        num_rows: Number of points.
        num_rows_tested: Number of points behind `statistic`. With enough points any trained flow is told from a perfect
            one, so read the distances above as well.
    """

    mean: Tensor
    std: Tensor
    skewness: Tensor
    kurtosis: Tensor
    max_correlation: float
    kolmogorov: Tensor
    normal_quantiles: Tensor
    quantiles: Tensor
    statistic: float
    p_value: float
    num_rows: int
    num_rows_tested: int


def latent_normality(
    z: Any, *, num_quantiles: int = 99, num_simulations: int = 199, max_rows: int = 1000, seed: int = 0
) -> LatentNormality:
    """Compare latent points with N(0, I), the base of a flow; for held-out data, since training data look better.

    Args:
        z: (n, D), n at least 8, finite; tensor or array.
        num_quantiles: Points of the Q-Q curve, evenly spaced in probability.
        num_simulations: Normal samples drawn for the null of the statistic.
        max_rows: Most points the statistic looks at, picked at random; its cost is max_rows^2 num_simulations.
        seed: Seed of the pick and the simulation.

    Raises:
        ValueError: If z is not finite rows (n, D), or n is below 8.

    References:
        Baringhaus & Henze (1988), A consistent test for multivariate normality. Metrika 35, 339-348: the statistic, here
        for a known mean and covariance and without its diagonal.
    """
    z = torch.as_tensor(z).detach().double().cpu()
    if z.ndim != 2 or len(z) < 8 or not bool(z.isfinite().all()):
        raise ValueError(f"z must be finite rows of shape (n, D) with n at least 8; got shape {tuple(z.shape)}.")
    num_rows, features = z.shape
    mean, std = z.mean(0), z.std(0)
    standard = (z - mean) / std
    correlation = (standard.T @ standard / (num_rows - 1)).fill_diagonal_(0)
    levels = torch.linspace(0, 1, num_quantiles + 2, dtype=z.dtype)[1:-1]

    generator = torch.Generator().manual_seed(seed)
    tested = z[torch.randperm(num_rows, generator=generator)[:max_rows]]
    statistic = _distance_to_normal(tested)
    simulated = [_distance_to_normal(torch.randn(tested.shape, dtype=z.dtype, generator=generator)) for _ in range(num_simulations)]
    return LatentNormality(
        mean=mean,
        std=std,
        skewness=standard.pow(3).mean(0),
        kurtosis=standard.pow(4).mean(0) - 3,
        max_correlation=correlation.abs().max().item(),
        kolmogorov=_kolmogorov(z),
        normal_quantiles=torch.special.ndtri(levels),
        quantiles=torch.stack([column.quantile(levels) for column in z.T], -1),
        statistic=statistic,
        p_value=(1 + sum(value >= statistic for value in simulated)) / (1 + num_simulations),
        num_rows=num_rows,
        num_rows_tested=len(tested),
    )


def _kolmogorov(z: Tensor) -> Tensor:
    """Return sup |F_n - Phi| of each column, (D,)."""
    ranks = torch.arange(len(z), dtype=z.dtype)[:, None]
    cdf = torch.special.ndtr(z.sort(0).values)
    return torch.maximum(cdf - ranks / len(z), (ranks + 1) / len(z) - cdf).amax(0)


def _distance_to_normal(z: Tensor) -> float:
    """Return the unbiased squared MMD of rows z (n, D) to N(0, I), kernel width h with h^2 = 2 D; exact in N(0, I)."""
    num_rows, features = z.shape
    h2 = 2.0 * features
    within = ((torch.cdist(z, z).square() / (-2 * h2)).exp().sum() - num_rows) / (num_rows * (num_rows - 1))
    across = (h2 / (h2 + 1)) ** (features / 2) * (z.square().sum(1) / (-2 * (h2 + 1))).exp().mean()
    return (within - 2 * across).item() + (h2 / (h2 + 2)) ** (features / 2)
