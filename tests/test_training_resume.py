"""Runs that are killed, interrupted, refused or finished, and how they go on."""

import functools
import json
import math
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pushforward.errors import InputError, RunError
from pushforward.training import checkpoint, fit
from pushforward.training.interrupt import Interrupted
from pushforward.training.run_folder import RunFolder

X = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
FOLDER = Path(__file__).parent


class Model(nn.Module):
    """A normal density with dropout; `at` a training step it does something."""

    def __init__(self, at=0, action=None):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))
        self.register_buffer("count", torch.tensor(0))
        self.dropout, self.at, self.action = nn.Dropout(0.5), at, action

    def log_prob(self, x, context=None):
        if self.training:
            self.count += 1
            if self.count == self.at:
                self.action()
        return -0.5 * ((x - self.dropout(self.mean) - self.mean) ** 2).sum(-1)


def run(model, out, **options):
    return fit(model, X, **{"num_steps": 130, "batch_size": 16, "progress": False, "out": out, **options})


def interrupted(model, out, **options):
    with pytest.raises(Interrupted) as caught:
        run(model, out, **options)
    return str(caught.value)


def send(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_saves_and_says_how_to_go_on(number, name, tmp_path):
    before = signal.getsignal(number)
    model = Model(57, send(number))
    message = interrupted(model, tmp_path)
    assert message == f"stopped by {name} at step 57 of 130; saved in {tmp_path}: go on with resume=True (--resume)."
    assert signal.getsignal(number) is before
    assert not model.training


@pytest.mark.parametrize("at", [1, 57, 129])
@pytest.mark.parametrize("optimizer", ["adam", lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)])
def test_an_interrupted_run_goes_on_to_the_same_weights_and_history(at, optimizer, tmp_path):
    whole, part, rest = Model(), Model(at, send(signal.SIGINT)), Model()
    expected = run(whole, tmp_path / "whole", optimizer=optimizer)
    interrupted(part, tmp_path / "part", optimizer=optimizer)
    nn.init.ones_(rest.mean)  # what the model holds before a resume does not matter
    history = run(rest, tmp_path / "part", optimizer=optimizer, resume=True)
    assert torch.equal(rest.mean, whole.mean)
    assert rest.count == whole.count
    for ours, theirs in zip(history.rows, expected.rows, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    assert history.best_step == expected.best_step
    lines = (tmp_path / "part" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [row["step"] for row in history.rows]


class Breaking(Model):
    """The model whose loss is NaN at one call in training."""

    def __init__(self, bad, at=0, action=None):
        super().__init__(at, action)
        self.bad, self.calls = bad, 0

    def log_prob(self, x, context=None):
        self.calls += self.training
        return super().log_prob(x) * (torch.nan if self.training and self.calls == self.bad else 1)


@pytest.mark.parametrize(
    ("make", "at", "options"),
    [
        # reported are the losses before and after the interruption together
        (Model, 25, {"num_steps": 3000, "validation": None}),
        (Model, 60, {"num_steps": 3000, "patience": 20, "learning_rate": 1e-7}),
        # the learning rate stays halved, and the snapshots are those from before
        (functools.partial(Breaking, 30), 70, {}),
    ],
)
def test_a_resumed_run_remembers(make, at, options, tmp_path):
    whole, part, rest = make(), make(at=at, action=send(signal.SIGINT)), make()
    rest.bad = 0  # what broke the run lies behind it
    expected = run(whole, None, **options)
    interrupted(part, tmp_path, **options)
    history = run(rest, tmp_path, resume=True, **options)
    assert torch.equal(rest.mean, whole.mean)
    for ours, theirs in zip(history.rows, expected.rows, strict=True):
        assert str({**ours, "seconds": 0}) == str({**theirs, "seconds": 0})  # NaN is not equal to itself
    assert history.rollbacks == expected.rollbacks
    assert history.stopped_because == expected.stopped_because


def test_reports_made_after_the_last_checkpoint_are_not_kept_twice(tmp_path):
    interrupted(Model(57, send(signal.SIGINT)), tmp_path)
    file = tmp_path / "history.jsonl"
    file.write_text(file.read_text() + '{"step": 58}\n')
    history = run(Model(), tmp_path, resume=True)
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [row["step"] for row in history.rows]


def test_a_run_limited_by_time_goes_on_under_its_recorded_plan(tmp_path):
    timer = threading.Timer(1.0, send(signal.SIGINT))
    timer.start()
    interrupted(Model(), tmp_path, num_steps=None, max_seconds=2.0)
    resumed, again = Model(), Model()
    history = run(resumed, tmp_path, num_steps=None, max_seconds=2.0, resume=True)
    assert 1.5 < history.seconds < 2.5
    run(again, None, num_steps=history.plan)
    assert torch.equal(resumed.mean, again.mean)


def test_a_run_in_another_thread_leaves_the_signals_alone(tmp_path):
    model, whole = Model(), Model()
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run, args=(model, tmp_path))
    thread.start()
    thread.join()
    run(whole, None)
    assert torch.equal(model.mean, whole.mean)
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_folder_a_signal_says_that_nothing_was_saved():
    message = interrupted(Model(5, send(signal.SIGINT)), None)
    assert "nothing was saved, since no out= was given" in message


def test_a_finished_run_returns_its_result(tmp_path):
    model, again = Model(), Model()
    history = run(model, tmp_path)
    file = tmp_path / checkpoint.NAME
    written = file.stat().st_mtime_ns
    second = run(again, tmp_path, resume=True)
    assert torch.equal(model.mean, again.mean)
    assert second.rows == history.rows
    assert second.stopped_because == "finished"
    assert file.stat().st_mtime_ns == written


def test_resuming_without_a_checkpoint_starts_afresh_and_says_so(tmp_path, capsys):
    history = run(Model(), tmp_path, resume=True, progress=True)
    assert history.steps == 130
    assert history.notes == [f"no checkpoint in {tmp_path}: starting afresh"]
    assert history.notes[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.5}, r"belongs to another run: learning_rate was 0.005, is 0.5\."),
        ({"seed": 1, "num_steps": 131}, r"num_steps was 130, is 131; seed was 0, is 1\."),
        ({"validation": None}, r"validation was 0.1, is 0.0\."),
        ({"optimizer": "adamw"}, r'optimizer was "adam", is "adamw"'),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(options, message, tmp_path):
    run(Model(), tmp_path)
    with pytest.raises(InputError, match=message):
        run(Model(), tmp_path, resume=True, **options)


