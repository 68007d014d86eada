"""Runs that are killed outright, and go on as if nothing had been: to the same weights, in the same memory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as parquet
import torch

import pushforward as pf
from long_tables import command, fit, rows, write_parquet
from pushforward.tables.in_pieces import pieces

TESTS = Path(__file__).parents[1]


def test_a_run_killed_at_random_moments_ends_with_the_weights_of_an_unbroken_one(tmp_path):
    command = [sys.executable, "-W", "error", str(TESTS / "killed_training.py"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    killed, saved, same = result.stdout.split()
    assert int(killed) >= 1, result.stderr
    assert int(saved) >= 1
    assert same == "True"


def test_a_fit_to_as_many_images_as_mnist_has_is_killed_and_resumed_within_a_gigabyte(tmp_path):
    script = [sys.executable, "-W", "error", str(TESTS / "image_memory.py"), str(tmp_path)]
    options = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, "capture_output": True, "text": True, "timeout": 300}
    ended = subprocess.run(script, **options)
    assert ended.returncode == 0, ended.stderr
    status, megabytes, steps, own_steps = map(int, ended.stdout.split())
    assert status == -signal.SIGKILL
    assert (steps, own_steps) == (4, 2), "the two steps before the kill are not taken again"
    assert megabytes < 1000


KILLED = """
import sys, torch
import pushforward as pf
from pushforward.tables.in_pieces import pieces, sample
from pushforward.training import run_folder
pieces.ROWS = sample.ROWS = 50
run_folder.SAVE_SECONDS, run_folder.SAVE_SHARE = 0.05, 1e9
file, out, resume = sys.argv[1:]
torch.manual_seed(0)
flow = pf.recipes.realnvp(3, num_layers=2)
pf.fit(flow, pf.scale.stream_rows(file), num_steps=600, batch_size=60, out=out, resume=bool(resume), progress=False)
pf.save(flow, out + "/flow.safetensors")
"""


def test_a_killed_process_loses_what_came_after_its_last_checkpoint_and_no_more(tmp_path):
    file, out = tmp_path / "rows.parquet", tmp_path / "out"
    table = pl.DataFrame(np.random.default_rng(0).normal(size=(2000, 3)), schema=["a", "b", "c"])
    parquet.write_table(table.to_arrow(), file, row_group_size=120)
    command = [sys.executable, "-c", KILLED, str(file)]
    process = subprocess.Popen([*command, str(out), ""], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (out / "history.jsonl").exists() or len((out / "history.jsonl").read_text().splitlines()) < 12:
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*command, str(out), "resume"], check=True)
    subprocess.run([*command, str(tmp_path / "whole"), ""], check=True)
    one, other = (pf.load(folder / "flow.safetensors") for folder in (out, tmp_path / "whole"))
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))


def test_a_table_that_was_being_answered_is_gone_on_with(tmp_path, monkeypatch, capsys):
    """SIGKILL at some moment: whole parts stay, nothing half-written is taken for one, and the result is the same."""
    fitted = fit(tmp_path)
    write_parquet(tmp_path / "rows.parquet", rows(600), group=30)
    code = (
        "import sys; from pushforward.tables.in_pieces import pieces; pieces.ROWS = 30\n"
        "from pushforward.cli.app import app; app(sys.argv[1:], result_action='return_value')"
    )
    arguments = ["anomalies", str(fitted), str(tmp_path / "rows.parquet"), "--out"]
    run = subprocess.Popen([sys.executable, "-c", code, *arguments, str(tmp_path / "found.csv")])
    folder, done = tmp_path / ".found.csv.parts", []
    while run.poll() is None and len(done) < 3:
        done = list(folder.glob("part-*"))
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "found.csv").exists()
    before = {file.name: file.stat().st_mtime_ns for file in folder.glob("part-*")}
    assert 3 <= len(before) < 20
    monkeypatch.setattr(pieces, "ROWS", 30)
    command(*arguments, tmp_path / "found.csv")
    assert f"{len(before)} pieces were there already" in capsys.readouterr().out
    monkeypatch.undo()
    command(*arguments, tmp_path / "whole.csv")
    found, whole = (pl.read_csv(tmp_path / name) for name in ("found.csv", "whole.csv"))
    assert found.drop("log_prob", "score", "p_value").equals(whole.drop("log_prob", "score", "p_value"))
    np.testing.assert_allclose(found["log_prob"], whole["log_prob"], rtol=1e-5)
    assert not folder.exists()
