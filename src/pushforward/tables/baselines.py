"""Simple densities fitted on a flow's own training rows, in the units of the data: what the flow has to beat."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pushforward.numerics.threads import one_thread_everywhere
from pushforward.transforms import Asinh, Standardize, Transform

MIXTURE_SIZES = (1, 3, 8, 20)
ROWS_A_PART = 20
MIXTURE_ROWS = 10_000
MIXTURE_NUMBERS = 1_000_000  # rows x features^2 of one pass over the rows, so that 100 features take seconds too
KERNEL_ROWS = 5_000
KERNEL_WIDTHS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4)  # in units of Scott's rule
VALIDATION_ROWS = 2_000
RIDGE = 1e-8


class _Density(Protocol):
    def log_prob(self, y: Tensor, context: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Baseline:
    """A density of scaled rows, seen in the units of the data: log p(x) = log q(scaling(x)) + log_det.

    Attributes:
        name: What it is, as the report prints it.
        scaling: Fitted to the training rows; data -> scaled.
        density: Fitted to the scaled training rows.
    """

    name: str
    scaling: Transform
    density: _Density

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x | context) in nats, (rows,)."""
        y, log_det = self.scaling(x.double())
        return self.density.log_prob(y, context) + log_det


@one_thread_everywhere()
def fit_baselines(x: Tensor, context: Tensor | None, validation: Tensor | None) -> list[Baseline]:
    """Fit Gaussians to z-scored and asinh-scaled rows and, without context, a Gaussian mixture and a kernel density.

    With context the Gaussian's mean is linear in it. Mixture and kernel density are fitted to at most 10,000 and 5,000
    rows; their size and width are picked on validation rows.

    Args:
        x: Training rows, (n, D), float64, n at least 2, shuffled.
        context: (n, C), or None.
        validation: Rows (m, D) to pick sizes on; if None, the smallest mixture and Scott's width.
    """
    standardize, asinh = Standardize(x.shape[1]), Asinh(x.shape[1])
    for scaling in (standardize, asinh):
        scaling.initialize(x)
    given = "Gaussian" if context is None else "Gaussian, linear in the context"
    baselines = [
        Baseline(given, standardize, Gaussian(standardize(x)[0], context)),
        Baseline(f"{given}, asinh scaling", asinh, Gaussian(asinh(x)[0], context)),
    ]
    if context is None:
        y = asinh(x)[0]
        picked_on = None if validation is None else asinh(validation[:VALIDATION_ROWS])[0]
        mixture, kernel = _mixture(y, picked_on), _kernel(y, picked_on)
        parts = mixture.mixture.n_components
        baselines.append(Baseline(f"mixture of {parts} Gaussian{'s' * (parts > 1)}, asinh scaling", asinh, mixture))
        baselines.append(Baseline("kernel density, asinh scaling", asinh, kernel))
    return baselines


class Gaussian:
    """N(A (1, c), S) by least squares; a shrunk S (Ledoit & Wolf 2004) where rows are few.

    Args:
        y: (n, D), float64.
        context: (n, C), or None.
    """

    def __init__(self, y: Tensor, context: Tensor | None = None) -> None:
        from sklearn.covariance import ledoit_wolf

        self.scaling = None if context is None else Standardize(context.shape[1])
        if self.scaling is not None and context is not None:
            self.scaling.initialize(context)
        design = self._design(y, context)
        self.coefficients = torch.linalg.lstsq(design, y, driver="gelsd").solution
        residual = y - design @ self.coefficients
        if len(y) < 10 * (y.shape[1] + design.shape[1]):
            covariance = torch.from_numpy(ledoit_wolf(residual.numpy(), assume_centered=True)[0])
        else:
            covariance = residual.T @ residual / len(y)
        self.cholesky = _cholesky(covariance)

    @classmethod
    def of_moments(cls, mean: Tensor, covariance: Tensor) -> "Gaussian":
        """Return the Gaussian with this mean (D,) and covariance (D, D), float64."""
        self = cls.__new__(cls)
        self.scaling, self.coefficients, self.cholesky = None, mean[None], _cholesky(covariance)
        return self

    def _design(self, y: Tensor, context: Tensor | None) -> Tensor:
        ones = y.new_ones(len(y), 1)
        if self.scaling is None or context is None:
            return ones
        return torch.cat((ones, self.scaling(context)[0]), 1)

    def log_prob(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log N(y), (rows,)."""
        residual = y - self._design(y, context) @ self.coefficients
        z = torch.linalg.solve_triangular(self.cholesky, residual.T, upper=False)
        log_scale = self.cholesky.diagonal().log().sum()
        return -0.5 * z.square().sum(0) - log_scale - 0.5 * len(z) * math.log(2 * math.pi)


def _cholesky(covariance: Tensor) -> Tensor:
    """Return the lower factor of a covariance with a tiny ridge."""
    ridge = covariance.diagonal().mean().clamp(min=RIDGE) * RIDGE
    return torch.linalg.cholesky(covariance + ridge * torch.eye(len(covariance)).to(covariance))


class _Mixture:
    """A scikit-learn Gaussian mixture."""

    def __init__(self, mixture: Any) -> None:
        self.mixture = mixture

    def log_prob(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return torch.from_numpy(self.mixture.score_samples(y.numpy()))


class _Kernel:
    """The mean of Gaussians of one width on the points, (n, D)."""

    def __init__(self, points: Tensor, width: float) -> None:
        self.points, self.width = points, width

    def log_mean(self, squares: Tensor) -> Tensor:
        """Return the log-density from the squared distances to the points, (rows, n) -> (rows,)."""
        num_points, features = self.points.shape
        norm = features * math.log(self.width * math.sqrt(2 * math.pi)) + math.log(num_points)
        return torch.logsumexp(squares / (-2 * self.width**2), 1) - norm

    def log_prob(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return torch.cat([self.log_mean(torch.cdist(rows, self.points).square()) for rows in y.split(512)])


def _mixture(y: Tensor, validation: Tensor | None) -> _Mixture:
    """Fit mixtures of more and more components until the validation rows like it no better."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    features = y.shape[1]
    kind, numbers = ("full", features**2) if features <= 32 else ("diag", features)
    rows = y[: max(min(MIXTURE_ROWS, MIXTURE_NUMBERS // numbers), 200)].numpy()
    best, best_score = None, -math.inf
    for size in MIXTURE_SIZES if validation is not None else MIXTURE_SIZES[:1]:
        if best is not None and ROWS_A_PART * size > len(rows):
            break
        mixture = GaussianMixture(size, covariance_type=kind, max_iter=50, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture stopped early is still a baseline
            mixture.fit(rows)
        score = 0.0 if validation is None else mixture.score(validation.numpy())
        if best is not None and score <= best_score:
            break
        best, best_score = mixture, score
    return _Mixture(best)


def _kernel(y: Tensor, validation: Tensor | None) -> _Kernel:
    """Return the kernel density whose width the validation rows like best, Scott's without validation rows."""
    points = y[:KERNEL_ROWS]
    scott = len(points) ** (-1 / (y.shape[1] + 4))
    if validation is None:
        return _Kernel(points, scott)
    squares = torch.cdist(validation, points).square()
    kernels = [_Kernel(points, factor * scott) for factor in KERNEL_WIDTHS]
    return max(kernels, key=lambda kernel: kernel.log_mean(squares).mean().item())
