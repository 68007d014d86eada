"""Digits, the bottleneck loss, and what judges generated images: against cases with a known answer."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.losses import Batch


def test_the_three_parts_are_all_images_once():
    parts = pf.data.digits(seed=3)
    assert sum(len(part.x) for part in parts) == 1797
    assert all(part.x.shape == (len(part.labels), 64) and part.x.dtype == torch.int64 for part in parts)
    # Two digits that are equal dot by dot do not occur, so a shared image would be seen.
    assert len(torch.cat([part.x for part in parts]).unique(dim=0)) == 1797
    assert int(parts.train.x.min()) == 0
    assert int(parts.train.x.max()) == 16


def test_every_part_has_the_same_share_of_every_label():
    parts = pf.data.digits()
    shares = torch.stack([part.labels.bincount() / len(part.labels) for part in parts])
    assert (shares - shares[0]).abs().max() < 0.004


@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (0.1, 0.4), (0.5, 0.3)])
def test_validation_and_test_are_shares_of_all_images(validation, test):
    parts = pf.data.digits(validation=validation, test=test)
    assert len(parts.validation.x) == pytest.approx(validation * 1797, abs=1)
    assert len(parts.test.x) == pytest.approx(test * 1797, abs=1)


def test_the_split_follows_the_seed():
    first, again, other = (pf.data.digits(seed=seed).test.x for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (0.0, 0.2)])
def test_shares_that_leave_nothing_are_refused(validation, test):
    with pytest.raises(ValueError, match="validation.* must be above 0 and (add up to less|below)"):
        pf.data.digits(validation=validation, test=test)


def test_uniform_integer_noise_has_the_bits_of_its_levels():
    class Uniform:
        def __init__(self, levels):
            self.levels = levels

        def log_prob(self, x, context=None):
            return torch.full(x.shape[:-1], -x.shape[-1] * math.log(self.levels))

    for levels, bits in ((17, math.log2(17)), (256, 8.0)):
        noise = torch.randint(levels, (50, 64))
        nats = pf.metrics.nll(Uniform(levels), noise, dequantize=levels).mean
        assert pf.metrics.bits_per_dim(nats, 64) == pytest.approx(bits, abs=1e-6)


class RotatedNormal(nn.Module):
    """x = R z + c: the bottleneck loss can be written down."""

    def __init__(self):
        super().__init__()
        self.matrix = torch.linalg.qr(torch.randn(4, 4))[0]

    def encode_and_log_prob(self, x, context=None):
        z = (x - context) @ self.matrix
        return z, -0.5 * z.square().sum(-1) - 2 * math.log(2 * math.pi)

    def decode(self, z, context=None):
        return z @ self.matrix.T + context


def test_bottleneck_adds_the_error_of_the_dropped_dimensions():
    model, x, context = RotatedNormal(), torch.randn(6, 4), torch.randn(6, 4)
    z, log_prob = model.encode_and_log_prob(x, context)
    losses = pf.losses.bottleneck(model, Batch(x, context, None, 6), k=1, weight=0.5)
    # A rotation keeps lengths: what is lost is what was set to zero.
    torch.testing.assert_close(losses, 0.5 * z[:, 1:].square().sum(-1) - log_prob)


def test_bottleneck_of_all_dimensions_is_the_nll():
    flow, x, context = _perturbed_flow(), 17 * torch.rand(5, 4), torch.randn(5, 3)
    losses = pf.losses.bottleneck(flow, Batch(x, context, None, 5), k=4, weight=10.0)
    torch.testing.assert_close(losses, -flow.log_prob(x, context), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("k", [0, 5, 1.5])
def test_bottleneck_refuses_a_k_outside_the_features(k):
    batch = Batch(torch.rand(5, 4), torch.randn(5, 3), None, 5)
    with pytest.raises(ValueError, match="k must be an integer from 1 to 4"):
        pf.losses.bottleneck(_perturbed_flow(), batch, k=k)


def test_a_bottleneck_sorts_the_latent():
    x = torch.randn(400, 3) * torch.tensor([0.2, 3.0, 0.2]) + 5
    flow = pf.recipes.realnvp(3, num_layers=4, hidden_features=(16,), mixing="lu")
    options = {"num_steps": 150, "validation": None, "learning_rate": 2e-2, "progress": False}
    pf.fit(flow, x, loss=partial(pf.losses.bottleneck, k=1), **options)
    with torch.no_grad():
        z = flow.encode(x)
        rebuilt = flow.decode(torch.cat([z[:, :1], torch.zeros_like(z[:, 1:])], 1))
    assert (x - rebuilt).square().sum(1).mean() < 0.2  # of 9.1 in all, .08 in the two narrow directions


def test_encode_and_log_prob_is_both_of_them():
    flow, x, context = _perturbed_flow(), 17 * torch.rand(5, 4), torch.randn(5, 3)
    z, log_prob = flow.encode_and_log_prob(x, context)
    torch.testing.assert_close(z, flow.encode(x, context))
    torch.testing.assert_close(log_prob, flow.log_prob(x, context))


def test_nearest_neighbours_of_a_shifted_grid_are_the_shift_away():
    grid = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
    distances = pf.metrics.nearest_neighbour_distance(grid + torch.tensor([0.3, 0.4]), grid, batch_size=5)
    torch.testing.assert_close(distances, torch.full((36,), 0.5, dtype=torch.float64), atol=1e-6, rtol=0)


def test_the_distance_of_a_copy_is_zero():
    x = 16 * torch.rand(2000, 64)
    assert pf.metrics.nearest_neighbour_distance(x[:10].numpy(), x).max() == 0


def test_nearest_neighbours_need_rows_of_one_size():
    with pytest.raises(ValueError, match="of the same D"):
        pf.metrics.nearest_neighbour_distance(torch.zeros(3, 2), torch.zeros(3, 4))


def test_a_forest_is_right_and_sure_on_separable_blobs():
    labels = torch.arange(3).repeat(60)
    x = torch.randn(180, 2) + 20 * torch.stack([labels == 1, labels == 2], 1)
    forest = pf.metrics.random_forest(x[:90], labels[:90], num_trees=20)
    assert len(forest) == 20
    judgement = pf.metrics.judge(forest, x[90:])
    assert judgement.accuracy(labels[90:]) == 1.0
    assert judgement.accuracy_by_label(labels[90:]) == {0: 1.0, 1: 1.0, 2: 1.0}
    assert judgement.mean_confidence() > 0.95
    # Labels all moved on by one are all wrong.
    assert judgement.accuracy((labels[90:] + 1) % 3) == 0.0


def test_a_judgement_counts_by_label():
    class Says:
        classes_ = np.array([4, 7])

        def predict_proba(self, x):
            return np.stack([x[:, 0], 1 - x[:, 0]], 1)

    judgement = pf.metrics.judge(Says(), torch.tensor([[0.9], [0.8], [0.4], [0.7]]))
    labels = torch.tensor([4, 7, 7, 4])
    assert judgement.predicted.tolist() == [4, 4, 7, 4]
    assert judgement.accuracy_by_label(labels) == {4: 1.0, 7: 0.5}
    assert judgement.confidence_by_label(labels) == pytest.approx({4: 0.8, 7: 0.7})
    assert judgement.accuracy(labels) == 0.75
    assert judgement.accuracy_error(labels) == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    assert judgement.mean_confidence() == pytest.approx((0.9 + 0.8 + 0.6 + 0.7) / 4)
    with pytest.raises(ValueError, match="labels must have shape"):
        judgement.accuracy(labels[:3])


def _perturbed_flow():
    scale = pf.transforms.Scale(1 / 17)
    flow = pf.recipes.realnvp(4, num_layers=3, context_features=3, preprocessing=[scale, pf.transforms.Logit(0.02)])
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return flow
