"""Time pushforward on a GPU beside other flow libraries: the same model, data, batches and optimizer, one process.

    python benchmarks/gpu.py [--quick] [--cases spline-64d ...] [--out gpu.json]

Training is steps a second, median of three stretches: inside `pf.fit`, in a user's own loop (eager, torch's fused Adam)
and in the loop of each peer. Scoring and sampling are seconds for a million rows, the better of two after a first.
"limit" is what the matrix products of the networks alone take. float32, TF32 off unless the row says otherwise. A case
that fails is printed with its error; without a GPU only `--quick` runs, on the CPU, to see that everything does.
"""

import argparse
import importlib.metadata
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import ours
import peers
import pushforward as pf
from peers import LEARNING_RATE, Case
from pushforward.kernels.switch import kernels
from pushforward.numerics.precision import PRECISIONS

SMALL, MIDDLE = {"num_layers": 4, "hidden": 16}, {"num_layers": 8, "hidden": 128}
LARGE = {"num_layers": 8, "hidden": 512}
CASES = {
    "spline-2d": Case(features=2, batch_size=128, bins=8, **SMALL),
    "spline-64d": Case(features=64, batch_size=512, bins=8, **MIDDLE),
    "spline-64d-large": Case(features=64, batch_size=16_384, bins=8, **LARGE),
    "affine-64d-large": Case(features=64, batch_size=16_384, bins=0, **LARGE),
}
QUICK = Case(features=4, batch_size=32, num_layers=2, hidden=8, bins=4)
ROWS = 1_000_000
COLUMNS = {  # of the tables, by what they measure: heading and key of the results
    "steps/s": {
        "fit": "fit highest", "fit, high": "fit high", "fit, bf16": "fit bf16", "fit, kernels off": "fit, kernels off",
        "compiled": "fit, compiled", "a user's loop": "a user's loop", "zuko": "zuko", "FrEIA": "freia",
        "limit": "limit",
    },
    "s for": {
        "log_prob": "log_prob highest", "high": "log_prob high", "bf16": "log_prob bf16",
        "kernels off": "log_prob, kernels off", "zuko": "log_prob zuko", "FrEIA": "log_prob freia", "limit": "limit",
        "sampling": "sample highest", "sampling, high": "sample high", "sampling, bf16": "sample bf16",
    },
    "glow": {precision: precision for precision in PRECISIONS},
}  # fmt: skip


class Clock:
    """Seconds on the device: it is waited for before and after."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, work: Callable[[], Any]) -> float:
        """Seconds that some work takes."""
        self._wait()
        began = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def rate(clock: Clock, steps: Callable[[int], Any], quick: bool) -> float:
    """Steps a second of a function that takes a number of steps."""
    steps(3)
    number = 2 if quick else max(int(1.0 / max(clock(lambda: steps(5)) / 5, 1e-5)), 5)
    return statistics.median(number / clock(lambda: steps(number)) for _ in range(3))


def rows_of(case: Case, device: torch.device) -> Tensor:
    generator = torch.Generator(device).manual_seed(0)
    number = max(20 * case.batch_size, 10_000) if device.type == "cuda" else 4 * case.batch_size
    return torch.randn(number, case.features, generator=generator, device=device)


def eager_loop(model: nn.Module, log_prob: Callable[[Tensor], Tensor], x: Tensor, case: Case) -> Callable[[int], None]:
    """The training loop that a user writes."""
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    batches = x.split(case.batch_size)[: len(x) // case.batch_size]

    def steps(number: int) -> None:
        for i in range(number):
            optimizer.zero_grad()
            (-log_prob(batches[i % len(batches)]).mean()).backward()
            optimizer.step()

    return steps


def fit_rate(flow: pf.Flow, x: Tensor, case: Case, quick: bool, **options: Any) -> dict[str, Any]:
    """Steps a second between the reports of a `pf.fit`, and seconds of a first fit of 20 steps."""
    settings = {"batch_size": case.batch_size, "validation": None, "progress": False, "device": x.device, **options}
    began = time.perf_counter()
    history = pf.fit(flow, x, num_steps=3 if quick else 20, **settings)
    first = time.perf_counter() - began
    a_step = (history.rows[-1]["seconds"] - history.rows[0]["seconds"]) / history.steps
    number = 4 if quick else min(max(int(2.0 / max(a_step, 1e-4)), 60), 4000)
    history = pf.fit(flow, x, num_steps=number, **settings)
    seconds = history.rows[-1]["seconds"] - history.rows[0]["seconds"]  # to a thousandth
    return {"steps/s": number / max(seconds, 1e-3), "first 20 steps, s": first, "notes": history.notes}


def of_peer(name: str, case: Case, device: torch.device) -> tuple[nn.Module, Callable[[Tensor], Tensor]] | None:
    """Another library's flow and its log_prob, on the device."""
    made = getattr(peers, name)(case, np.zeros((1, case.batch_size, case.features), np.float32))
    return None if made is None else (made.module.to(device), made._log_prob)


