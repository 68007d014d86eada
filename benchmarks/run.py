"""Time pushforward beside other flow libraries: the same model, data, batches and optimizer, in turn, in one process.

    python benchmarks/run.py [--quick] [--cases spline-64d ...] [--libraries zuko ...] [--out results.json]

Each case trains every library's flow for `--warmup` steps (compiling included, not timed), then goes round the
libraries `--repeats` times: training for about `--seconds`, log_prob and sampling of `--rows` rows. Figures are medians
over the rounds; every second round goes backwards, so that no library always follows the same one. A ratio above 1
means that pushforward is faster. All libraries get the same cores, `--threads` of them. "matrix products" is the limit
of arithmetic: torch's products of the networks and nothing else; a ratio to it is the share of that speed reached.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import continuous
import ours
import peers
from peers import Case

CASES = {
    "affine-2d": Case(features=2, batch_size=128, num_layers=4, hidden=16, bins=0),
    "affine-64d": Case(features=64, batch_size=512, num_layers=8, hidden=128, bins=0),
    "spline-2d": Case(features=2, batch_size=128, num_layers=4, hidden=16, bins=8),
    "spline-64d": Case(features=64, batch_size=512, num_layers=8, hidden=128, bins=8),
    "autoregressive-16d": Case(features=16, batch_size=512, num_layers=4, hidden=128, bins=8, kind="autoregressive"),
    "continuous-2d": Case(features=2, batch_size=512, num_layers=1, hidden=64, bins=0, kind="continuous"),
    "planar-2d": Case(features=2, batch_size=512, num_layers=16, hidden=0, bins=0, kind="planar"),
}
Builder = Callable[[Case, np.ndarray], Any]


class Library(NamedTuple):
    """A way of training the case's flow; a builder may give None where the library has no such flow."""

    origin: str  # "pushforward", "torch", "jax" or "limit"
    builders: dict[str, Builder]  # by the case's kind


LIBRARIES = {
    **{
        name: Library("pushforward", dict.fromkeys(("coupling", "autoregressive", "continuous", "planar"), build))
        for name, build in ours.BUILDERS.items()
    },
    "zuko": Library(
        "torch",
        {
            "coupling": peers.zuko,
            "autoregressive": peers.zuko_autoregressive,
            "continuous": continuous.zuko,
        },
    ),
    "nflows": Library("torch", {"coupling": peers.nflows, "autoregressive": peers.nflows_autoregressive}),
    "normflows": Library("torch", {"coupling": peers.normflows, "planar": continuous.normflows}),
    "FrEIA": Library("torch", {"coupling": peers.freia}),
    "FlowJAX step": Library("jax", {"coupling": partial(peers.FlowJaxModel, steps_at_once=1)}),
    "FlowJAX scan": Library("jax", {"coupling": partial(peers.FlowJaxModel, steps_at_once=100)}),
    "matrix products": Library("limit", {"coupling": ours.limit}),
}
PACKAGES = (
    "pushforward",
    "torch",
    "torchdiffeq",
    "zuko",
    "nflows",
    "normflows",
    "FrEIA",
    "flowjax",
    "jax",
    "equinox",
    "optax",
    "numpy",
)
MEASURES = ("train_steps_per_second", "log_prob_seconds", "sample_seconds")


def rows(num_rows: int, features: int) -> np.ndarray:
    """Draw (num_rows, D) standardized rows in which every second feature bends with its neighbour."""
    x = np.random.default_rng(0).standard_normal((num_rows, features))
    x[:, 1::2] += x[:, ::2] ** 2
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def seconds(call: Callable[[], Any], least: float) -> float:
    """Call until `least` seconds have passed; return the median time of a call."""
    times: list[float] = []
    while sum(times) < least:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def train_rate(model: Any, num_steps: int) -> float:
    start = time.perf_counter()
    done = model.train(num_steps)
    # A model that sets up anew on each call (`pf.fit`) says how long its steps alone took.
    return done / getattr(model, "training_seconds", time.perf_counter() - start)


