"""The study `vae-prior`: its runs in files and processes, what it measures, and its short form."""

import json
import math
from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure

from pushforward import vae
from pushforward.errors import RunError
from pushforward.studies import run as run_study
from pushforward.studies.vae import pictures as vae_pictures
from pushforward.studies.vae import priors as vae_prior
from pushforward.studies.vae import runs as vae_runs
from pushforward.studies.vae.runs import Run

TINY = Run(
    "normal", 2, epochs=2, batch_size=100, hidden=8, elbo_samples=2, iwae_images=20, iwae_samples=5, compared=30,
    sample=True,
)  # fmt: skip


def forbidden(*arguments):
    raise AssertionError("a finished run was done again")


def test_workers_do_what_is_missing_and_a_finished_run_is_kept(tmp_path, monkeypatch):
    lines = []
    runs = [TINY, replace(TINY, prior="flow")]
    vae_runs.complete(runs[:1], tmp_path, 0, lines.append)
    found = vae_runs.complete(runs, tmp_path, 2, lines.append)
    assert lines[:2] == [f"  0 of 1 runs are in {tmp_path}", "  normal-2-dynamic-seed0"]
    assert lines[2:] == [f"  1 of 2 runs are in {tmp_path}", "  flow-2-dynamic-seed0 (1 of 1 done)"]
    assert [one.run for one in found] == runs
    assert not list(tmp_path.rglob("checkpoint.safetensors"))
    monkeypatch.setattr(vae_runs, "perform", forbidden)
    again = vae_runs.complete(runs, tmp_path, 0, lines.append)
    assert [one.numbers for one in again] == [one.numbers for one in found]
    with pytest.raises(AssertionError, match="done again"):
        vae_runs.complete([replace(TINY, epochs=3)], tmp_path, 0, lines.append)


def test_a_failing_worker_is_named_with_its_reason(tmp_path):
    with pytest.raises(RunError, match="the run gaussian-2-dynamic-seed0 failed: .*prior must be a Flow"):
        vae_runs.complete([replace(TINY, prior="gaussian")], tmp_path, 1, str)


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_numbers(tmp_path, monkeypatch):
    (whole,) = vae_runs.complete([TINY], tmp_path / "whole", 0, str)
    terms, calls = vae.VAE.terms, []

    def killed(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 16:  # in the middle of the training proper
            raise KeyboardInterrupt
        return terms(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(vae.VAE, "terms", killed)
        with pytest.raises(KeyboardInterrupt):
            vae_runs.complete([TINY], tmp_path / "killed", 0, str)
    folder = tmp_path / "killed" / TINY.name
    assert (folder / vae_runs.CHECKPOINT).exists()
    assert not (folder / vae_runs.MEASURED).exists()
    (again,) = vae_runs.complete([TINY], tmp_path / "killed", 0, str)
    assert torch.equal(again.arrays["elbo"], whole.arrays["elbo"])


def test_every_model_is_measured_on_the_same_test_images(tmp_path):
    other = replace(TINY, seed=5, prior="mixture")
    one, two = vae_runs.complete([TINY, other], tmp_path, 0, str)
    assert torch.equal(one.arrays["images"], two.arrays["images"])
    assert one.arrays["labels"].tolist() == list(range(10))
    numbers = one.numbers
    assert numbers["elbo"] == pytest.approx(one.arrays["elbo"].mean().item(), abs=1e-3)
    assert numbers["likelihood"] - numbers["rate"] == pytest.approx(numbers["elbo"], abs=1e-3)
    value, error = vae_prior.gain(one, two)
    difference = one.arrays["elbo"] - two.arrays["elbo"]
    assert value == pytest.approx(numbers["elbo"] - two.numbers["elbo"], abs=1e-3)
    assert error == pytest.approx(difference.std().item() / math.sqrt(len(difference)))


def test_latents_are_flattened_by_the_principal_components_of_the_posterior():
    torch.manual_seed(0)
    latents = torch.randn(500, 4) * torch.tensor([0.1, 5.0, 0.1, 2.0]) + 7
    flat, drawn, share = vae_runs._flattened(latents, latents + torch.tensor([0, 1.0, 0, 0]))
    assert share > 0.99
    torch.testing.assert_close(flat.std(0), torch.tensor([5.0, 2.0]), rtol=0.1, atol=0)
    torch.testing.assert_close((drawn - flat).abs().mean(0), torch.tensor([1.0, 0.0]), atol=0.05, rtol=0)
    assert (
        vae_runs._flattened(
            latents[:, :2],
            latents[:, 2:],
        )[2]
        == 1.0
    )


def test_the_planar_run_has_an_amortized_posterior_flow():
    model = replace(TINY, planar=3).model()
    assert (len(model.posterior_flow.transform), model.context_size) == (3, 32)
    assert isinstance(TINY.model(), vae.VAE)
    assert TINY.model().posterior_flow is None


def test_the_short_form_writes_every_table_and_picture(tmp_path, monkeypatch):
    drawn = []
    for name in ("training", "latents", "samples", "reconstructions"):
        monkeypatch.setattr(vae_pictures, name, lambda *panels, name=name: drawn.append(name) or Figure(figsize=(1, 1)))
    tiny = {"epochs": 2, "hidden": 8, "batch_size": 100, "iwae_images": 5, "iwae_samples": 3, "compared": 20}
    monkeypatch.setattr(vae_prior, "QUICK", {**vae_prior.QUICK, **tiny})
    record = run_study("vae-prior", quick=True, out=tmp_path, progress=False)
    assert drawn == ["training", "latents", "samples", "samples", "reconstructions"]
    numbers = json.loads((tmp_path / "results.json").read_text())["numbers"]
    assert set(numbers["dynamic"]["latent 32"]) == {*vae_prior.PRIORS, "normal and planar posterior"}
    assert set(numbers["threshold"]) == {"latent 32"}
    assert sum(block.kind == "question" for block in record.blocks) == 5
