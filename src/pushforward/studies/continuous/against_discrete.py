"""Planar, coupling and continuous flows on three small data sets: likelihood, time, size, evaluations, pictures."""

from functools import partial
from statistics import fmean, median
from timeit import timeit
from typing import Any

import torch
from torch import Tensor

from pushforward import Flow, verify
from pushforward.data import THREE_SETS, Sample, three_sets
from pushforward.report.plots.canvas import DATA, SAMPLES
from pushforward.studies.continuous.candidates import OURS, SOURCES, STARTS, Stage, trained
from pushforward.studies.continuous.costs import cost_against_features
from pushforward.studies.kit import Record, num_parameters, pictures
from pushforward.studies.kit.animation import animation
from pushforward.studies.kit.tables import spread, values
from pushforward.transforms import Continuous

TITLE = "Planar, coupling and continuous flows on three data sets"
SOURCE = "a report on normalizing flows: planar flows, RealNVP and continuous-time flows"
QUICK = ("planar", "RealNVP", "continuous, matching", "continuous, matching then likelihood")

Stages = dict[str, list[Stage]]  # name of a model -> its run of every seed


def run(record: Record) -> None:
    """Train every model on every set, then compare, draw and answer."""
    ours = [candidate for candidate in OURS if not record.quick or candidate.name in QUICK]
    found: dict[str, Stages] = {name: {} for name in record.size(THREE_SETS, quick=THREE_SETS[:1])}
    for name, runs in found.items():
        for candidate in (*SOURCES, *ours):
            before = runs.get(STARTS.get(candidate.name, ""))
            runs[candidate.name] = [
                trained(record, name, candidate, three_sets(name, seed=seed), seed, before[index] if before else None)
                for index, seed in enumerate(record.seeds(1 if candidate in SOURCES else 5))
            ]
    for name, runs in found.items():
        _tables(record, name, runs)
        _panels(record, name, three_sets(name, seed=record.seed), {model: of[0].flow for model, of in runs.items()})
    _animations(record, found[THREE_SETS[0]])
    _answers(record, found, [candidate.name for candidate in ours])
    cost_against_features(record)


def _tables(record: Record, name: str, runs: Stages) -> None:
    record.heading(name)
    mark, x = _mark(runs), three_sets(name, seed=record.seed).test
    rows, costs = [], []
    for model, found in runs.items():
        facts = _facts(found, mark, x, record.size(20_000, quick=200))
        record.number(f"{name}.{model}", facts)
        likelihoods = (spread(facts["test"]), facts["standard_error"][-1], spread(facts["train"]))
        rows.append([model, facts["parameters"], *likelihoods, facts["round_trip_error"]])
        efforts = (facts[key] for key in ("seconds", "epochs_to_mark", "seconds_to_mark"))
        evaluations = (facts["evaluations_in_training"], facts["evaluations_to_score"])
        rate = f"{facts['samples_per_second']:,.0f}"
        costs.append([model, *(spread(effort) if effort else None for effort in efforts), *evaluations, rate])
    record.table(
        "NLL in nats, mean over seeds (lowest to highest) with the standard error of one seed's 100 test points; each "
        "seed splits anew. The round trip is the largest error of decode(encode(x)), in units of the spread.",
        ["model", "parameters", "test NLL", "± (one seed)", "training NLL", "round trip"],
        rows,
    )
    record.table(
        f"Cost, mean over seeds (lowest to highest). The mark is a training NLL of {mark:.3f}, which every model "
        "trained by likelihood reached in half of its seeds. Evaluations are of the velocity: calls in all of training "
        "(last seed), and to score one point.",
        ["model", "seconds", "epochs to the mark", "seconds to the mark", "in training", "to score", "samples/s"],
        costs,
    )


def _facts(found: list[Stage], mark: float, x: Tensor, num_samples: int) -> dict[str, Any]:
    """Return what is known of a model: lists over its seeds, and what its last flow takes."""
    flow = found[-1].flow
    reached = [point for one in found if (point := one.reached(mark))]
    scoring = None
    if isinstance(flow.transform, Continuous):
        with torch.no_grad():
            scoring = flow.transform.num_evaluations(flow.preprocess(x)[0]).double().mean().item()
    return {
        **{key: values(found, key) for key in ("test", "train", "seconds", "standard_error", "steps")},
        "parameters": num_parameters(flow),
        "evaluations_in_training": found[-1].evaluations or None,
        "evaluations_to_score": scoring,
        "samples_per_second": num_samples / timeit(partial(flow.sample, num_samples), number=1),
        "round_trip_error": verify(flow, x, tolerance=1e-3).round_trip_error,
        "mark": mark,
        "epochs_to_mark": [epochs for epochs, _ in reached],
        "seconds_to_mark": [seconds for _, seconds in reached],
    }


