"""How a flow given labels compares with the exact truth: each label alone, and all of them merged."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pushforward import Flow, metrics, verify
from pushforward.data import Density
from pushforward.studies.kit import drawn, one_hot
from pushforward.studies.kit.tables import Score
from pushforward.studies.plane.quality import TEST_SEED


@dataclass(frozen=True)
class Merged:
    """The marginal of a conditional flow, p(x) = sum_y p(y) p(x|y), with the true proportions of the labels."""

    flow: Flow
    density: Density

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x), (n,), of rows (n, 2); there is no context left to give."""
        assert context is None
        every = torch.eye(self.density.num_labels)
        by_label = self.flow.log_prob(x[:, None].expand(-1, len(every), -1), every.expand(len(x), -1, -1))
        return torch.logsumexp(by_label + torch.tensor(self.density.label_proportions).log(), -1)

    def sample(self, num_samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Draw labels in their true proportions and a point for each: (n, 2) and (n,)."""
        generator = torch.Generator().manual_seed(seed)
        proportions = torch.tensor(self.density.label_proportions)
        labels = torch.multinomial(proportions, num_samples, replacement=True, generator=generator)
        x = self.flow.sample(1, one_hot(labels, self.density.num_labels), generator=generator)
        return x.squeeze(1), labels


@dataclass(frozen=True)
class Truth:
    """A known density with labels, and what flows are measured by on its fresh points."""

    density: Density
    test_points: int = 100_000  # behind an excess
    compared: int = 2_000  # points on each side of an MMD
    num_permutations: int = 200  # of its null
    num_simulations: int = 99  # of the null of the codes' normality

    def conditional(self, flow: Flow, seed: int) -> Score:
        """Measure a flow given labels on fresh points: over all labels in nats, label by label, and merged."""
        density, num_points, test_seed = self.density, self.test_points, TEST_SEED + seed
        context_of = partial(one_hot, num_labels=density.num_labels)
        excess = metrics.excess(flow, density, num_points, test_seed, context_of_label=context_of)
        merged = Merged(flow, density)
        marginal = metrics.excess(merged, density, num_points, test_seed)
        test = self._against_fresh(merged.sample(self.compared, seed)[0], seed)
        x, labels = density.sample_with_labels(num_points, test_seed)
        checked = verify(flow, x[:50], context_of(labels[:50]))
        return Score(
            nll=metrics.nll(flow, x, context_of(labels)).mean,
            excess=excess.mean,  # mean of log p_true(x|y) - log p(x|y)
            standard_error=excess.standard_error,
            labels=[self._label(flow, label, seed) for label in range(density.num_labels)],
            marginal_excess=marginal.mean,
            marginal_error=marginal.standard_error,
            mmd=test.observed,
            mmd_limit=test.limit,
            round_trip_error=checked.round_trip_error,
            verified=checked.ok,
        )

    def plain(self, flow: Flow, seed: int) -> Score:
        """Measure a flow without labels on fresh points of all of them."""
        test = self._against_fresh(drawn(flow, self.compared, seed), seed)
        excess = metrics.excess(flow, self.density, self.test_points, TEST_SEED + seed)
        return Score(excess=excess.mean, mmd=test.observed, mmd_limit=test.limit)

    def _label(self, flow: Flow, label: int, seed: int) -> Score:
        context = one_hot(torch.tensor(label), self.density.num_labels)
        test = self._against_fresh(drawn(flow, self.compared, seed, context=context), seed, label)
        with torch.no_grad():
            codes = flow.encode(self.density.sample(5_000, TEST_SEED + 20_000 + seed, label=label), context)
        latent = metrics.latent_normality(codes, num_simulations=self.num_simulations, seed=seed)
        return Score(
            mmd=test.observed,
            mmd_limit=test.limit,
            mmd_p_value=test.p_value,
            mean=latent.mean.abs().max().item(),
            std=latent.std[(latent.std - 1).abs().argmax()].item(),  # the one farthest from 1
            normal_p_value=min(2 * min(latent.kolmogorov_p_value, latent.mmd_p_value), 1.0),
        )

    def _against_fresh(self, samples: Tensor, seed: int, label: int | None = None) -> metrics.NullTest:
        # The kernel's width is the truth's own, so that every model is seen through the same kernel.
        draws = (self.density.sample(500, TEST_SEED + offset, label=label) for offset in (1, 2))
        fresh = self.density.sample(self.compared, TEST_SEED + 10_000 + seed, label=label)
        width = metrics.median_bandwidth(*draws)
        return metrics.mmd_null(fresh, samples, bandwidth=width, num_permutations=self.num_permutations, seed=seed)
