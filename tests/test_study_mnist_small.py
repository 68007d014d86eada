"""The study of MNIST at 8 x 8 pixels: what its numbers rest on."""

import math

import pytest
import torch

from pushforward.flows.dequantization import dequantized
from pushforward.studies.digits import autoencoders as digit_autoencoders
from pushforward.studies.digits import schemes
from pushforward.studies.digits.judge import Judge
from pushforward.studies.digits.task import NUM_LABELS, at_most
from pushforward.studies.kit import Candidate, Comparison, Record, file_name, middles, to_levels
from pushforward.studies.mnist import eight_by_eight as mnist_8x8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return mnist_8x8.load_eight_by_eight(Record("mnist-8x8", "", "", tmp_path_factory.mktemp("mnist"), quick=True))


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(1)
    flow = mnist_8x8.WITH_BOTTLENECK.make(NUM_LABELS)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return flow


@pytest.fixture
def record(tmp_path):
    return Record("mnist-8x8", "", "", tmp_path)


def test_levels_undo_the_noise_at_256_levels(data):
    noisy = dequantized(data.test.x, torch.Generator().manual_seed(0))
    assert torch.equal(to_levels(noisy, data.levels), data.test.x.long())
    assert to_levels(torch.tensor([-3.0, 255.9, 400.0]), 256).tolist() == [0, 255, 255]


@pytest.mark.parametrize("candidate", [*mnist_8x8.CANDIDATES.values(), mnist_8x8.WITH_BOTTLENECK])
def test_every_flow_scores_both_ends_of_a_pixel(candidate):
    context = torch.eye(10)[[3, 4]]
    x = torch.stack([torch.full((64,), 1e-6), torch.full((64,), 255.999)])
    assert candidate.make(NUM_LABELS).log_prob(x, context).isfinite().all()


def test_the_reduced_images_use_all_levels(data):
    assert data.train.x.shape[1] == 64
    assert data.train.x.max() == 255
    assert data.levels == 256


def test_the_bottleneck_weighs_the_same_share_of_a_pixels_range(data):
    assert data.weight * (256 / 17) ** 2 == pytest.approx(0.1)


def test_all_codes_rebuild_an_8_bit_image(flow, data):
    x, labels = middles(data.test.x[:5]), data.test.labels[:5]
    alone, drawn = schemes.second_scheme(flow, x, labels, 64, 2, seed=0, levels=data.levels)
    assert torch.equal(alone, data.test.x[:5].long())
    assert torch.equal(drawn, data.test.x[:5, None].long().expand(-1, 2, -1))


def test_samples_reach_beyond_17_levels(flow, data):
    labels = torch.arange(10)
    assert schemes.first_scheme(flow, labels, 64, 0, data.levels).max() > 16
    assert schemes.first_scheme(flow, labels, 8, 0, data.levels).max() > 16


def test_an_autoencoder_of_8_bit_images_starts_at_their_middle():
    model, x = digit_autoencoders.Autoencoder(2, 256).eval(), 256 * torch.rand(3, 64)
    torch.testing.assert_close(model.decode(model.encode(x)), torch.full((3, 64), 128.0))


def test_a_gaussian_of_logits_beats_one_of_levels_and_both_beat_guessing(data, tmp_path):
    found = mnist_8x8.rivals(Record("mnist-8x8", "", "", tmp_path, quick=True), data)
    nats = {key: data.nll(rival.density).mean for key, rival in found.items()}
    assert nats["gaussian"] < 64 * math.log(256)
    assert nats["gaussian_logit"] < nats["gaussian"]


def test_the_judge_measures_at_most_so_many_images(data, monkeypatch):
    judge = Judge(data.train, data.test, quick=True, most=20)
    seen = []

    def distances(images, others):
        seen.append(len(images))
        return torch.ones(len(images)).double()

    monkeypatch.setattr("pushforward.metrics.nearest_neighbour_distance", distances)
    judge.quality(data.test.x)
    assert set(seen) == {20}


def test_the_first_images_of_a_part_keep_their_labels(data):
    few = at_most(data.train, 7)
    assert torch.equal(few.x, data.train.x[:7])
    assert torch.equal(few.labels, data.train.labels[:7])


def test_a_part_of_a_study_keeps_its_findings_under_its_name(record):
    part = record.of_part("plain")
    part.number("test.ours", 1.0)
    record.number("test.ours", 2.0)
    assert record.numbers == {"plain": {"test": {"ours": 1.0}}, "test": {"ours": 2.0}}
    part.heading("a heading")
    assert record.blocks == part.blocks
    assert part.named("samples") == "plain-samples"
    assert record.named("samples") == "samples"


def test_a_label_becomes_the_name_of_a_folder():
    assert file_name("plain-ours, k = 2, seed 0") == "plain-ours-k-2-seed-0"


def test_a_killed_training_goes_on(record, data):
    candidates = {"ours": Candidate("", mnist_8x8.WITH_BOTTLENECK.make, {"num_steps": 3, "batch_size": 32})}
    first, again = (data.fit(Comparison(record.of_part("plain")), candidates).trained["ours"][0] for _ in range(2))
    assert (record.out / "checkpoints" / "plain-ours-seed-0" / "checkpoint.safetensors").exists()
    assert first.history.steps == again.history.steps == 3
    x = middles(data.test.x)
    assert torch.equal(first.model.log_prob(x), again.model.log_prob(x))