def test_a_checkpoint_of_other_data_or_another_model_is_refused(tmp_path):
    run(Model(), tmp_path)
    with pytest.raises(InputError, match=r"belongs to another run: data was"):
        fit(Model(), X + 1, num_steps=130, batch_size=16, progress=False, out=tmp_path, resume=True)
    other = Model()
    other.extra = nn.Parameter(torch.zeros(1))
    with pytest.raises(InputError, match=r"belongs to another run: model was"):
        run(other, tmp_path, resume=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_refused(content, tmp_path):
    run(Model(), tmp_path)
    file = tmp_path / checkpoint.NAME
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    with pytest.raises(InputError, match=r"checkpoint.safetensors: .*\(delete it to start afresh\)$"):
        run(Model(), tmp_path, resume=True)


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path):
    run(Model(), tmp_path)
    file = tmp_path / checkpoint.NAME
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"its digest is not that of its content \(delete it to start afresh\)$"):
        run(Model(), tmp_path, resume=True)


@pytest.mark.parametrize("metadata", [{"pushforward": '{"digest": {}, "now": {}}'}, {}])
def test_a_file_that_is_no_checkpoint_of_this_version_is_refused(metadata, tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / checkpoint.NAME, metadata)
    with pytest.raises(InputError, match=r'without "pushforward checkpoint" .*\(delete it to start afresh\)$'):
        run(Model(), tmp_path, resume=True)


def test_a_checkpoint_keeps_every_number(tmp_path):
    state = {
        "tensors": {"": torch.arange(3.0), "layers.0": torch.tensor([torch.nan])},
        "losses": [torch.tensor(1.5, dtype=torch.float64), torch.tensor(torch.inf)],
        "rows": [{"train_loss": math.nan, "validation_loss": -math.inf, "rate": 0.1, "epoch": None, "step": 3}],
        "names": {},
    }
    checkpoint.write_checkpoint(tmp_path, {"seed": 1}, state)
    read = checkpoint.read_checkpoint(tmp_path, {"seed": 1})
    assert read is not None
    torch.testing.assert_close(read["tensors"], state["tensors"], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(read["losses"], state["losses"], rtol=0, atol=0)
    assert str(read["rows"]) == str(state["rows"])
    assert read["names"] == {}


def test_a_run_stopped_before_its_first_step_has_reported_once_when_it_ends(tmp_path, monkeypatch):
    save = RunFolder.save

    def save_and_send(*args):
        monkeypatch.undo()
        save(*args)
        send(signal.SIGINT)()

    monkeypatch.setattr(RunFolder, "save", save_and_send)
    message = interrupted(Model(), tmp_path)
    assert message.startswith("stopped by Ctrl-C at step 0 of 130")
    whole, rest = Model(), Model()
    expected = run(whole, None)
    history = run(rest, tmp_path, resume=True)
    assert [row["step"] for row in history.rows] == [row["step"] for row in expected.rows]
    assert torch.equal(rest.mean, whole.mean)


def test_a_loader_cannot_resume(tmp_path):
    with pytest.raises(InputError, match="a run on a loader or generator cannot be resumed: give tensors or arrays"):
        fit(Model(), [X], num_steps=5, out=tmp_path, resume=True, progress=False)


def test_an_unwritable_folder_is_refused_before_training(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    model = Model()
    with pytest.raises(
        InputError, match=r"file/out: cannot be written to: Not a directory \(choose another folder with out=\)"
    ):
        run(model, file / "out")
    assert model.count == 0


def test_a_full_disk_fails_in_one_line_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    model = Model(57, lambda: (monkeypatch.setattr(os, "fsync", full), send(signal.SIGINT)()))
    with pytest.raises(
        RunError, match=r"checkpoint.safetensors: writing failed: No space left on device \(nothing was written\)$"
    ):
        run(model, tmp_path)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.NAME, "history.jsonl"]
    whole, rest = Model(), Model()
    run(whole, None)
    run(rest, tmp_path, resume=True)
    assert torch.equal(rest.mean, whole.mean)
