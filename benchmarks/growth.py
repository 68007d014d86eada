"""Seconds against rows, features, depth and width: how a spline flow grows, with kernels and without, and its limit.

    python benchmarks/growth.py [--quick] [--out docs/results/growth.png]

From one flow in the middle (16 features, 4 couplings with eight-bin splines, networks 2 x 64, batches of 512), one size
is varied at a time. Timed are a training step of a user's loop and log_prob of rows, one thread, in float32; each point
is the median of some rounds, in which the kernels, plain torch and the matrix products alone (the limit of arithmetic)
take turns. The picture has log axes; the figures go beside it as JSON.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

import ours
from peers import Case
from pushforward.report.plots.canvas import Picture
from run import machine, rows

MIDDLE = Case(features=16, batch_size=512, num_layers=4, hidden=64, bins=8)
ROWS = 10_000
SIZES: dict[str, tuple[int, ...]] = {
    "rows": (100, 1_000, 10_000, 100_000),
    "features": (2, 8, 32, 128),
    "num_layers": (1, 2, 4, 8, 16),
    "hidden": (16, 64, 256, 512),
}
WAYS: dict[str, Callable[[Case, np.ndarray], Any]] = {
    "kernels": ours.loop,
    "plain torch": partial(ours.KernelsOff, ours.loop),
    "matrix products": ours.Products,
}
COLOURS = {"kernels": "#0072b2", "plain torch": "#d55e00", "matrix products": "#777777"}
MEASURES = ("a training step", "log_prob")


def time_of(call: Callable[[], Any], least: float) -> float:
    """Seconds of a call, the mean of as many as take `least` seconds."""
    began, calls = perf_counter(), 0
    while not calls or perf_counter() - began < least:
        call()
        calls += 1
    return (perf_counter() - began) / calls


def measure(case: Case, num_rows: int, rounds: int, least: float) -> dict[str, dict[str, float]]:
    """Return {way: {measure: seconds}} for one flow."""
    batches, scored = case.batches(rows(4 * case.batch_size, case.features)), rows(num_rows, case.features)
    models = {way: make(case, batches) for way, make in WAYS.items()}
    times: dict[str, dict[str, list[float]]] = {way: {one: [] for one in MEASURES} for way in WAYS}
    for model in models.values():
        model.train(2)
        model.log_prob(scored)
    for turn in range(rounds):
        for way in list(WAYS)[:: (-1) ** turn]:
            model = models[way]
            for one, call in zip(MEASURES, (partial(model.train, 1), partial(model.log_prob, scored)), strict=True):
                times[way][one].append(time_of(call, least))
    return {way: {one: statistics.median(each) for one, each in found.items()} for way, found in times.items()}


def sweep(size: str, values: tuple[int, ...], rounds: int, least: float) -> dict[str, dict[str, list[float]]]:
    """Return {way: {measure: seconds of each value}} as one size of the flow in the middle takes the values."""
    found: dict[str, dict[str, list[float]]] = {way: {one: [] for one in MEASURES} for way in WAYS}
    for value in values:
        # Rows are those of a batch and those that are scored.
        case = MIDDLE._replace(**{"batch_size" if size == "rows" else size: value})
        for way, seconds in measure(case, value if size == "rows" else ROWS, rounds, least).items():
            for one in MEASURES:
                found[way][one].append(seconds[one])
        print(
            f"{size} {value:,}: " + ", ".join(f"{way} {found[way][MEASURES[1]][-1]:.3g} s" for way in WAYS), flush=True
        )
    return found


def draw(report: dict[str, Any]) -> Picture:
    """Picture the seconds: a column for each size, above a training step, below log_prob."""
    figure = Picture(figsize=(11.0, 5.2), layout="constrained")
    places: Any = figure.subplots(len(MEASURES), len(report["sizes"]), sharex="col", squeeze=False)
    for column, (size, sweep_of) in enumerate(report["sizes"].items()):
        for row, one in enumerate(MEASURES):
            axes: Axes = places[row, column]
            for way, colour in COLOURS.items():
                axes.loglog(sweep_of["values"], sweep_of["seconds"][way][one], "o-", color=colour, label=way, ms=4)
            axes.set_xticks(sweep_of["values"], [f"{value:,}" for value in sweep_of["values"]])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=8)
            at = "batch" if row == 0 else "rows"
            axes.set_title(f"{one} by {at if size == 'rows' else size}", fontsize=9)
    for row in range(len(MEASURES)):
        places[row, 0].set_ylabel("seconds")
    places[0, 0].legend(fontsize=8)
    return figure


def main() -> None:
    """Time, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the two smallest values of each size, one short round")
    parser.add_argument("--out", type=Path, default=Path("growth.png"), help="the picture; .json beside it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = {size: values[:2] if options.quick else values for size, values in SIZES.items()}
    rounds, least = (1, 0.0) if options.quick else (5, 0.1)
    report: dict[str, Any] = {"machine": machine(1), "middle": MIDDLE._asdict(), "rows": ROWS, "sizes": {}}
    for size, values in sizes.items():
        report["sizes"][size] = {"values": values, "seconds": sweep(size, values, rounds, least)}
    draw(report).savefig(options.out, dpi=120)
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