def run_case(name: str, libraries: dict[str, Library], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return {library: {parameters, nll, measure: {median, rounds}}}; exits if the models' sizes differ by over 2 %."""
    case = CASES[name]
    batches, test = case.batches(rows(50_000, case.features)), rows(options.rows, case.features)
    models, results, num_steps = {}, {}, {}
    for library, (origin, builders) in libraries.items():
        torch.manual_seed(0)
        model = builders[case.kind](case, batches) if case.kind in builders else None
        if model is None:
            print(f"{name}: {library} has no such flow", flush=True)
            continue
        models[library] = model
        model.train(options.warmup)
        rate = train_rate(model, max(10, options.warmup // 4))
        num_steps[library] = max(1, round(rate * options.seconds))
        results[library] = {
            "num_parameters": model.num_parameters,
            "nll": None,
            **{measure: [] for measure in MEASURES},
        }
        to_check = () if origin == "limit" else model.measures
        if "log_prob_seconds" in to_check:
            results[library]["nll"] = nll = float(-model.log_prob(test).mean())
            if not np.isfinite(nll):
                sys.exit(f"{name}: {library} gives a negative log-likelihood of {nll}.")
        if "sample_seconds" in to_check and not np.isfinite(model.sample(options.rows)).all():
            sys.exit(f"{name}: {library} gives samples that are not finite.")
        print(f"{name}: {library} ready, {model.num_parameters:,} parameters, about {rate:.0f} steps/s", flush=True)
    sizes = {library: result["num_parameters"] for library, result in results.items()}
    if max(sizes.values()) > 1.02 * min(sizes.values()):
        sys.exit(f"{name}: the models' sizes differ by more than 2 %: {sizes}.")

    for turn in range(options.repeats):
        for library in list(models)[:: (-1) ** turn]:
            model, result = models[library], results[library]
            result["train_steps_per_second"].append(train_rate(model, num_steps[library]))
            if "log_prob_seconds" in model.measures:
                result["log_prob_seconds"].append(seconds(partial(model.log_prob, test), options.seconds / 4))
            if "sample_seconds" in model.measures:
                result["sample_seconds"].append(seconds(partial(model.sample, len(test)), options.seconds / 4))
    for result in results.values():
        for measure in MEASURES:
            rounds = result[measure]
            result[measure] = {"median": statistics.median(rounds) if rounds else None, "rounds": rounds}
    return results


def compare(results: dict[str, dict[str, Any]], libraries: dict[str, Library]) -> dict[str, dict[str, float]]:
    """Return {"ours / theirs": {measure: ratio}} to fastest torch peer, FlowJAX, limit; above 1, ours is faster."""

    def speed(library: str, measure: str) -> float:
        median = results[library][measure]["median"]
        return median if measure == "train_steps_per_second" else 1 / median

    names = {
        kind: [name for name in results if libraries[name].origin == kind]
        for kind in ("pushforward", "torch", "jax", "limit")
    }
    rivals = {"fastest torch peer": names["torch"], **{name: [name] for name in names["jax"] + names["limit"]}}
    ratios: dict[str, dict[str, float]] = {}
    for own in names["pushforward"]:
        for rival, members in rivals.items():
            for measure in MEASURES:
                measured = [member for member in members if results[member][measure]["rounds"]]
                if measured and results[own][measure]["rounds"]:
                    ratio = speed(own, measure) / max(speed(member, measure) for member in measured)
                    ratios.setdefault(f"{own} / {rival}", {})[measure] = ratio
    return ratios


def show(name: str, results: dict[str, dict[str, Any]], ratios: dict[str, dict[str, float]], num_rows: int) -> None:
    """Print the case's table and its ratios."""

    def line(label: str, cells: list[Any]) -> None:
        print(f"{label:48}" + "".join(f"{'' if cell is None else cell:>12}" for cell in cells))

    print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in CASES[name]._asdict().items()))
    line(f"medians; {num_rows:,} rows", ["parameters", "nll", "steps/s", "log_prob s", "sample s"])
    for library, result in results.items():
        cells = [result["nll"], *(result[measure]["median"] for measure in MEASURES)]
        line(library, [result["num_parameters"], *(None if cell is None else f"{cell:.4g}" for cell in cells)])
    for pair, values in ratios.items():
        line(pair, ["", "", *(f"{values[measure]:.2f} x" if measure in values else None for measure in MEASURES)])
    print(flush=True)


def machine(threads: int) -> dict[str, Any]:
    """Say on what and with what the figures were made."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    cpuinfo = Path("/proc/cpuinfo")
    model = platform.processor()
    if cpuinfo.exists():
        model = next(
            (s.split(":")[1].strip() for s in cpuinfo.read_text().splitlines() if s.startswith("model name")), model
        )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short: 10,000 rows, 0.5 s, 10 warm-up steps, 3 rounds")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--rows", type=int, default=100_000, help="rows scored and sampled (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="training time of one round (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (%(default)s)")
    parser.add_argument("--warmup", type=int, default=100, help="steps before the first round (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="cores that every library may use (%(default)s)")
    parser.add_argument("--out", type=Path, default=None, help="write the figures to this JSON file")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.seconds, options.warmup, options.repeats = 10_000, 0.5, 10, 3
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if hasattr(os, "sched_setaffinity"):  # jax takes every core it may run on; this must come before its first use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    libraries = {name: LIBRARIES[name] for name in options.libraries}
    report: dict[str, Any] = {"machine": machine(options.threads), "options": vars(options) | {"out": str(options.out)}}
    report["cases"] = {}
    for name in options.cases:
        results = run_case(name, libraries, options)
        ratios = compare(results, libraries)
        show(name, results, ratios, options.rows)
        report["cases"][name] = {"model": CASES[name]._asdict(), "results": results, "ratios": ratios}
        if options.out:
            options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
