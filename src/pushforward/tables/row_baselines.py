"""Simple laws of mixed rows, fitted on a model's own training rows: what it has to beat."""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtr

from pushforward.tables.row_encoder import Rows

MIXTURE_SIZES = (8, 32)
MIXTURE_ROWS = 5_000
ROUNDS = 25
LEAST_STD = 0.05  # of a part, in units of z
SMOOTHING = 0.5  # rows added to every code


@dataclass(frozen=True, eq=False)
class PartsLaw:
    """A mixture of parts in each of which the columns are independent: codes by their shares, places z normal.

    Attributes:
        name: What it is, as the report prints it.
        log_weights: (parts,).
        log_shares: For each column, (parts, codes).
        means: (parts, columns), of places.
        stds: (parts, columns).
        numbers: (columns,), which hold numbers.
        num_context: The first so many columns are given.
    """

    name: str
    log_weights: np.ndarray
    log_shares: list[np.ndarray]
    means: np.ndarray
    stds: np.ndarray
    numbers: np.ndarray
    num_context: int

    def log_prob(self, rows: Rows) -> np.ndarray:
        """Return the log probability of the cells of each row that are there, given its context, (n,), nats."""
        each = self.each(rows)
        total = logsumexp(self.log_weights + each.sum(2), axis=1)
        if self.num_context:
            total = total - logsumexp(self.log_weights + each[:, :, : self.num_context].sum(2), axis=1)
        return total + rows.log_slope[:, self.num_context :].sum(1)

    def each(self, rows: Rows) -> np.ndarray:
        """Return the log probability of each cell in each part, (n, parts, columns), in places z; 0 where missing."""
        code, z, half = rows.cells.numpy().astype(float).reshape(len(rows), 3, -1).transpose(1, 0, 2)
        found = np.zeros((len(rows), len(self.log_weights), code.shape[1]))
        for d, shares in enumerate(self.log_shares):
            there = code[:, d] >= 0
            of_code = shares[:, np.where(there, code[:, d], 0).astype(int)].T  # (n, parts)
            if self.numbers[d]:
                mean, std = self.means[:, d], self.stds[:, d]
                inside = _log_normal((z[:, d, None] - mean) / std, half[:, d, None] / std) - np.log(std) * (
                    half[:, d, None] == 0
                )
                is_number = (code[:, d] == shares.shape[1] - 1)[:, None]
                atom = np.where(half[:, d, None] > 0, np.logaddexp(of_code, shares[:, -1] + inside), of_code)
                of_code = np.where(is_number, of_code + inside, atom)
            found[:, :, d] = np.where(there[:, None], of_code, 0.0)
        return found


def _log_normal(u: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Return the log density of a standard normal at u, or, where half > 0, log P(u - half < U < u + half)."""
    u = np.abs(u)
    density = -0.5 * u**2 - 0.5 * np.log(2 * np.pi)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = ndtr(half - u) - ndtr(-half - u)
        cell = np.where((half < 1e-3) | (share < 1e-12), density + np.log(2 * half), np.log(share))
    return np.where(half > 0, cell, density)


def fit_row_baselines(
    train: Rows, validation: Rows | None, num_codes: list[int], numbers: list[bool], num_context: int
) -> list[PartsLaw]:
    """Fit independent columns, and mixtures of parts with independent columns, of which validation rows pick the size.

    Args:
        train: Training rows, shuffled; mixtures take the first 5,000.
        validation: Rows to pick the size on; None picks the smallest.
        num_codes: Of each column.
        numbers: Whether each column holds numbers.
        num_context: The first so many columns are given.
    """
    independent = _em(train, 1, num_codes, numbers, num_context, "independent columns")
    some = train.select(np.arange(min(len(train), MIXTURE_ROWS)))
    best, best_mean = None, -np.inf
    for size in MIXTURE_SIZES if validation is not None else MIXTURE_SIZES[:1]:
        if best is not None and 20 * size > len(some):
            break
        mixture = _em(
            some, size, num_codes, numbers, num_context, f"mixture of {size} parts, each of independent columns"
        )
        mean = 0.0 if validation is None else float(mixture.log_prob(validation).mean())
        if best is not None and mean <= best_mean:
            break
        best, best_mean = mixture, mean
    return [independent] + ([best] if best is not None else [])


def _em(rows: Rows, size: int, num_codes: list[int], numbers: list[bool], num_context: int, name: str) -> PartsLaw:
    """Return a mixture of `size` parts by expectation and maximization from random responsibilities."""
    code, z, _ = rows.cells.numpy().astype(float).reshape(len(rows), 3, -1).transpose(1, 0, 2)
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.full(size, 0.2), len(rows)) if size > 1 else np.ones((len(rows), 1))
    law = _maximized(code, z, shares, num_codes, numbers, num_context, name)
    for _ in range(ROUNDS if size > 1 else 0):
        log = law.log_weights + law.each(rows).sum(2)
        shares = np.exp(log - logsumexp(log, axis=1, keepdims=True))
        law = _maximized(code, z, shares, num_codes, numbers, num_context, name)
    return law


def _maximized(
    code: np.ndarray, z: np.ndarray, shares: np.ndarray, num_codes: list[int], numbers: list[bool], num_context: int,
    name: str,
) -> PartsLaw:  # fmt: skip
    size, width = shares.shape[1], code.shape[1]
    means, stds, log_shares = np.zeros((size, width)), np.ones((size, width)), []
    for d in range(width):
        there = code[:, d] >= 0
        weights, codes = shares[there], code[there, d].astype(int)
        counts = np.stack([np.bincount(codes, weights[:, k], num_codes[d]) for k in range(size)])
        overall = counts.sum(0) + SMOOTHING
        counts = counts + overall / overall.sum()
        log_shares.append(np.log(counts / counts.sum(1, keepdims=True)))
        if numbers[d]:
            inside = codes == num_codes[d] - 1
            weights, values = weights[inside], z[there, d][inside]
            total = weights.sum(0) + 1e-9
            means[:, d] = weights.T @ values / total
            variance = weights.T @ values**2 / total - means[:, d] ** 2
            stds[:, d] = np.sqrt(np.maximum(variance, 0) * total / (total + 1) + 1 / (total + 1)).clip(LEAST_STD)
    log_weights = np.log((shares.sum(0) + 1) / (len(code) + size))
    return PartsLaw(name, log_weights, log_shares, means, stds, np.array(numbers), num_context)
