"""Do two samples come from one law? Maximum mean discrepancy with its null, and the classifier two-sample test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import require_count, require_number, require_seed
from pushforward.metrics.classifier import MOST_SEEDS
from pushforward.numerics.arrays import as_tensor
from pushforward.numerics.default_device import on_the_cpu
from pushforward.numerics.threads import one_thread_everywhere, threads

# Rows of a kernel matrix held at once: 10,000 x 10,000 needs 20 MB instead of 800.
_CHUNK = 256
# Points that decide the median distance.
_MEDIAN_POINTS = 2000


@dataclass(frozen=True)
class NullTest:
    """An observed MMD^2 beside the values that relabelling the pooled points at random gives.

    Attributes:
        observed: MMD^2 of the two samples.
        null: (num_permutations,), MMD^2 of the random splits: its spread is what equal laws would show.
        p_value: (1 + number of null values >= observed) / (1 + num_permutations).
    """

    observed: float
    null: Tensor
    p_value: float

    @property
    def limit(self) -> float:
        """The null's 95 % quantile: samples of equal laws lie below it 19 times in 20."""
        return self.null.quantile(0.95).item()


@threads(1)
@on_the_cpu()
def median_bandwidth(a: Any, b: Any) -> float:
    """Return the median distance between pooled points (of at most 2,000, evenly picked): the usual kernel width."""
    pooled = torch.cat(_samples(a, b))
    picked = pooled[torch.linspace(0, len(pooled) - 1, min(len(pooled), _MEDIAN_POINTS)).long()]
    median = torch.pdist(picked).median().item()
    if not median > 0:
        raise ValueError("the median distance between points is 0: most are equal; give a bandwidth above 0.")
    return median


@threads(1)
@on_the_cpu()
def mmd(a: Any, b: Any, *, bandwidth: float | Sequence[float] | None = None) -> float:
    r"""Return the *squared* maximum mean discrepancy of two samples, unbiased: about 0, at times below, for equal laws.

    MMD^2 = sum_{i != j} k(a_i, a_j) / (N (N - 1)) + sum_{i != j} k(b_i, b_j) / (M (M - 1)) - 2 mean_{i, j} k(a_i, b_j),
    with k(x, y) = exp(-|x - y|^2 / (2 h^2)). The diagonal is left out: kept, it would add about 2 / (N - 1).

    Args:
        a: (N, D), N at least 2; tensor or array.
        b: (M, D).
        bandwidth: Kernel width h; several give the mean of their kernels (a sum of scales sees both coarse and fine
            differences). By default the median distance of the pooled points: give one fixed width to compare models.

    Raises:
        ValueError: If the shapes do not fit or a bandwidth is not above 0.

    References:
        Gretton et al. (2012), A kernel two-sample test. JMLR 13, eq. 3.
    """
    a, b = _samples(a, b)
    widths = _bandwidths(a, b, bandwidth)
    within_a = sum(kernel.sum().item() for kernel in _kernel(a, a, widths)) - len(a)
    within_b = sum(kernel.sum().item() for kernel in _kernel(b, b, widths)) - len(b)
    across = sum(kernel.sum().item() for kernel in _kernel(a, b, widths))
    return _unbiased(within_a, within_b, across, len(a), len(b))