def _mark(runs: Stages) -> float:
    """Return the training NLL that the weakest model trained by likelihood reached in the median seed."""
    curves = ([one.curve for one in found] for found in runs.values() if found[0].curve)
    return max(median(min(nll for *_, nll in curve) for curve in of) for of in curves)


@torch.no_grad()
def _panels(record: Record, name: str, data: Sample, flows: dict[str, Flow]) -> None:
    figure, panels = pictures.board(4, 1 + -(-len(flows) // 2), size=2.4)
    area = (pictures.window(data.train), pictures.X_NAMES)
    latent = ((-4.0, 4.0, -4.0, 4.0), ("$z_1$", "$z_2$"))
    z = torch.randn(500, 2, generator=torch.Generator().manual_seed(record.seed))
    contents = [("draws z of the base", z, SAMPLES, latent), ("test data x", data.test, DATA, area)]
    first = len(contents)
    for model, flow in flows.items():
        contents.append((f"{model}\nz = f(x)", flow.encode(data.test), DATA, latent))
        contents.append((f"{model}\nx = g(z)", flow.decode(z), SAMPLES, area))
    places = [*panels[:first], *panels[4:]]
    for axes, (title, x, colour, where) in zip(places, contents, strict=False):
        pictures.points(axes, pictures.Points(x, colour, size=4), title, *where)
        axes.title.set_fontsize(7)
    for axes in [*panels[first:4], *places[len(contents) :]]:
        axes.set_axis_off()
    caption = (
        f"{name}: draws of the base and the test data; then of each model the data in its latent space, and samples."
    )
    record.picture(f"panels-{name}", figure, caption)


@torch.no_grad()
def _animations(record: Record, runs: Stages) -> None:
    record.heading("From base to data")
    z = torch.randn(record.size(2_000, quick=600), 2, generator=torch.Generator().manual_seed(record.seed))
    for name, picture, way in (
        ("continuous, matching then likelihood", "through-time", "through time"),
        ("RealNVP", "through-layers", "layer by layer"),
    ):
        steps = [("base", z), *((step.name, step.value) for step in runs[name][0].flow.steps_inverse(z))]
        steps[-1] = ("data", steps[-1][1])  # the last step undoes a scaling
        moving = animation(steps, between=record.size(4, quick=0))
        record.animate(picture, moving, f"{name}: samples on their way from base to data, {way}.")


def _answers(record: Record, found: dict[str, Stages], ours: list[str]) -> None:
    record.heading("The source's claims")

    tests = {name: {model: fmean(values(runs[model], "test")) for model in ours} for name, runs in found.items()}
    compared = []
    for name, of in tests.items():
        best = min(of, key=of.__getitem__)
        compared.append(f"{name} {of['planar']:.3f} / {of[best]:.3f} ({best})")
    record.answer(
        "Planar flows could not be inverted or sampled. Can they?",
        "Yes: the inverse is one increasing equation, solved to rounding. Test NLL, planar / best of ours: "
        f"{'; '.join(compared)}.",
    )

    def seconds(model: str) -> float:
        return sum(fmean(values(runs[model], "seconds")) for runs in found.values())

    coupling, continuous = SOURCES
    times = seconds(continuous.name) / seconds(coupling.name)
    record.answer(
        "How much longer does a continuous flow train?",
        f"On {len(found)} sets, seconds: the source's continuous flow {seconds(continuous.name):.0f} for "
        f"{continuous.options['epochs']} epochs, its RealNVP {seconds(coupling.name):.1f} for "
        f"{coupling.options['epochs']}: {times:.0f} times as long (the source: 18 times; here couplings train in C, "
        "velocities in torch). "
        + ", ".join(f"{model} {seconds(model):.0f}" for model in ours if model.startswith("continuous"))
        + f", our RealNVP {seconds('RealNVP'):.1f}; by flow matching no equation is solved in training.",
    )
    until = "; ".join(f"{name}: {_to_the_mark(runs)}" for name, runs in found.items())
    record.answer(
        "Does a continuous flow need fewer epochs?",
        f"Epochs (seconds) until the training NLL was at the mark of each set: {until}.",
    )

    def gap(model: str) -> str:
        return f"{model} {fmean(one.test - one.train for runs in found.values() for one in runs[model]):.2f}"

    record.answer(
        "400 points are few. Who overfits?",
        "Test minus training NLL in nats, mean over sets and seeds, weights chosen by validation: "
        f"{', '.join(map(gap, ours))}. The source's models, without validation: "
        f"{', '.join(gap(model.name) for model in SOURCES)}.",
    )


def _to_the_mark(runs: Stages) -> str:
    mark = _mark(runs)
    reached = {model: [point for one in found if (point := one.reached(mark))] for model, found in runs.items()}
    means = {model: [fmean(numbers) for numbers in zip(*points, strict=True)] for model, points in reached.items()}
    return ", ".join(f"{model} {mean[0]:.0f} ({mean[1]:.2g})" for model, mean in means.items() if mean)
