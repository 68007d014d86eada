"""The studies mnist-masked and mnist-additive: what their numbers rest on."""

import math

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.errors import RunError
from pushforward.flows.dequantization import dequantized
from pushforward.flows.latent_path import LatentPath
from pushforward.losses import Batch
from pushforward.studies.kit import Candidate, Record
from pushforward.studies.mnist import additive, classifier, masked, models, scores, training
from pushforward.transforms import Additive, Affine, Compose, Elementwise, masks

D = training.PIXELS


@pytest.fixture(scope="module")
def data():
    return pf.data.mnist_sample()


def perturbed(module, size=0.02):
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return module


class EveryImageAlike:
    """Each of the 256^784 images is as probable as any other."""

    def log_prob(self, x, context=None):
        return torch.full(x.shape[:-1], -D * math.log(256))


# ---- masked coupling -----------------------------------------------------------------------------------------------


def test_a_masked_coupling_follows_the_equations_of_the_source():
    b = masks.random(D, generator=torch.Generator().manual_seed(0))
    layer = perturbed(models.coupling(b, Affine("tanh"), (8, 8))).double()
    z = torch.randn(3, D, dtype=torch.float64)
    t, raw = layer.conditioner(z[:, b]).chunk(2, -1)
    expected = z.clone()  # eq. 15 where b = 1
    expected[:, ~b] = z[:, ~b] * torch.tanh(raw).exp() + t  # where b = 0
    found, log_det = layer(z)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(log_det, torch.tanh(raw).sum(-1))  # eq. 17
    torch.testing.assert_close(layer.inverse(found)[0], z)  # eq. 16


def test_chequerboards_are_inverted_at_each_layer():
    boards = models.masks_of("chequerboard", 3, paired=False)
    assert torch.equal(boards[0], masks.chequerboard(D))
    assert torch.equal(boards[1], ~boards[0])
    assert torch.equal(boards[2], boards[0])


def test_random_masks_are_drawn_for_each_layer_or_in_complementary_pairs():
    alone = models.masks_of("random", 4, paired=False)
    assert len({tuple(mask.tolist()) for mask in (*alone, *(~mask for mask in alone))}) == 8
    pairs = models.masks_of("random", 4, paired=True)
    assert torch.equal(pairs[1], ~pairs[0])
    assert torch.equal(pairs[3], ~pairs[2])
    assert not torch.equal(pairs[2], pairs[0])


def test_random_masks_are_saved_with_the_flow(tmp_path):
    flow = perturbed(models.our_masked("random"), 1e-3)
    pf.save(flow, tmp_path / "flow.safetensors")
    again = pf.load(tmp_path / "flow.safetensors")
    torch.manual_seed(0)
    x = 256 * torch.rand(2, D)
    assert torch.equal(masked.times_transformed(again), masked.times_transformed(flow))
    torch.testing.assert_close(again.log_prob(x), flow.log_prob(x))


def test_our_masks_transform_each_pixel_as_often_as_any_other():
    assert masked.times_transformed(models.our_masked("random")).unique().tolist() == [3]
    often = masked.times_transformed(models.source_masked("random"))
    assert often.float().mean() == pytest.approx(8, abs=0.01)
    assert often.min() < 5


def test_the_noise_of_paper_becomes_normal():
    paper = dequantized(torch.zeros(200, D, dtype=torch.uint8), torch.Generator().manual_seed(0))
    for part in (*pf.data.pixel_units("logit"), models.paper_spline()):
        paper, _ = part(paper)
    z = paper.detach().flatten().double()
    z = (z - z.mean()) / z.std()
    assert abs(z.pow(3).mean()) < 0.15  # -2 for log u
    assert z.pow(4).mean() == pytest.approx(3, abs=0.3)  # 9 for log u
    shares = torch.stack([(z < q).double().mean() for q in (-2, -1, 0, 1, 2)])
    torch.testing.assert_close(shares, torch.special.ndtr(torch.arange(-2.0, 3).double()), atol=0.01, rtol=0)


