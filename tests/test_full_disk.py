"""A disk that becomes full, as a limit to the length of files: one line, what was whole stays, and the run goes on."""

import resource
from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest
import torch

import pushforward as pf
from pushforward.errors import RunError
from pushforward.training import run_folder
from pushforward.training.run import Run


@contextmanager
def no_file_longer_than(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def rows(n, seed=0):
    a = np.random.default_rng(seed).normal(size=(n, 2))
    return pl.DataFrame({"a": a[:, 0], "b": a[:, 0] + a[:, 1]})


@pytest.fixture
def files(tmp_path):
    """Return a folder of three pieces, of which the last is by far the longest."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for number, size in enumerate((100, 100, 20_000)):
        rows(size, seed=number).write_parquet(folder / f"{number}.parquet")
    return folder


def score(*arguments):
    from pushforward.cli.app import app

    app(["score", *map(str, arguments)], result_action="return_value")


@pytest.mark.parametrize("out", ["scores", "scores.parquet", "scores.csv"])
def test_parts_that_were_scored_stay_and_the_same_command_goes_on(tmp_path, files, out):
    model = tmp_path / "model.safetensors"
    pf.TableModel.fit(rows(300), recipe="realnvp", num_steps=5, progress=False, notify=lambda line: None).save(model)
    out, folder = tmp_path / out, tmp_path / (out if "." not in out else f".{out}.parts")
    with (
        no_file_longer_than(50_000),
        pytest.raises(RunError, match=r"part-000002.\w+: writing failed: File too large.*nothing was written"),
    ):
        score(model, files, "--out", out)
    there = {file.name: file.stat().st_mtime_ns for file in folder.iterdir() if file.name != "_header.csv"}
    assert {name.partition(".")[0] for name in there} == {"_run", "part-000000", "part-000001"}
    score(model, files, "--out", out)
    if out == folder:
        assert there.items() <= {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}.items()
    score(model, files, "--out", tmp_path / f"whole{out.suffix}")
    found, whole = (
        [one] if one.is_file() else sorted(one.glob("part-*")) for one in (out, tmp_path / f"whole{out.suffix}")
    )
    assert [one.read_bytes() for one in found] == [one.read_bytes() for one in whole]


def test_a_joined_file_that_does_not_fit_leaves_all_parts(tmp_path, files):
    model = tmp_path / "model.safetensors"
    pf.TableModel.fit(rows(300), recipe="realnvp", num_steps=5, progress=False, notify=lambda line: None).save(model)
    score(model, files, "--out", tmp_path / "parts")
    longest = max(part.stat().st_size for part in (tmp_path / "parts").iterdir())
    out = tmp_path / "scores.parquet"
    with no_file_longer_than(longest + 1000), pytest.raises(RunError, match="scores.parquet: writing failed"):
        score(model, files, "--out", out)
    assert not out.exists()
    assert len(list((tmp_path / ".scores.parquet.parts").glob("part-*"))) == 3
    score(model, files, "--out", out)
    assert pl.read_parquet(out).height == 20_200


@pytest.mark.parametrize("most", [0, 4096])  # the history cannot be longer, or the checkpoint cannot
def test_a_training_leaves_its_checkpoint_and_goes_on_to_the_same_weights(tmp_path, files, monkeypatch, most):
    monkeypatch.setattr(run_folder, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(run_folder, "SAVE_SHARE", 1e9)
    advance, quiet = Run._advance, {"num_steps": 200, "batch_size": 32, "progress": False}

    def weights(out, **more):
        torch.manual_seed(0)
        flow = pf.recipes.realnvp(2, num_layers=2, hidden_features=(16,))
        pf.fit(flow, pf.scale.stream_rows(files), out=out, **quiet, **more)
        return torch.cat([one.detach().flatten() for one in flow.parameters()])

    def advance_until_full(run):
        with no_file_longer_than(most) if run.step else no_file_longer_than(2**40):
            advance(run)

    out = tmp_path / "out"
    monkeypatch.setattr(Run, "_advance", advance_until_full)
    with pytest.raises(
        RunError, match=r"(history.jsonl: could not be written|checkpoint.*: writing failed).*[Tt]oo large"
    ):
        weights(out)
    assert {file.name for file in out.iterdir()} == {"checkpoint.safetensors", "history.jsonl"}
    monkeypatch.setattr(Run, "_advance", advance)
    assert torch.equal(weights(out, resume=True), weights(tmp_path / "whole"))
