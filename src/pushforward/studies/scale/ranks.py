"""Training steps shared by ranks: the same batch on more of them, the same rows on each, and the cost that fits."""

import os
import statistics
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from pushforward.studies.kit import Record, num_parameters
from pushforward.studies.scale import scale_figures
from pushforward.studies.scale.cost import Cost, Step, fit_cost
from pushforward.studies.scale.processes import Processes
from pushforward.studies.scale.rows import COLUMNS

MODELS = {"small": (64, 64), "large": (256, 256)}  # hidden features of its conditioners
LAYERS = 8
STRETCHES = 4  # of a run, each with reports at its ends: these are rounded to milliseconds
SIZES = (512, 1024, 2048, 4096)  # rows of a batch
IN_C, SHAREABLE, SHARED = "1 process, steps in C", "1 process, torch", "2 processes"
APART = "1 process, torch, beside another"  # which shares nothing with it but the machine


class Plan(NamedTuple):
    """What is timed: sizes of batches, seconds of each run, and how often."""

    sizes: tuple[int, ...]
    seconds: float
    repeats: int


def measure(record: Record, processes: Processes) -> Cost:
    """Time steps, add tables and a picture, and return the cost that fits them."""
    plan = record.size(Plan(SIZES, 1.2, 2), quick=Plan((64, 256), 0.1, 1))
    record.heading("One step on one process and on two")
    timed: dict[str, list[dict[str, Any]]] = {}
    options = (list(plan.sizes), plan.seconds, plan.repeats)
    for name, groups in ((IN_C, (1,)), (SHAREABLE, (1,)), (APART, (1, 1)), (SHARED, (2,))):
        running = [processes.ranks(size, time_steps, *options, name != IN_C) for size in groups]
        ended = [one.ended() for ranks in running for one in ranks]
        timed[name] = ended[0].answer
        record.say(f"  {name}: {len(timed[name])} kinds of steps")
    steps = [
        Step(one["model"], one["parameters"], one["rows"], 2 if name == SHARED else 1, one["seconds"])
        for name in (APART, SHARED)
        for one in timed[name]
    ]
    cost = fit_cost(steps)
    record.number("steps", timed)
    record.number("cost", cost)
    _add(record, plan, timed, steps, cost)
    return cost


def _add(record: Record, plan: Plan, timed: dict[str, list[dict[str, Any]]], steps: list[Step], cost: Cost) -> None:
    found = {name: {(one["model"], one["rows"]): one["seconds"] for one in ones} for name, ones in timed.items()}
    kinds = [(one["model"], one["parameters"], one["rows"]) for one in timed[SHARED]]
    record.text(
        f"A RealNVP of {COLUMNS} features and {LAYERS} couplings, Adam, float32, one thread a process, gloo on one "
        f"machine; the median over stretches of a run, the least of {plan.repeats} runs, without validation. Where one "
        "process is alone it takes its steps in C; those that can be shared are torch's."
    )
    record.table(
        "Strong scaling, the same batch: milliseconds of a step, and how many times as fast two processes are.",
        ["model, parameters", "rows", *found, "faster than torch alone", "than C alone"],
        [
            [
                f"{model}, {parameters:,}", rows, *(1e3 * found[name][model, rows] for name in found),
                found[SHAREABLE][model, rows] / found[SHARED][model, rows],
                found[IN_C][model, rows] / found[SHARED][model, rows],
            ]
            for model, parameters, rows in kinds
        ],
    )  # fmt: skip
    record.table(
        "Weak scaling, the same rows on each process: milliseconds of a step, and the efficiency (1 is perfect): that "
        "of a process alone, and of one beside which another trains by itself, so that the machine is as busy.",
        ["model, parameters", "rows a process", SHAREABLE, APART, SHARED, "of one alone", "of one beside another"],
        [
            [
                f"{model}, {parameters:,}", rows // 2,
                *(1e3 * found[name][model, rows // 2] for name in (SHAREABLE, APART)), 1e3 * found[SHARED][model, rows],
                *(found[name][model, rows // 2] / found[SHARED][model, rows] for name in (SHAREABLE, APART)),
            ]
            for model, parameters, rows in kinds
            if (model, rows // 2) in found[SHAREABLE]
        ],
    )  # fmt: skip
    rows = ", ".join(f"{1e6 * value:.3g} µs ({name})" for name, value in cost.row.items())
    record.text(
        f"Fitted to the {len(steps)} steps of torch on a busy machine, shared or beside another: a + b rows / N on N "
        f"processes, and where N > 1 c parameters + d, with a = {1e3 * cost.step:.3g} ms, b = {rows} a row, c = "
        f"{1e9 * cost.parameter:.3g} ns a parameter, d = {1e3 * cost.meeting:.3g} ms. Its error is {cost.error:.1%} "
        f"(root mean square), {cost.worst:.1%} at most."
    )
    record.picture(
        "steps",
        scale_figures.steps_against_rows(steps, cost),
        "A step against the rows of its batch, on two processes that share it, and on one beside which another trains: "
        "measured, and the cost that fits.",
    )


def time_steps(sizes: list[int], seconds: float, repeats: int, own_loss: bool) -> list[dict[str, Any]]:
    """Train models with batches of each size for a while, alone or with other ranks.

    Args:
        sizes: Rows of a batch.
        seconds: Of each run.
        repeats: How many runs of each kind.
        own_loss: Use a loss that the steps in C do not know: with it one process does what each of several does.
    """
    import torch
    from torch import distributed as group

    import pushforward as pf

    if "WORLD_SIZE" in os.environ:
        group.init_process_group("gloo")

    def nll(model: Any, batch: Any, generator: Any) -> Any:
        return pf.losses.nll(model, batch, generator)

    x = torch.randn(4 * max(sizes), COLUMNS, generator=torch.Generator().manual_seed(0))
    kinds = [(model, rows) for model in MODELS for rows in sizes]
    runs: dict[tuple[str, int], list[float]] = {kind: [] for kind in kinds}
    parameters = {}
    for model, rows in kinds * repeats:  # turn by turn: what disturbs one run of a kind spares another
        torch.manual_seed(0)
        flow = pf.recipes.realnvp(COLUMNS, num_layers=LAYERS, hidden_features=MODELS[model])
        parameters[model] = num_parameters(flow)
        history = pf.fit(
            flow, x, validation=None, loss=nll if own_loss else pf.losses.nll, max_seconds=seconds,
            batch_size=rows, learning_rate=1e-4, progress=False,
        )  # fmt: skip
        runs[model, rows].append(_median_step([(row["step"], row["seconds"]) for row in history.rows]))
    if group.is_initialized():
        group.destroy_process_group()
    return [
        {"model": model, "parameters": parameters[model], "rows": rows, "seconds": min(took), "runs": took}
        for (model, rows), took in runs.items()
    ]


def _median_step(reports: list[tuple[int, float]]) -> float:
    """Return the median seconds of a step over stretches of a run, of which the start is left out."""
    places = sorted(
        {round(place) for place in np.linspace(1 if len(reports) > 2 else 0, len(reports) - 1, STRETCHES + 1)}
    )
    ends = [reports[place] for place in places]
    return statistics.median((after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(ends))
