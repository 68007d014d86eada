"""The studies on digits: what their numbers rest on."""

import pytest
import torch

import pushforward as pf
from pushforward.data.digits import LEVELS
from pushforward.flows.dequantization import dequantized
from pushforward.losses import Batch
from pushforward.report.plots.sheets import tiled
from pushforward.studies.digits import autoencoders as digit_autoencoders
from pushforward.studies.digits import codes as digit_codes
from pushforward.studies.digits import gaussians as digit_gaussians
from pushforward.studies.digits import schemes, task
from pushforward.studies.digits.judge import Judge
from pushforward.studies.kit import Record, middles, one_hot, to_levels


@pytest.fixture(scope="module")
def data():
    return pf.data.digits()


@pytest.fixture(scope="module")
def judge(data):
    return Judge(data.train, data.test, quick=True)


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(1)
    flow = task.AFFINE.make(task.NUM_LABELS)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return flow


def test_levels_undo_the_noise(data):
    noisy = dequantized(data.test.x, torch.Generator().manual_seed(0))
    assert torch.equal(to_levels(noisy, LEVELS), data.test.x)
    assert torch.equal(to_levels(middles(data.test.x), LEVELS), data.test.x)
    assert to_levels(torch.tensor([-3.0, 16.9, 40.0]), LEVELS).tolist() == [0, 16, 16]


@pytest.mark.parametrize("candidate", [task.sources_realnvp(), task.SPLINES, task.AFFINE])
def test_every_flow_scores_both_ends_of_a_pixel(candidate):
    model = candidate.make(task.NUM_LABELS)
    labels = torch.tensor([3, 4])
    x = torch.stack([torch.zeros(64), torch.full((64,), 16.999)])
    assert model.log_prob(x, one_hot(labels, task.NUM_LABELS)).isfinite().all()


def test_a_context_is_given_only_to_models_that_take_it(flow):
    labels = torch.tensor([2])
    assert task.context_of(flow, labels).argmax() == 2
    assert task.context_of(task.sources_realnvp().make(), labels) is None


def test_all_codes_rebuild_the_image(flow, data):
    x, labels = middles(data.test.x[:5]), data.test.labels[:5]
    torch.testing.assert_close(schemes.rebuilt(flow, x, labels, 64).float(), x, atol=1e-3, rtol=0)
    assert schemes.pixel_error(x, schemes.rebuilt(flow, x, labels, 2)) > 1


def test_pixel_error_is_the_mean_square():
    assert schemes.pixel_error(torch.zeros(2, 4), torch.full((2, 4), 3.0)) == 9.0


def test_the_second_scheme_holds_the_first_codes(flow, data):
    x, labels = middles(data.test.x[:3]), data.test.labels[:3]
    alone, drawn = schemes.second_scheme(flow, x, labels, 64, 4, seed=0)
    # With all codes held nothing is drawn: every sample is the image.
    assert torch.equal(alone, data.test.x[:3])
    assert torch.equal(drawn, data.test.x[:3, None].expand(-1, 4, -1))
    _, drawn = schemes.second_scheme(flow, x, labels, 8, 4, seed=0)
    assert drawn.shape == (3, 4, 64)
    assert not torch.equal(drawn[:, 0], drawn[:, 1])


def test_the_first_scheme_draws_only_the_first_codes(flow):
    labels = torch.tensor([5, 5, 7])
    z = torch.randn(3, 64, generator=torch.Generator().manual_seed(3))
    z[:, 4:] = 0
    with torch.no_grad():
        expected = to_levels(flow.decode(z, one_hot(labels, 10)), LEVELS)
    assert torch.equal(schemes.first_scheme(flow, labels, 4, seed=3), expected)
    assert not torch.equal(schemes.first_scheme(flow, labels, 64, seed=3), expected)
    few = schemes.only_first(torch.ones(2, 64), 4)
    assert few.sum(1).tolist() == [4.0, 4.0]
    assert few[:, :4].min() == 1


