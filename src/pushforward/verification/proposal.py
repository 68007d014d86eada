"""A density fitted to draws, which can be drawn from and evaluated: what an unknown density is measured against."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.bases.density import HALF_LOG_TWO_PI
from pushforward.numerics.normal_noise import normal_noise

NUM_CLUSTERS = (2, 8)
SIGNIFICANT = 4.5  # standard errors above which a correlation is believed, where not all are
KNOTS = 17
ENOUGH, PLENTY = 8, 50  # rows for each correlation of a feature, above which all are tried, and above which only all
LARGEST_COVARIANCE = 128  # features; above, clusters have no correlations


@dataclass(frozen=True)
class Marginals:
    """A piecewise linear map of each feature to a nearly normal one, through the draws' quantiles.

    Attributes:
        knots: In units of the draws, increasing, (D, K).
        levels: In units of the normal, increasing, (D, K).
    """

    knots: Tensor
    levels: Tensor

    @staticmethod
    def fit(ordered: Tensor) -> "Marginals | None":
        """Return the map for draws, each feature in order, (n, D); None where many are equal."""
        end = -torch.special.ndtri(ordered.new_tensor(0.5 / len(ordered)))
        levels = torch.linspace(-1, 1, KNOTS, dtype=ordered.dtype, device=ordered.device) * end
        shares = torch.special.ndtr(levels)
        shares[0], shares[-1] = 0.0, 1.0
        knots = ordered[((len(ordered) - 1) * shares).round().long()].T.contiguous()
        return Marginals(knots, levels.expand_as(knots).contiguous()) if bool((knots.diff() > 0).all()) else None

    def normal(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normal features of z, (n, D), and the log slope of the map, (n,)."""
        return _piecewise(z, self.knots, self.levels)

    def back(self, y: Tensor) -> Tensor:
        """Return the draws of normal features, (n, D)."""
        return _piecewise(y, self.levels, self.knots)[0]


