"""The law of a number's place between the ends of its column: a mixture of logistics, or one that is weighed anew."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pushforward.rows.heads import mixture_cdf, mixture_log_prob

LEAST_INSIDE = 1e-9  # of a mixture's mass between the ends, which is the difference of two numbers below 1
LEAST_GAP = 1e-300
HALVINGS = 40


@dataclass(frozen=True, eq=False)
class PlaceLaw:
    """The laws of the places z of a column's numbers in n rows, between two ends.

    Attributes:
        mixture: (n, 3, K), float64: logistics, cut at the ends.
        low: The least z.
        high: The greatest z.
        edges: (n, P), from 0 to 1: shares of the mixture between which the law is even in it; None: it is the mixture.
        below: (n, P), the shares that the law has below the edges.
    """

    mixture: Tensor
    low: float
    high: float
    edges: Tensor | None = None
    below: Tensor | None = None

    @classmethod
    def joined(cls, laws: Sequence["PlaceLaw"]) -> "PlaceLaw":
        """Return the laws of all rows of several of one column."""
        if all(law.edges is None for law in laws):
            return replace(laws[0], mixture=torch.cat([law.mixture for law in laws]))
        pairs = [law._edges_and_below for law in laws]
        most = max(edges.shape[1] for edges, _ in pairs)
        edges, below = (torch.cat([_as_long(part, most) for part in parts]) for parts in zip(*pairs, strict=True))
        return replace(laws[0], mixture=torch.cat([law.mixture for law in laws]), edges=edges, below=below)

    def __len__(self) -> int:
        return len(self.mixture)

    def __getitem__(self, rows: slice | Tensor) -> "PlaceLaw":
        """Return the laws of some rows."""
        edges, below = (None if part is None else part[rows] for part in (self.edges, self.below))
        return replace(self, mixture=self.mixture[rows], edges=edges, below=below)

    def with_rows(self, rows: Tensor, others: "PlaceLaw") -> "PlaceLaw":
        """Return the laws with those of some rows, by their positions, replaced by others of the same mixture."""
        old, new = self._edges_and_below, others._edges_and_below
        edges, below = (
            _as_long(part, other.shape[1]).index_copy(0, rows, other) for part, other in zip(old, new, strict=True)
        )
        return replace(self, edges=edges, below=below)

    def cdf(self, z: Tensor) -> Tensor:
        """Return P(Z <= z), (n, m), at z (n, m), float64."""
        share = self._of_mixture(z)
        return share if self.edges is None else _interpolated(share, *self._edges_and_below)

    def quantile(self, share: Tensor) -> Tensor:
        """Return the least z of which the cdf is as large as each share, (n, m), by halving the range."""
        left, right = torch.full_like(share, self.low), torch.full_like(share, self.high)
        for _ in range(HALVINGS):
            middle = (left + right) / 2
            below = self.cdf(middle) < share
            left, right = torch.where(below, middle, left), torch.where(below, right, middle)
        return right

    def mixture_log_prob(self, z: Tensor, half: Tensor) -> Tensor:
        """Return the mixture's log density, or its log probability of z - half to z + half, (n, m) like z and half."""
        return mixture_log_prob(self.mixture[:, None], z, half) - self._inside[1].clamp(min=LEAST_INSIDE).log()

    def weighed(self, share: Tensor, log_weight: Tensor) -> tuple["PlaceLaw", Tensor]:
        """Return the law that has a density relative to the mixture, and the log of that density's mean, (n,).

        Each share stands for those that are nearer to it than to any other. Where the mean is no number above 0, the
        law is the mixture.

        Args:
            share: (n, P), shares of the mixture's mass.
            log_weight: (n, P), the log of the relative density there.
        """
        share, order = share.sort(1)
        nothing = torch.zeros_like(share[:, :1])
        edges = torch.cat((nothing, (share[:, 1:] + share[:, :-1]) / 2, nothing + 1), 1)
        log_width = edges.diff(dim=1).log()
        log_mass = log_weight.gather(1, order) + log_width
        log_mean = log_mass.logsumexp(1)
        log_mass = torch.where(log_mean.isfinite()[:, None], log_mass, log_width)
        below = log_mass.softmax(1).cumsum(1).clamp(max=1)
        return replace(self, edges=edges, below=torch.cat((nothing, below[:, :-1], nothing + 1), 1)), log_mean

    def shares_at(self, quantiles: Tensor) -> Tensor:
        """Return the shares of the mixture below the law's own quantiles, (n, m) like these."""
        edges, below = self._edges_and_below
        return _interpolated(quantiles, below, edges)

    @property
    def _edges_and_below(self) -> tuple[Tensor, Tensor]:
        if self.edges is None or self.below is None:
            even = torch.tensor([[0.0, 1.0]], dtype=torch.float64, device="cpu").repeat(len(self), 1)
            return even, even
        return self.edges, self.below

    @cached_property
    def _inside(self) -> tuple[Tensor, Tensor]:
        """The mixture's mass below the low end, and between the ends, (n, 1) each."""
        ends = torch.tensor([[self.low, self.high]], dtype=torch.float64, device="cpu")
        below, above = mixture_cdf(self.mixture, ends.expand(len(self), 2)).split(1, 1)
        return below, above - below

    @cached_property
    def only_at(self) -> Tensor:
        """Where a law that lies beyond the ends has all its mass, the nearer one, (n, 1); NaN for others."""
        below, inside = self._inside
        nearer = torch.where(below > 0.5, torch.full_like(below, self.low), torch.full_like(below, self.high))
        return torch.where(inside < LEAST_INSIDE, nearer, math.nan)

    def _of_mixture(self, z: Tensor) -> Tensor:
        below, inside = self._inside
        share = ((mixture_cdf(self.mixture, z) - below) / inside.clamp(min=LEAST_INSIDE)).clamp(0, 1)
        return torch.where(self.only_at.isnan(), share, (z >= self.only_at).to(share))


def _as_long(part: Tensor, most: int) -> Tensor:
    """Return rows of edges, (n, P), with the last repeated up to so many."""
    return torch.cat((part, part[:, -1:].expand(-1, most - part.shape[1])), 1)


def _interpolated(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Return y at x, (n, m), linear between the points of each row, (n, P) each, increasing in x."""
    k = torch.searchsorted(xs.contiguous(), x.contiguous(), right=True).clamp(1, xs.shape[1] - 1)
    left, right = xs.gather(1, k - 1), xs.gather(1, k)
    part = ((x - left) / (right - left).clamp(min=LEAST_GAP)).clamp(0, 1)
    return ys.gather(1, k - 1) * (1 - part) + ys.gather(1, k) * part