def test_principal_components_rebuild_what_lies_in_their_plane():
    x = torch.randn(50, 3) @ torch.randn(3, 64) + 5
    linear = digit_autoencoders.PrincipalComponents(x, 3)
    torch.testing.assert_close(linear.decode(linear.encode(x)), x, atol=1e-3, rtol=0)
    fewer = digit_autoencoders.PrincipalComponents(x, 2)
    assert schemes.pixel_error(x, fewer.decode(fewer.encode(x))) > 0.01


def test_sampled_codes_follow_the_codes():
    codes = torch.randn(5_000, 2) @ torch.tensor([[2.0, 1.0], [0.0, 0.5]]) + torch.tensor([3.0, -1.0])
    drawn = digit_autoencoders.sampled_codes(codes, 20_000, seed=0)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), codes.T.cov(), atol=0.15, rtol=0)
    assert digit_autoencoders.sampled_codes(codes[:, :1], 7, seed=0).shape == (7, 1)


def test_the_loss_of_an_autoencoder_is_its_squared_error():
    model, x = digit_autoencoders.Autoencoder(2).eval(), 17 * torch.rand(3, 64)
    # Untrained it says 8.5 everywhere: its last layer starts at zero.
    expected = (x - 8.5).square().sum(-1)
    torch.testing.assert_close(digit_autoencoders.rebuilding_error(model, Batch(x, None, None, 3)), expected)


def test_label_gaussians_have_the_density_they_sample_from():
    labels = torch.arange(10).repeat(40)
    x = torch.randn(400, 64) + 3.0 * labels[:, None]
    model = digit_gaussians.LabelGaussians(x, labels)
    drawn = model.sample(500, torch.eye(10), generator=torch.Generator().manual_seed(0))
    means = torch.stack([x[labels == label].mean(0) for label in range(10)]).double()
    torch.testing.assert_close(drawn.mean(1), means, atol=0.35, rtol=0)
    # E[-log p] of a Gaussian's own samples is its entropy, D (1 + log 2 pi) / 2 + log det.
    context = torch.eye(10)[3].expand(500, -1)
    cholesky = model.gaussians[3].cholesky
    entropy = 32 * (1 + torch.log(torch.tensor(2 * torch.pi))) + cholesky.diagonal().log().sum()
    entropy = entropy + model.scaling.std.log().sum()
    assert -model.log_prob(drawn[3], context).mean() == pytest.approx(entropy.item(), abs=1.5)


def test_copies_of_training_images_are_seen_as_such(judge, data):
    copies = judge.quality(data.train.x[:100])
    assert copies.distance == 0
    assert copies.near_share == 1
    real = judge.quality(data.test.x)
    assert real.distance > 10
    assert real.near_share <= 0.02


def test_the_forest_recognises_real_test_images(judge, data):
    assert judge.judge(data.test.x).accuracy(data.test.labels) > 0.93
    assert judge.quality(data.test.x).labels_shown == pytest.approx(10, abs=0.1)


def test_noise_is_told_from_digits(judge):
    noise = judge.quality(torch.randint(17, (100, 64)))
    assert noise.mmd > 0.05
    assert noise.mmd_p_value < 0.1


def test_planes_have_orthonormal_directions():
    z, labels = torch.randn(80, 64), torch.arange(80) % 10
    for directions in digit_codes.planes(z, z, labels, seed=0).values():
        torch.testing.assert_close(directions.T @ directions, torch.eye(2), atol=1e-5, rtol=0)


def test_mean_square_radius_is_that_of_the_rows(tmp_path):
    z = torch.randn(60, 5) + 1
    (found,) = digit_codes.normality(Record("digits", "", "", tmp_path), "all", {0: z})
    assert found.mean_square_radius == pytest.approx(z.square().mean().item(), rel=1e-5)


def test_a_sheet_has_a_gap_between_images():
    board = tiled(torch.ones(3, 64), 2, (8, 8))
    assert board.shape == (17, 17)
    assert (board[:8, :8] == 1).all()
    assert (board[:8, 9:] == 1).all()
    assert (board[9:, :8] == 1).all()
    assert board[9:, 9:].tolist() != board[9:, :8].tolist()  # the empty place


def test_a_difference_says_which_way_it_goes():
    assert task.less_or_more(1.26) == "1.3 nats an image less"
    assert task.less_or_more(-1.26) == "1.3 nats an image more"
