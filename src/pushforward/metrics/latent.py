"""Is the latent of held-out data standard normal? Moments, Q-Q points and two tests with their nulls by simulation."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pushforward.display import table
from pushforward.errors import require_count, require_seed
from pushforward.numerics.arrays import as_tensor
from pushforward.numerics.default_device import on_the_cpu
from pushforward.numerics.threads import threads


@dataclass(frozen=True, repr=False)
class LatentNormality:
    """How far latent points are from N(0, I).

    The distances say how far, the p-values whether chance explains it; with enough rows any trained flow is told from a
    perfect one, so read both.

    Attributes:
        mean: (D,), 0 if normal.
        std: (D,), 1 if normal.
        skewness: (D,), 0 if normal.
        kurtosis: (D,), excess kurtosis, 0 if normal.
        max_correlation: Largest |correlation| between two dimensions, 0 where D = 1.
        normal_quantiles: (Q,), the horizontal axis of a Q-Q plot.
        quantiles: (Q, D), the vertical one: the quantiles of each dimension.
        kolmogorov: (D,), largest distance between the distribution functions of each dimension and of N(0, 1).
        radius_kolmogorov: The same for the squared radius |z|^2, chi^2 with D degrees of freedom if normal.
        kolmogorov_p_value: Share of simulated normal samples whose largest Kolmogorov distance, over the dimensions and
            the radius, is as large: sees wrong scales and tails, in any number of dimensions.
        mmd: Unbiased squared MMD to N(0, I) itself, Gaussian kernel of width sqrt(2 D), 0 if normal.
        mmd_p_value: Share of simulated normal samples with as large an MMD: sees dependence between few dimensions.
        num_rows: Number of rows.
        num_rows_tested: Number of rows behind `mmd` and the p-values.
    """

    mean: Tensor
    std: Tensor
    skewness: Tensor
    kurtosis: Tensor
    max_correlation: float
    normal_quantiles: Tensor
    quantiles: Tensor
    kolmogorov: Tensor
    radius_kolmogorov: float
    kolmogorov_p_value: float
    mmd: float
    mmd_p_value: float
    num_rows: int
    num_rows_tested: int

    def __repr__(self) -> str:
        return "\n  ".join([f"{self._headline()}:", *(f"{what}  {value}" for what, value in self._figures())])

    def _repr_html_(self) -> str:
        return table(self._headline(), self._figures())

    def _headline(self) -> str:
        return f"Latent of {self.num_rows:,} rows, {len(self.mean)} dimensions, against N(0, I)"

    def _figures(self) -> list[tuple[str, str]]:
        """Return what was measured, the worst dimension of each kind."""
        worst = {
            "mean": self.mean, "standard deviation - 1": self.std - 1, "skewness": self.skewness,
            "excess kurtosis": self.kurtosis, "Kolmogorov distance": self.kolmogorov,
        }  # fmt: skip
        found = []
        for name, values in worst.items():
            at = int(values.abs().argmax())
            found.append((f"worst {name}", f"{values[at].item():.3f} (dimension {at + 1})"))
        found.append(("largest correlation", f"{self.max_correlation:.3f}"))
        found.append(("Kolmogorov p-value", f"{self.kolmogorov_p_value:.2f} ({self.num_rows_tested:,} rows)"))
        found.append(("MMD p-value", f"{self.mmd_p_value:.2f} ({self.num_rows_tested:,} rows)"))
        return found


@threads(1)
@on_the_cpu()
def latent_normality(
    z: Any, *, num_quantiles: int = 99, num_simulations: int = 99, max_rows: int = 500, seed: int = 0
) -> LatentNormality:
    """Compare latent rows with N(0, I), the base of a flow; for held-out data, since training data look better.

    Args:
        z: (n, D), n at least 8, finite; tensor or array.
        num_quantiles: Points of the Q-Q curve, evenly spaced in probability.
        num_simulations: Normal samples drawn for the nulls; p-values are at least 1 / (num_simulations + 1).
        max_rows: Most rows the tests look at, picked at random; they cost max_rows^2 num_simulations.
        seed: Seed of the pick and the simulation.

    Raises:
        ValueError: If z is not finite rows (n, D), or n is below 8.

    References:
        Baringhaus & Henze (1988), A consistent test for multivariate normality. Metrika 35, 339-348: the MMD, here
        with known mean and covariance and without its diagonal.
    """
    num_quantiles, num_simulations = (
        require_count("num_quantiles", num_quantiles),
        require_count("num_simulations", num_simulations, 0),
    )
    max_rows, seed = require_count("max_rows", max_rows, 2), require_seed(seed)
    z = as_tensor(z, "z").detach().double().cpu()
    if z.ndim != 2 or len(z) < 8 or not bool(z.isfinite().all()):
        raise ValueError(f"z must be finite rows of shape (n, D) with n at least 8; got shape {tuple(z.shape)}.")
    mean, std = z.mean(0), z.std(0)
    standard = (z - mean) / std
    correlation = (standard.T @ standard / (len(z) - 1)).fill_diagonal_(0)
    levels = torch.linspace(0, 1, num_quantiles + 2, dtype=z.dtype)[1:-1]

    generator = torch.Generator().manual_seed(seed)
    tested = z[torch.randperm(len(z), generator=generator)[:max_rows]]
    kolmogorov, mmd = _kolmogorov(tested).max().item(), _mmd_to_normal(tested)
    kolmogorov_as_large = mmd_as_large = 1
    for _ in range(num_simulations):
        normal = torch.randn(tested.shape, dtype=z.dtype, generator=generator)
        kolmogorov_as_large += _kolmogorov(normal).max().item() >= kolmogorov
        mmd_as_large += _mmd_to_normal(normal) >= mmd
    distances = _kolmogorov(z)
    return LatentNormality(
        mean=mean,
        std=std,
        skewness=standard.pow(3).mean(0),
        kurtosis=standard.pow(4).mean(0) - 3,
        max_correlation=correlation.abs().max().item(),
        normal_quantiles=torch.special.ndtri(levels),
        quantiles=torch.stack([column.quantile(levels) for column in z.T], -1),
        kolmogorov=distances[:-1],
        radius_kolmogorov=distances[-1].item(),
        kolmogorov_p_value=kolmogorov_as_large / (1 + num_simulations),
        mmd=mmd,
        mmd_p_value=mmd_as_large / (1 + num_simulations),
        num_rows=len(z),
        num_rows_tested=len(tested),
    )


def _kolmogorov(z: Tensor) -> Tensor:
    """Return sup |F_n - F| of each column of z (n, D) against N(0, 1), then of |z|^2 against chi^2_D: (D + 1,)."""
    half = z.square().sum(1, keepdim=True) / 2
    radius_cdf = torch.special.gammainc(torch.full_like(half, z.shape[1] / 2), half)
    cdf = torch.cat([torch.special.ndtr(z), radius_cdf], 1).sort(0).values
    below = torch.arange(len(z), dtype=z.dtype)[:, None] / len(z)
    return torch.maximum(cdf - below, below + 1 / len(z) - cdf).amax(0)


def _mmd_to_normal(z: Tensor) -> float:
    """Return the unbiased squared MMD of rows z (n, D) to N(0, I), kernel width h with h^2 = 2 D; exact in N(0, I)."""
    num_rows, features = z.shape
    h2 = 2.0 * features
    within = ((torch.cdist(z, z).square() / (-2 * h2)).exp().sum() - num_rows) / (num_rows * (num_rows - 1))
    across = (h2 / (h2 + 1)) ** (features / 2) * (z.square().sum(1) / (-2 * (h2 + 1))).exp().mean()
    return (within - 2 * across).item() + (h2 / (h2 + 2)) ** (features / 2)