def training(case: Case, device: torch.device, clock: Clock, quick: bool) -> dict[str, Any]:
    x, found = rows_of(case, device), {}

    def attempt(name: str, work: Callable[[], Any]) -> None:
        try:
            found[name] = work()
        except Exception as error:
            found[name] = f"{type(error).__name__}: {str(error)[:200]}"

    for precision in PRECISIONS:
        attempt(f"fit {precision}", lambda p=precision: fit_rate(ours.flow(case), x, case, quick, precision=p))
    with kernels(False):
        attempt("fit, kernels off", lambda: fit_rate(ours.flow(case), x, case, quick))
    if not quick:
        attempt("fit, compiled", lambda: fit_rate(ours.flow(case), x, case, quick, compile=True))

    def own_loop() -> float:
        flow = ours.flow(case).to(device)
        return rate(clock, eager_loop(flow, flow.log_prob, x, case), quick)

    attempt("a user's loop", own_loop)
    for name in ("zuko", "freia"):

        def theirs(name: str = name) -> float | None:
            made = of_peer(name, case, device)
            return None if made is None else rate(clock, eager_loop(made[0], made[1], x, case), quick)

        attempt(name, theirs)
    step = ours.matrix_products(case, case.batch_size, device)
    attempt("limit", lambda: 1 / clock_of(clock, partial(step, True), quick))
    return found


def clock_of(clock: Clock, work: Callable[[], Any], quick: bool) -> float:
    """The better of two runs after a first."""
    clock(work)
    return min(clock(work) for _ in range(1 if quick else 2))


def scoring(case: Case, device: torch.device, clock: Clock, quick: bool) -> dict[str, Any]:
    rows = 64 if quick else ROWS
    x, found = torch.randn(rows, case.features, device=device), {}
    flow = ours.flow(case).to(device)

    @torch.no_grad()
    def attempt(name: str, work: Callable[[], Any], context: Any = None) -> None:
        try:
            with context or nullcontext():
                found[name] = clock_of(clock, work, quick)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {str(error)[:200]}"

    for precision in PRECISIONS:
        attempt(f"log_prob {precision}", lambda: flow.log_prob(x), pf.precision(precision))
        attempt(f"sample {precision}", lambda: flow.sample(rows), pf.precision(precision))
    attempt("log_prob, kernels off", lambda: flow.log_prob(x), kernels(False))
    for name in ("zuko", "freia"):
        try:
            made = of_peer(name, case, device)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {str(error)[:200]}"
            continue
        if made is not None:
            pieces = x.split(rows // 4)
            attempt(f"log_prob {name}", lambda made=made, pieces=pieces: [made[1](piece) for piece in pieces])
    attempt("limit", partial(ours.matrix_products(case, rows, device), False))
    return found


def glow(batch: int, device: torch.device, quick: bool) -> dict[str, Any]:
    """Images a second of a Glow's training, inside `pf.fit`."""
    size = 8 if quick else 28
    flow = pf.recipes.glow((1, size, size), **({"num_layers": 1} if quick else {}))
    x = torch.randint(256, (2 * batch if quick else max(8192, 2 * batch), size * size), device=device)
    case = Case(features=size * size, batch_size=batch, num_layers=0, hidden=0, bins=0)
    found = {}
    ways: list[dict[str, Any]] = [{"precision": precision} for precision in PRECISIONS]
    for options in ways if quick else [*ways, {"compile": True}]:
        name = "".join(map(str, options.values())).replace("True", "compiled")
        try:
            result = fit_rate(flow, x, case, quick, dequantize=256, **options)
            found[name] = {"images/s": batch * result["steps/s"], **result}
        except Exception as error:
            found[name] = f"{type(error).__name__}: {str(error)[:300]}"
    return found


def driver() -> str:
    """The version of the card's driver, as the card's own tool has it."""
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, timeout=10).stdout.splitlines()[0].strip()
    except (OSError, subprocess.TimeoutExpired, IndexError):
        return "unknown"


def table(results: dict[str, Any]) -> str:
    """The results in Markdown: a row for each case, a column for each way; what failed, and why, below."""
    lines, failed = [f"{results['card']}; " + ", ".join(f"{k} {v}" for k, v in results["versions"].items())], []

    def cell(value: Any) -> str:
        number = value.get("images/s", value["steps/s"]) if isinstance(value, dict) else value
        if number is None or isinstance(number, str):
            return ""
        return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"

    for unit, columns in COLUMNS.items():
        rows = {name: found for name, found in results.items() if unit in name}
        ways = {head: way for head, way in columns.items() if any(cell(found.get(way)) for found in rows.values())}
        if ways:
            lines += ["", f"| {unit} | " + " | ".join(ways) + " |", "|---" * (len(ways) + 1) + "|"]
        for name, found in rows.items():
            lines.append(f"| {name} | " + " | ".join(cell(found.get(way)) for way in ways.values()) + " |")
            failed += [f"{name}, {way}: {found[way]}" for way in columns.values() if isinstance(found.get(way), str)]
    return "\n".join([*lines, *(["", *failed] if failed else [])])


def main() -> None:
    """Run the cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: everything runs, nothing is measured")
    parser.add_argument("--cases", nargs="*", default=[*CASES, "glow"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and not arguments.quick:
        raise SystemExit("there is no GPU here: give --quick to see that everything runs.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock, quick = Clock(device), arguments.quick
    torch.set_default_device(device)  # the peers make some of their tensors as they go
    card = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    installed = {package.name for package in importlib.metadata.distributions()}
    versions = {name: importlib.metadata.version(name) for name in ("torch", "triton", "numpy") if name in installed}
    versions |= {"CUDA": torch.version.cuda or "none", "driver": driver()}
    results: dict[str, Any] = {"card": card, "versions": versions}
    for name in arguments.cases:
        began = time.perf_counter()
        if name == "glow":
            for batch in (8,) if quick else (256, 2048):
                results[f"glow, batch {batch}"] = glow(batch, device, quick)
        else:
            case = QUICK._replace(bins=CASES[name].bins and QUICK.bins) if quick else CASES[name]
            results[f"{name}, steps/s"] = training(case, device, clock, quick)
            if name.endswith("large"):
                results[f"{name}, s for {64 if quick else ROWS:,} rows"] = scoring(case, device, clock, quick)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(results, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