@pytest.mark.parametrize("make", [models.our_masked, models.source_masked])
def test_masked_flows_are_inverted(make):
    flow = perturbed(make("chequerboard"), 3e-3)
    x = dequantized(torch.randint(256, (3, D)), torch.Generator().manual_seed(0))
    torch.testing.assert_close(flow.decode(flow.encode(x)).float(), x, atol=0.05, rtol=0)


# ---- additive coupling ---------------------------------------------------------------------------------------------


def test_an_additive_layer_has_one_log_det_the_sum_of_its_log_scales():
    layer = perturbed(models.additive_layer(masks.halves(D), 8)).double()
    x = torch.randn(3, D, dtype=torch.float64)
    y, log_det = layer(x)
    torch.testing.assert_close(log_det, layer[1].params.sum().expand(3))
    torch.testing.assert_close(layer.inverse(y)[0], x)


def test_additive_layers_are_those_of_the_source():
    layers = models.source_additive(torch.zeros(1, D, dtype=torch.uint8)).transform
    assert len(layers) == 4
    for number, layer in enumerate(layers):
        coupling, scale = layer
        assert isinstance(coupling.univariate, Additive)
        kept = masks.halves(D) if number % 2 == 0 else ~masks.halves(D)
        assert torch.equal(coupling.mask, kept)
        linear = [part for part in coupling.conditioner.modules() if isinstance(part, nn.Linear)]
        assert len(linear) + 1 == 5  # the first is a layer of the house
        assert scale.params.shape == (D, 1)


def test_exp_scale_multiplies_by_the_exponential():
    layer = Elementwise(3, models.ExpScale()).double()
    with torch.no_grad():
        layer.params.copy_(torch.tensor([[0.0], [1.0], [-2.0]]))
    y, log_det = layer(torch.ones(2, 3).double())
    torch.testing.assert_close(y, torch.tensor([0.0, 1.0, -2.0]).double().exp().expand(2, 3))
    torch.testing.assert_close(log_det, torch.full((2,), -1.0).double())
    assert pf.verify(layer, torch.randn(4, 3).double()).ok


def test_principal_components_have_unit_variance(data):
    mean, variances, rotation = models.principal_components(data.train.x)
    rows = dequantized(data.train.x.repeat(20, 1), torch.Generator().manual_seed(0)) / 256
    z = (rotation(rows - mean)[0] * variances.rsqrt()).double()
    covariance = z.T.cov(correction=0)
    assert variances[0] > variances[-1] > 0
    assert covariance.diagonal().sub(1).abs().max() < 0.1
    assert covariance.sub(torch.eye(D)).abs().mean() < 0.02


def test_our_additive_flow_changes_the_details_once_and_gives_every_component_a_turn(data, monkeypatch):
    monkeypatch.setattr(models, "NUM_COMPONENTS", 20)
    torch.manual_seed(0)
    flow = perturbed(models.our_additive(data.train.x), 1e-3)
    details, *others = flow.transform
    assert len(flow.transform) == models.NUM_LAYERS
    assert details.mask.nonzero().squeeze(1).tolist() == list(range(models.LEADING))
    assert sum(isinstance(part, nn.Linear) for part in details.conditioner.modules()) + 1 == 5
    turns = torch.zeros(models.LEADING)
    for layer in others:
        assert torch.equal(layer.indices, torch.arange(models.LEADING))
        for coupling in layer.transform:
            turns += ~coupling.mask
    assert turns.min() > 0
    x = dequantized(data.test.x[:20], torch.Generator().manual_seed(1))
    torch.testing.assert_close(flow.decode(flow.encode(x)).float(), x, atol=0.05, rtol=0)


@torch.no_grad()
def test_our_additive_flow_starts_on_the_clusters_of_the_images(data, monkeypatch):
    monkeypatch.setattr(models, "NUM_COMPONENTS", 20)  # more would each learn the noise of a few images
    flow = models.our_additive(data.train.x)
    x = dequantized(data.train.x, torch.Generator().manual_seed(1))
    at_start = flow.log_prob(x).mean()
    torch.testing.assert_close(flow.decode(flow.encode(x)).float(), x, atol=0.05, rtol=0)
    for mixture in flow.base.bases:
        assert mixture.log_std.isfinite().all()
        assert mixture.logits.exp().sum().item() == pytest.approx(len(x))
        mixture.mean.zero_()
        mixture.log_std.zero_()  # one normal with the covariance of the images
    assert at_start > flow.log_prob(x).mean() + 2  # 400 images tell little about clusters in 784 dimensions


