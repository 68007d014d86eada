"""The study `vae-prior`: its runs in files and processes, and what it measures."""

import math
from dataclasses import replace

import pytest
import torch

from pushforward import vae
from pushforward.errors import RunError
from pushforward.studies.kit import Record
from pushforward.studies.kit.cells import complete
from pushforward.studies.vae import priors as vae_prior
from pushforward.studies.vae import runs as vae_runs
from pushforward.studies.vae.runs import VAERun

TINY = VAERun(
    "normal", 2, epochs=2, batch_size=100, hidden=8, elbo_samples=2, iwae_images=20, iwae_samples=5, compared=30,
    sample=True,
)  # fmt: skip


@pytest.fixture
def record(tmp_path):
    return Record("vae-prior", "A title", "a source", tmp_path)


def forbidden(*arguments):
    raise AssertionError("a finished run was done again")


def test_workers_do_what_is_missing_and_a_finished_run_is_kept(record, monkeypatch):
    lines = []
    record.say = lines.append
    runs = [TINY, replace(TINY, prior="flow")]
    complete(record, runs[:1], num_workers=0)
    found = complete(record, runs)
    folder = record.out / "runs"
    assert lines[:2] == [f"  0 of 1 runs are in {folder}", "  normal-2-dynamic-seed0 (1 of 1)"]
    assert lines[2:] == [f"  1 of 2 runs are in {folder}", "  flow-2-dynamic-seed0 (2 of 2)"]
    assert [one.cell for one in found] == runs
    assert not list(folder.rglob("checkpoint.safetensors"))
    monkeypatch.setattr(VAERun, "perform", forbidden)
    again = complete(record, runs, num_workers=0)
    assert [(one.elbo, one.curve) for one in again] == [(one.elbo, one.curve) for one in found]
    with pytest.raises(AssertionError, match="done again"):
        complete(record, [replace(TINY, epochs=3)], num_workers=0)


def test_a_failing_worker_is_named_with_its_reason(record):
    with pytest.raises(RunError, match="the run gaussian-2-dynamic-seed0 failed: .*prior, .* must be one of"):
        complete(record, [replace(TINY, prior="gaussian")], num_workers=1)


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_numbers(record, monkeypatch):
    (whole,) = complete(record, [TINY], num_workers=0)
    terms, calls = vae.VAE.terms, []

    def killed(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 16:  # in the middle of the training proper
            raise KeyboardInterrupt
        return terms(*arguments, **options)

    record = replace(record, out=record.out / "killed")
    with monkeypatch.context() as patched:
        patched.setattr(vae.VAE, "terms", killed)
        with pytest.raises(KeyboardInterrupt):
            complete(record, [TINY], num_workers=0)
    folder = record.out / "runs"
    assert (folder / TINY.name / "checkpoint.safetensors").exists()
    assert not (folder / f"{TINY.name}.safetensors").exists()
    (again,) = complete(record, [TINY], num_workers=0)
    assert torch.equal(again.elbos, whole.elbos)


def test_every_model_is_measured_on_the_same_test_images(record):
    other = replace(TINY, seed=5, prior="mixture")
    one, two = complete(record, [TINY, other], num_workers=0)
    assert torch.equal(one.images, two.images)
    assert len(one.images) == 10  # one of each label
    assert one.elbo == pytest.approx(one.elbos.mean().item(), abs=1e-3)
    assert one.likelihood - one.rate == pytest.approx(one.elbo, abs=1e-3)
    value, error = vae_prior.gain(one, two)
    difference = one.elbos - two.elbos
    assert value == pytest.approx(one.elbo - two.elbo, abs=1e-3)
    assert error == pytest.approx(difference.std().item() / math.sqrt(len(difference)))


def test_latents_are_flattened_by_the_principal_components_of_the_posterior():
    torch.manual_seed(0)
    latents = torch.randn(500, 4) * torch.tensor([0.1, 5.0, 0.1, 2.0]) + 7
    flat, drawn, share = vae_runs._flattened(latents, latents + torch.tensor([0, 1.0, 0, 0]))
    assert share > 0.99
    torch.testing.assert_close(flat.std(0), torch.tensor([5.0, 2.0]), rtol=0.1, atol=0)
    torch.testing.assert_close((drawn - flat).abs().mean(0), torch.tensor([1.0, 0.0]), atol=0.05, rtol=0)
    assert vae_runs._flattened(latents[:, :2], latents[:, 2:])[2] == 1.0


def test_the_planar_run_has_an_amortized_posterior_flow():
    model = replace(TINY, planar=3).model()
    assert (len(model.posterior_flow.transform), model.context_size) == (3, 32)
    assert isinstance(TINY.model(), vae.VAE)
    assert TINY.model().posterior_flow is None
