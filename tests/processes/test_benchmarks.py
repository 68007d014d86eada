"""The benchmark's own part runs without the peers, and its ratios point the right way."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pushforward.kernels.switch import kernels_are_on

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("run")


@pytest.fixture
def started(monkeypatch):
    """Run a script with arguments, as its command does, in this process."""
    monkeypatch.syspath_prepend(BENCHMARKS)

    def started(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        importlib.import_module(name).main()

    yield started
    torch.set_default_device(None)


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


@pytest.mark.parametrize("name", ["continuous-2d", "planar-2d"])
def test_flows_of_other_kinds_train_score_and_sample_where_a_library_has_them(run, name):
    case = run.CASES[name]._replace(hidden=8, num_layers=2)
    batches = case.batches(run.rows(1024, 2))
    model = run.LIBRARIES["pushforward loop"].builders[case.kind](case, batches)
    assert model.train(2) == 2
    assert model.log_prob(batches[0]).shape == (512,)
    assert model.sample(7).shape == (7, 2)
    assert run.LIBRARIES["pushforward fit, compiled"].builders[case.kind](case, batches) is None


def test_a_peer_that_cannot_score_is_left_out_of_that_ratio(run):
    results = {"pushforward loop": measured(30.0, 2.0), "normflows": measured(10.0, 8.0), "zuko": measured(5.0, 16.0)}
    results["normflows"]["log_prob_seconds"] = {"median": None, "rounds": []}
    ratios = run.compare(results, {name: run.LIBRARIES[name] for name in results})
    assert ratios["pushforward loop / fastest torch peer"]["log_prob_seconds"] == 8.0
    assert ratios["pushforward loop / fastest torch peer"]["sample_seconds"] == 4.0


def test_a_short_race_writes_the_likelihoods(started, tmp_path, capsys):
    out = tmp_path / "race.json"
    runners = ["flow matching", "torchdiffeq"]
    started("race", "--quick", "--threads", 1, "--runners", *runners, "--out", out)
    printed = capsys.readouterr().out
    runs = json.loads(out.read_text())["runs"]
    assert list(runs) == runners
    assert all(1.5 < run["1"] < 4 for run in runs.values())
    assert "seconds until" in printed


def test_a_short_run_writes_the_figures_of_the_loop_and_of_fit(tmp_path):
    out = tmp_path / "results.json"
    libraries = ["pushforward loop", "pushforward fit", "matrix products"]
    options = ["--rows", "100", "--seconds", "0.02", "--repeats", "1", "--warmup", "2", "--threads", "1", "--out", out]
    command = [sys.executable, BENCHMARKS / "run.py", "--cases", "affine-2d", "--libraries", *libraries, *options]
    subprocess.run(command, check=True, capture_output=True)
    results = json.loads(out.read_text())["cases"]["affine-2d"]["results"]
    assert list(results) == libraries
    assert all(result["train_steps_per_second"]["median"] > 0 for result in results.values())
    assert [result["sample_seconds"]["median"] is None for result in results.values()] == [False, True, False]


def test_rows_with_kernels_off_train_score_and_sample_without_them(run, monkeypatch):
    case = run.CASES["spline-2d"]._replace(hidden=4, num_layers=2)
    batches, seen = case.batches(run.rows(1024, 2)), []
    model = run.LIBRARIES["pushforward loop, kernels off"].builders["coupling"](case, batches)
    log_prob = model._model._log_prob
    monkeypatch.setattr(model._model, "_log_prob", lambda x: seen.append(kernels_are_on()) or log_prob(x))
    model.train(1)
    assert model.log_prob(batches[0]).shape == (128,)
    assert model.sample(7).shape == (7, 2)
    assert seen == [False]
    assert kernels_are_on()


def test_the_limit_has_the_sizes_and_the_products_of_the_flow(run):
    case = run.CASES["spline-64d"]
    limit = importlib.import_module("ours").limit(case, None)
    assert limit.num_parameters == sum(p.numel() for p in importlib.import_module("ours").flow(case).parameters())
    with FlopCounterMode(display=False) as counted:
        limit.train(1)
    weights = limit.num_parameters - case.num_layers * sum(case.widths[1:])  # all but the biases
    assert counted.get_total_flops() == 3 * 2 * weights * case.batch_size


def test_the_gpu_benchmark_runs_small_on_the_cpu_and_a_missing_peer_hides_nothing(started, tmp_path):
    out = tmp_path / "gpu.json"
    started("gpu", "--quick", "--cases", "spline-2d", "--out", out)
    found = json.loads(out.read_text())["spline-2d, steps/s"]
    assert all(found[row]["steps/s"] > 0 for row in ("fit highest", "fit high", "fit bf16", "fit, kernels off"))
    assert found["a user's loop"] > 0
    assert found["limit"] > 0
    assert "zuko" in found


def test_a_short_growth_writes_seconds_of_each_way_and_draws_them(started, tmp_path):
    out = tmp_path / "growth.png"
    started("growth", "--quick", "--out", out)
    sizes = json.loads(out.with_suffix(".json").read_text())["sizes"]
    assert list(sizes) == ["rows", "features", "num_layers", "hidden"]
    seconds = sizes["rows"]["seconds"]
    assert set(seconds) == {"kernels", "plain torch", "matrix products"}
    assert all(value > 0 for value in seconds["plain torch"]["log_prob"])
    assert len(seconds["plain torch"]["log_prob"]) == len(sizes["rows"]["values"])
    assert out.stat().st_size > 10_000