@threads(1)
@on_the_cpu()
def mmd_null(
    a: Any, b: Any, *, bandwidth: float | Sequence[float] | None = None, num_permutations: int = 200, seed: int = 0
) -> NullTest:
    """Compare the MMD^2 of two samples with that of random splits of the pooled points.

    All splits share one pass over the kernel matrix, which costs (N + M)^2 num_permutations multiplications.

    Args:
        a: (N, D).
        b: (M, D).
        bandwidth: As in `mmd`.
        num_permutations: Number of random splits.
        seed: Seed of the splits.
    """
    num_permutations, seed = require_count("num_permutations", num_permutations), require_seed(seed)
    a, b = _samples(a, b)
    widths = _bandwidths(a, b, bandwidth)
    pooled, generator = torch.cat([a, b]), torch.Generator().manual_seed(seed)
    # Column s of `in_a` marks the points of split s that play the part of a; column 0 is the split as it came.
    in_a = torch.zeros(len(pooled), 1 + num_permutations, dtype=pooled.dtype)
    in_a[: len(a), 0] = 1
    for split in range(1, 1 + num_permutations):
        in_a[torch.randperm(len(pooled), generator=generator)[: len(a)], split] = 1
    indicators = torch.cat([torch.ones_like(in_a[:, :1]), in_a], 1)
    reach = torch.cat([kernel @ indicators for kernel in _kernel(pooled, pooled, widths)])
    reach_all, reach_a = reach[:, :1], reach[:, 1:]
    within_a = (in_a * reach_a).sum(0)
    across = ((1 - in_a) * reach_a).sum(0)
    within_b = ((1 - in_a) * (reach_all - reach_a)).sum(0)
    values = _unbiased(within_a - len(a), within_b - len(b), across, len(a), len(b))
    # A random split that is the given one comes out equal but for rounding.
    num_as_large = int((values[1:] >= values[0] - 1e-12).sum())
    return NullTest(values[0].item(), values[1:], (1 + num_as_large) / (1 + num_permutations))


@one_thread_everywhere()
def c2st(a: Any, b: Any, *, classifier: Any = None, folds: int = 5, seed: int = 0) -> float:
    """Return the cross-validated accuracy of a classifier that tells two samples apart: 0.5 if equal, 1 if disjoint.

    The larger sample is cut at random to the size of the smaller.

    Args:
        a: (N, D), at least as many rows as folds.
        b: (M, D).
        classifier: A scikit-learn classifier; by default gradient-boosted trees, which on few features see more than a
            small network does and take a fraction of its time.
        folds: Number of cross-validation folds.
        seed: Seed of the cut, the folds and the default classifier.

    Raises:
        ValueError: If the shapes do not fit, or `folds` is below 2 or above the smaller sample's size.

    References:
        Lopez-Paz & Oquab (2017), Revisiting classifier two-sample tests. arXiv:1610.06545.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    a, b = _samples(a, b)
    size, generator = min(len(a), len(b)), torch.Generator().manual_seed(seed := require_seed(seed))
    folds = require_count("folds", folds, 2, size)  # a fold is a row of the smaller sample at least
    seed %= MOST_SEEDS
    parts = [part[torch.randperm(len(part), generator=generator, device="cpu")[:size]] for part in (a, b)]
    scores = cross_val_score(
        classifier or HistGradientBoostingClassifier(random_state=seed),
        torch.cat(parts).numpy(),
        np.repeat((0, 1), size),
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
        scoring="accuracy",
    )
    return float(scores.mean())


def _samples(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    a, b = as_tensor(a, "a").detach().double().cpu(), as_tensor(b, "b").detach().double().cpu()
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"a and b must be rows (N, D) and (M, D) of the same D, at least 2 each; got {tuple(a.shape)} and "
            f"{tuple(b.shape)}."
        )
    return a, b


def _bandwidths(a: Tensor, b: Tensor, bandwidth: float | Sequence[float] | None) -> list[float]:
    if bandwidth is None:
        return [median_bandwidth(a, b)]
    widths = list(bandwidth) if isinstance(bandwidth, (list, tuple)) and bandwidth else [bandwidth]
    return [float(require_number("bandwidth", width, above=0)) for width in widths]


def _kernel(a: Tensor, b: Tensor, widths: list[float]) -> Iterator[Tensor]:
    """Yield the mean of the kernels row block by row block: (at most _CHUNK, M)."""
    centre = a.mean(0)
    a, b = a - centre, b - centre
    for rows in a.split(_CHUNK):
        squares = torch.cdist(rows, b).square()
        yield sum((squares / (-2 * width**2)).exp() for width in widths) / len(widths)  # type: ignore[misc]


def _unbiased(within_a: Any, within_b: Any, across: Any, num_a: int, num_b: int) -> Any:
    """MMD^2 from kernel sums without the diagonals; floats or tensors of them."""
    return within_a / (num_a * (num_a - 1)) + within_b / (num_b * (num_b - 1)) - 2 * across / (num_a * num_b)