def _piecewise(x: Tensor, at: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return the function through (at, value), straight between and beyond, and its log slope summed over features."""
    columns = x.T.contiguous()
    piece = torch.searchsorted(at, columns).clamp(1, at.shape[1] - 1) - 1
    slope = (value.diff() / at.diff()).gather(1, piece)
    return (value.gather(1, piece) + slope * (columns - at.gather(1, piece))).T, slope.log().sum(0)


@dataclass(frozen=True)
class Cells:
    """A division of the space: each point belongs to the nearest centre.

    Attributes:
        centre: (K, D).
        scale: Of each feature, (D,).
    """

    centre: Tensor
    scale: Tensor

    @staticmethod
    def fit(z: Tensor, scale: Tensor, most: int, generator: torch.Generator, rounds: int = 3) -> "Cells":
        """Return at most so many cells, each of a hundredth of the draws z or more, by k-means from draws far apart."""
        cells = Cells(z[:1], scale)
        for _ in range(most - 1):
            nearest = cells._distances(z).amin(1).clamp(min=0) + torch.finfo(z.dtype).tiny
            chosen = torch.multinomial(nearest, 1, generator=generator)
            cells = Cells(torch.cat([cells.centre, z[chosen]]), scale)
        for _ in range(rounds):
            number = cells.number(z)
            counts = torch.bincount(number, minlength=len(cells.centre))
            means = _sums(z, number, len(counts)) / counts[:, None]
            cells = Cells(means[counts >= max(16, len(z) // 100)], scale)
        return Cells(cells.centre[torch.bincount(cells.number(z), minlength=len(cells.centre)) > 1], scale)

    def number(self, z: Tensor) -> Tensor:
        """Return the number of each point's cell, (n, D) -> (n,)."""
        return self._distances(z).argmin(1)

    def _distances(self, z: Tensor) -> Tensor:
        """Return the squared distance to each centre, (n, D) -> (n, K)."""
        scaled, centre = z / self.scale, self.centre / self.scale
        return scaled.square().sum(-1, keepdim=True) - 2 * scaled @ centre.T + centre.square().sum(-1)


@dataclass(frozen=True)
class Proposal:
    """A mixture of normals, perhaps of features that were made nearly normal first.

    Attributes:
        cells: Two divisions of the space, into 2 and 8 cells, by where the draws are.
        marginals: The map to those features, or None.
        share: Of each cluster, (K,).
        mean: (K, D).
        factor: Lower triangular, of each covariance, (K, D, D); (K, D), its diagonal, without correlations.
    """

    cells: "tuple[Cells, ...]"
    marginals: Marginals | None
    share: Tensor
    mean: Tensor
    factor: Tensor

    @staticmethod
    def fit(z: Tensor, generator: torch.Generator) -> "Proposal":
        """Return the proposal, of several kinds, that fits best a quarter of the draws z, (n, D), kept back."""
        fitted, kept = z[len(z) // 4 :], z[: len(z) // 4]
        one = torch.zeros(len(fitted), dtype=torch.long, device=z.device)
        ordered = fitted.sort(0).values
        scale = _width(ordered)
        cells = tuple(Cells.fit(fitted, scale, number, generator) for number in NUM_CLUSTERS)
        groupings = [one, *(each.number(fitted) for each in cells)]
        candidates: list[Proposal] = []
        for marginals in (None, Marginals.fit(ordered)):
            if candidates and marginals is None:
                continue
            y = fitted if marginals is None else marginals.normal(fitted)[0]
            for cluster in groupings:
                counts = torch.bincount(cluster)
                least = int(counts.min()) / y.shape[1]  # rows for each correlation of a feature
                for every_correlation in [False] * (least < PLENTY) + [True] * (least > ENOUGH):
                    candidates.append(_normals(cells, marginals, y, cluster, counts, every_correlation))
        # Without the least likely hundredth: one draw far out would decide alone.
        fits = [proposal.log_prob(kept).sort().values[len(kept) // 100 :] for proposal in candidates]
        return candidates[int(torch.stack(fits).mean(1).argmax())]

    def sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """Draw (num_samples, D)."""
        cluster = torch.multinomial(self.share, num_samples, True, generator=generator)
        noise = normal_noise((num_samples, self.mean.shape[1]), self.mean.float(), generator).to(self.mean)
        if self.factor.ndim == 2:
            y = self.mean[cluster] + self.factor[cluster] * noise
        else:
            each = torch.einsum("kij,nj->nki", self.factor, noise)
            y = self.mean[cluster] + each[torch.arange(num_samples, device=noise.device), cluster]
        return y if self.marginals is None else self.marginals.back(y)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density, nats, (n, D) -> (n,)."""
        y, log_slope = (z, 0.0) if self.marginals is None else self.marginals.normal(z)
        return self._of_clusters(y).logsumexp(-1) + log_slope

    def _of_clusters(self, y: Tensor) -> Tensor:
        """Return log share + log density of each cluster, (n, D) -> (n, K)."""
        if self.factor.ndim == 2:
            # One cluster at a time: no (n, K, D) tensor.
            each = zip(self.mean, self.factor, strict=True)
            squares = torch.stack([((y - mean) / scale).square().sum(-1) for mean, scale in each], -1)
            log_scale = self.factor.log().sum(-1)
        else:
            away = (y - self.mean[:, None]).mT  # (K, D, n)
            squares = torch.linalg.solve_triangular(self.factor, away, upper=False).square().sum(1).T
            log_scale = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.share.log() - 0.5 * squares - log_scale - y.shape[1] * HALF_LOG_TWO_PI


def _width(ordered: Tensor) -> Tensor:
    """Return a width of each feature's density, from its draws in order, (n, D) -> (D,).

    The shortest tenth, four times: a standard deviation of a normal, and of one mode of several.
    """
    tenth = max(len(ordered) // 10, 1)
    width = 4 * (ordered[tenth:] - ordered[:-tenth]).amin(0)
    whole = ordered[-1] - ordered[0]
    return torch.where(width > 0, width, torch.where(whole > 0, whole, 1.0))


def _sums(y: Tensor, cluster: Tensor, num_clusters: int) -> Tensor:
    """Return the sum of each cluster's rows, (n, D) -> (K, D)."""
    return torch.nn.functional.one_hot(cluster, num_clusters).to(y.dtype).T @ y


def _normals(
    cells: tuple[Cells, ...],
    marginals: Marginals | None,
    y: Tensor,
    cluster: Tensor,
    counts: Tensor,
    every_correlation: bool,
) -> Proposal:
    """Return the mixture of one normal a cluster of rows y, (n, D), with every correlation or the significant ones."""
    mean = _sums(y, cluster, len(counts)) / counts[:, None]
    away = y - mean[cluster]
    variance = _sums(away.square(), cluster, len(counts)) / counts[:, None]
    share = counts.to(y.dtype) / len(y)
    scale = (variance + 1e-6 * share @ variance).clamp(min=torch.finfo(y.dtype).tiny).sqrt()
    factor = scale
    if y.shape[1] <= LARGEST_COVARIANCE and y.shape[1] > 1:
        away = away / scale[cluster]
        number = counts[:, None, None]
        correlation = torch.stack([rows.T @ rows for rows in (away[cluster == k] for k in range(len(counts)))]) / number
        if not every_correlation:
            correlation = torch.where(correlation.abs() * number.sqrt() > SIGNIFICANT, correlation, 0.0)
        diagonal = correlation.diagonal(dim1=-2, dim2=-1)
        diagonal.fill_(1.0 + 1e-9)
        triangle, failed = torch.linalg.cholesky_ex(correlation)
        if not bool(failed.any()) and bool(triangle.tril(-1).any()):
            factor = scale[..., None] * triangle
    return Proposal(cells, marginals, share, mean, factor)
