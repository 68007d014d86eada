"""Conditional studies: merging over labels."""

import pytest
import torch

from pushforward import data
from pushforward.studies.kit import one_hot
from pushforward.studies.plane.conditional import QUICK, TASKS
from pushforward.studies.plane.conditional_quality import Merged, Truth
from pushforward.studies.plane.flows import source_flow
from pushforward.transforms import Affine, Coupling, Orthogonal

TASK = "hexagon, 2 labels"


class ExactFlow:
    """The exact conditional density in the form of a flow."""

    context_features = 2

    def __init__(self, density):
        self.density = density

    def log_prob(self, x, context):
        return self.density.log_prob(x, label=context.argmax(-1))


def test_the_truth_merged_over_its_labels_is_the_marginal():
    density = TASKS[TASK](10).density
    x = density.sample(200, 1)
    torch.testing.assert_close(
        Merged(ExactFlow(density), density).log_prob(x), density.log_prob(x), rtol=1e-5, atol=1e-5
    )


class Echo:
    """A flow whose samples are the label they were asked for."""

    def sample(self, num_samples, context, *, generator):
        return context.argmax(-1).float()[:, None, None].expand(-1, num_samples, 2)


def test_merged_samples_come_in_the_true_proportions_each_from_its_own_label():
    x, labels = Merged(Echo(), TASKS[TASK](10).density).sample(6_000, 0)
    assert torch.equal(x, labels[:, None].float().expand(-1, 2))
    assert labels.float().mean().item() == pytest.approx(2 / 3, abs=0.02)


def test_the_sources_blocks_have_rotations_between_them_and_none_at_the_end():
    parts = [list(step) if hasattr(step, "__iter__") else [step] for step in source_flow(6, num_blocks=3).transform]
    kinds = [[type(part) for part in step] for step in parts]
    assert kinds == [[Coupling], [Orthogonal, Coupling], [Orthogonal, Coupling]]
    assert all(step[-1].univariate == Affine("tanh") and step[-1].context_features == 6 for step in parts)


def test_every_label_of_an_untrained_flow_is_told_from_the_truth():
    torch.manual_seed(0)
    density = data.hexagon(10).density
    quality = Truth(density, **QUICK).conditional(source_flow(6, num_blocks=2), 0)
    assert len(quality.labels) == 6
    assert quality.excess > 1
    assert all(label.mmd > label.mmd_limit and label.normal_p_value < 0.5 for label in quality.labels)
    assert quality.verified


def test_labels_become_unit_vectors():
    assert one_hot(torch.tensor([1, 0]), 2).tolist() == [[0.0, 1.0], [1.0, 0.0]]