# ---- scores, classifier, pictures ----------------------------------------------------------------------------------


def test_the_uniform_law_has_8_bits_and_0_nats(data):
    found = scores.likelihood_of(EveryImageAlike(), data.test)
    assert found.unit == pytest.approx(0, abs=1e-2)
    assert found.bits_per_dim == pytest.approx(8)
    # In logit space the density of a uniform law is the slope of the sigmoid, and paper lies far out.
    assert found.logit < -1_500


def test_the_verdict_counts_sure_images_and_labels():
    class Certain(classifier.Recognizer):
        def predict_proba(self, x):
            share = torch.full((len(x), 10), 0.05)
            share[:, 7] = 0.55
            share[:3] = 0.002
            share[:3, 4] = 0.982
            return share.double().numpy()

    found = classifier.verdict(Certain(), torch.zeros(4, D))
    assert found.sure == 0.75
    assert found.shares == [0, 0, 0, 0, 0.75, 0, 0, 0.25, 0, 0]
    assert min(found.shares) == 0


def test_the_classifier_learns_by_cross_entropy(data):
    torch.manual_seed(0)
    recognizer = classifier.Recognizer().eval()
    batch = Batch(data.test.x[:5].float(), data.test.labels[:5, None].float(), None, 5)
    scores = recognizer(batch.x)
    expected = scores.logsumexp(-1) - scores[torch.arange(5), data.test.labels[:5]]
    torch.testing.assert_close(classifier.cross_entropy(recognizer, batch), expected)


def test_stages_lead_from_the_latent_to_the_image():
    flow = perturbed(models.source_additive(torch.zeros(1, D, dtype=torch.uint8)), 1e-3)
    z = torch.randn(2, D)
    stages = additive.stages(flow, z)
    assert stages.shape == (2, 5, D)
    torch.testing.assert_close(stages[:, 0], 256 * z)
    torch.testing.assert_close(stages[:, -1], flow.decode(z))
    torch.testing.assert_close(stages[:, 1], 256 * flow.transform[3].inverse(z)[0])


def test_pairs_are_of_different_digits(data):
    pairs = additive.pairs_of_digits(data, seed=0)
    assert pairs.shape == (3, 2)
    assert len(data.test.labels[pairs].unique()) == 6


def test_a_path_that_misses_its_ends_is_refused():
    x = torch.zeros(1, 10, D)
    path = LatentPath(x, x)
    assert additive.error_of_ends(path, x[:, 0], x[:, -1] + 0.25) == 0.25
    with pytest.raises(RunError, match="2 levels away from the images"):
        additive.error_of_ends(path, x[:, 0], x[:, -1] + 2)
    with pytest.raises(RunError, match="nan levels away"):
        additive.error_of_ends(path, x[:, 0], x[:, -1] + math.nan)


def test_a_killed_study_goes_on_from_its_checkpoints(data, tmp_path):
    def make():
        return pf.Flow(
            Compose([Elementwise(D, Affine("plain"))]), pf.bases.StandardNormal(D), pf.data.pixel_units("1/256")
        )

    candidates = {"a run": Candidate("a name", make, {"max_seconds": 1.0})}
    records = [Record("mnist-masked", "", "", tmp_path) for _ in range(2)]
    flows = [training.train_on_mnist(record, candidates, data).first("a run") for record in records]
    assert (tmp_path / "checkpoints" / "a-run" / "checkpoint.safetensors").exists()
    assert records[0].runs[0]["steps"] == records[1].runs[0]["steps"]
    x = data.test.x[:3].float() + 0.5
    assert torch.equal(flows[0].log_prob(x), flows[1].log_prob(x))


def test_images_of_layers_are_stretched_but_for_the_last():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    steps = torch.stack([torch.linspace(-3, 5, D), torch.full((D,), 7.0)])[None]
    additive.layer_sheet(axes, steps, "")
    board = axes.images[0].get_array()
    assert (board[:, :28].min(), board[:, :28].max(), board[:, 29:].max()) == (0, 255, 7)
