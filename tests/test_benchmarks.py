"""The benchmark's own part runs without the peers, and its ratios point the right way."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("run")


def measured(steps, seconds):
    cell = {"median": seconds, "rounds": [seconds]}
    return {
        "train_steps_per_second": {"median": steps, "rounds": [steps]},
        "log_prob_seconds": cell,
        "sample_seconds": cell,
    }


def test_a_ratio_above_one_means_that_pushforward_is_faster_than_the_fastest_peer(run):
    results = {"pushforward loop": measured(30.0, 2.0), "zuko": measured(10.0, 8.0), "nflows": measured(20.0, 16.0)}
    ratios = run.compare(results, {name: run.LIBRARIES[name] for name in results})
    assert ratios == {
        "pushforward loop / fastest torch peer": {
            "train_steps_per_second": 1.5,
            "log_prob_seconds": 4.0,
            "sample_seconds": 4.0,
        }
    }


@pytest.mark.parametrize("name", ["affine-2d", "affine-64d", "spline-2d", "spline-64d"])
def test_our_model_has_one_net_of_two_hidden_layers_a_coupling(run, name):
    case = run.CASES[name]
    half, hidden = case.features // 2, case.hidden
    outputs = half * (3 * case.bins - 1 if case.bins else 2)
    net = (half + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * outputs
    flow = importlib.import_module("ours").flow(case)
    assert sum(p.numel() for p in flow.parameters()) == case.num_layers * net


def test_a_short_run_writes_the_figures_of_the_loop_and_of_fit(tmp_path):
    out = tmp_path / "results.json"
    libraries = ["pushforward loop", "pushforward fit"]
    options = ["--rows", "100", "--seconds", "0.02", "--repeats", "1", "--warmup", "2", "--threads", "1", "--out", out]
    command = [sys.executable, BENCHMARKS / "run.py", "--cases", "affine-2d", "--libraries", *libraries, *options]
    subprocess.run(command, check=True, capture_output=True)
    results = json.loads(out.read_text())["cases"]["affine-2d"]["results"]
    assert list(results) == libraries
    assert all(result["train_steps_per_second"]["median"] > 0 for result in results.values())
    assert [result["sample_seconds"]["median"] is None for result in results.values()] == [False, True]
