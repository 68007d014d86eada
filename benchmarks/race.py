"""Seconds of training until a flow of two moons reaches a test likelihood: ours, zuko's and torchdiffeq's.

    python benchmarks/race.py [--quick] [--threads 2] [--out race.json]

All in one process; 100,000 standardized points, batches of 512. A peer trains on and on and is scored after each mark
on the clock. Ours anneals its learning rate over what it is given, so every mark is a run of its own with that budget
(`max_seconds`). Scoring 20,000 fresh points is not timed. A flow reaches a likelihood at the first mark that is at or
below it.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import continuous
import pushforward as pf
from peers import Case, TorchModel
from run import machine

CASE = Case(features=2, batch_size=512, num_layers=1, hidden=64, bins=0, kind="continuous")
NETWORK = (64, 64, 64)
LEVELS = (1.90, 1.88, 1.87, 1.86, 1.85)
MATCHING = {"loss": pf.losses.flow_matching, "batch_size": 512, "learning_rate": 1e-2}
STEPS = {"method": "rk4", "num_steps": 8}
LIKELIHOOD = {"batch_size": 512, "learning_rate": 5e-3}


def peer(build: Callable[[Case, Any], TorchModel], x: Tensor, marks: tuple[int, ...]) -> Iterator[tuple[int, Any]]:
    """Yield each mark with the log_prob of the flow trained so far; Adam with the recipe's 3e-3."""
    torch.manual_seed(0)
    model = build(CASE, CASE.batches(x.numpy()))
    model.set_learning_rate(3e-3)
    spent = 0.0
    for mark in marks:
        while spent < mark:
            started = time.perf_counter()
            model.train(5)
            spent += time.perf_counter() - started
        yield mark, lambda rows: model.log_prob(rows.numpy())


def matched(x: Tensor, marks: tuple[int, ...]) -> Iterator[tuple[int, Any]]:
    """Flow matching alone."""
    for mark in marks:
        flow = network()
        pf.fit(flow, x, max_seconds=mark, progress=False, **MATCHING)
        yield mark, flow.log_prob


def tuned(x: Tensor, marks: tuple[int, ...]) -> Iterator[tuple[int, Any]]:
    """Two thirds of the time flow matching, then maximum likelihood with 8 Runge-Kutta steps."""
    for mark in marks:
        flow = network(**STEPS)
        pf.fit(flow, x, max_seconds=2 * mark / 3, progress=False, **MATCHING)
        pf.fit(flow, x, max_seconds=mark / 3, progress=False, **LIKELIHOOD | {"learning_rate": 1e-3})
        yield mark, adaptive(flow)


def likely(x: Tensor, marks: tuple[int, ...], **options: Any) -> Iterator[tuple[int, Any]]:
    """Maximum likelihood alone, with 8 Runge-Kutta steps."""
    for mark in marks:
        flow = network(**STEPS, **options)
        pf.fit(flow, x, max_seconds=mark, progress=False, **LIKELIHOOD)
        yield mark, adaptive(flow)


def coupling(x: Tensor, marks: tuple[int, ...]) -> Iterator[tuple[int, Any]]:
    """RealNVP of 8 layers, to compare with."""
    for mark in marks:
        torch.manual_seed(0)
        flow = pf.recipes.realnvp(2)
        pf.fit(flow, x, max_seconds=mark, progress=False, **LIKELIHOOD)
        yield mark, flow.log_prob


def network(**options: Any) -> pf.Flow:
    torch.manual_seed(0)
    return pf.recipes.cnf(2, **{"hidden_features": NETWORK, "tolerance": continuous.TOLERANCE} | options)


def adaptive(flow: pf.Flow) -> Callable[[Tensor], Tensor]:
    """Score with the peers' adaptive solver, so that no likelihood owes anything to coarse steps."""
    exact = pf.transforms.Continuous(flow.transform.velocity, tolerance=continuous.TOLERANCE)
    return pf.Flow(exact, flow.base).log_prob


class Runner(NamedTuple):
    """A way of training, and the seconds after which it is scored."""

    run: Callable[[Tensor, tuple[int, ...]], Iterator[tuple[int, Any]]]
    marks: tuple[int, ...]


RUNNERS = {
    "flow matching": Runner(matched, (10, 20, 30)),
    "flow matching, then likelihood": Runner(tuned, (30, 60, 90)),
    "likelihood": Runner(likely, (30, 60)),
    "likelihood, torchdiffeq's hypernetwork": Runner(
        partial(likely, velocity="hypernetwork", hidden_features=(32, 64)), (30, 60)
    ),
    "RealNVP": Runner(coupling, (2, 5, 10, 20)),
    "torchdiffeq": Runner(partial(peer, continuous.torchdiffeq), (10, 20, 30, 45, 60, 90)),
    "zuko": Runner(partial(peer, continuous.zuko), (10, 20, 30, 45, 60, 90)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one mark of a second, 100 points scored")
    parser.add_argument("--runners", nargs="+", choices=RUNNERS, default=list(RUNNERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None, help="write the figures to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = pf.data.two_moons(100_000, standardize=True, seed=0)
    test = data.density.sample(100 if options.quick else 20_000, 1)
    report: dict[str, Any] = {"machine": machine(options.threads), "entropy": data.density.entropy(), "runs": {}}
    print(f"two moons, entropy {data.density.entropy():.4f}; test NLL in nats after so many seconds of training")
    for name in options.runners:
        found = report["runs"][name] = {}
        runner = RUNNERS[name]
        for mark, log_prob in runner.run(data.x, (1,) if options.quick else runner.marks):
            with torch.no_grad():
                scores = torch.as_tensor(log_prob(test))
            found[mark] = -scores.mean().item()
            print(
                f"{name:40} {mark:4} s {found[mark]:8.4f} ± {(scores.std() / len(scores) ** 0.5).item():.4f}",
                flush=True,
            )
        if options.out:
            options.out.write_text(json.dumps(report, indent=1) + "\n")
    print("\nseconds until" + " " * 27 + "".join(f"{level:8}" for level in LEVELS))
    for name, found in report["runs"].items():
        first = [min((mark for mark, nll in found.items() if nll <= level), default="-") for level in LEVELS]
        print(f"{name:40}" + "".join(f"{cell:>8}" for cell in first))


if __name__ == "__main__":
    main()
