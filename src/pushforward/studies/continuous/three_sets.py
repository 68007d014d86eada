"""Planar, coupling and continuous flows on three small data sets: likelihood, time, size, evaluations, pictures."""

import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor

from pushforward import metrics
from pushforward.data import THREE_SETS, Sample, three_sets
from pushforward.flows import Flow
from pushforward.report.plots import DATA, SAMPLES
from pushforward.studies.continuous import costs as three_costs
from pushforward.studies.continuous.models import OURS, SOURCE_EPOCHS, SOURCES, Trained
from pushforward.studies.kit import pictures
from pushforward.studies.kit.animation import animation
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import spread
from pushforward.transforms import Continuous
from pushforward.verification import verify

TITLE = "Planar, coupling and continuous flows on three data sets"
SOURCE = "a report on normalizing flows: planar flows, RealNVP and continuous-time flows"
TIMED_SAMPLES = 20_000
QUICK = ("planar", "RealNVP", "continuous, matching", "continuous, matching then likelihood")


class Run(NamedTuple):
    """A model trained once on one set."""

    trained: Trained
    train_nll: float
    test: metrics.Score


def run(record: Record) -> None:
    """Train every model on every set, then compare, draw and answer."""
    sets = THREE_SETS[:1] if record.quick else THREE_SETS
    runs: dict[tuple[str, str], list[Run]] = {}
    ours = [model for model in OURS if model.name in QUICK] if record.quick else list(OURS)
    for name in sets:
        for model in (*SOURCES, *ours):
            for index, seed in enumerate(record.seeds(model.seeds)):
                data = three_sets(name, seed=seed)
                before = runs[name, model.start][index].trained if model.start else None
                trained = model.train(record, data.train, name, seed, before)
                found = Run(trained, metrics.nll(trained.flow, data.train).mean, metrics.nll(trained.flow, data.test))
                runs.setdefault((name, model.name), []).append(found)
    for name in sets:
        _table(record, name, {model: found for (place, model), found in runs.items() if place == name})
        _panels(record, name, three_sets(name, seed=record.seed), {m: f[0] for (p, m), f in runs.items() if p == name})
    _animations(record, {model: found[0].trained.flow for (place, model), found in runs.items() if place == sets[0]})
    _answers(record, runs, [model.name for model in ours])
    three_costs.cost_against_features(record)


def _table(record: Record, name: str, runs: dict[str, list[Run]]) -> None:
    record.heading(name)
    mark = _mark(runs)
    rows, costs = [], []
    for model, found in runs.items():
        tests, trains = [one.test.mean for one in found], [one.train_nll for one in found]
        flow, seconds = found[-1].trained.flow, [one.trained.seconds for one in found]
        x = three_sets(name, seed=record.seed).test
        number = 200 if record.quick else TIMED_SAMPLES
        started = time.perf_counter()
        flow.sample(number)
        rate = number / (time.perf_counter() - started)
        size = sum(parameter.numel() for parameter in flow.parameters())
        round_trip = verify(flow, x, tolerance=1e-3).round_trip_error
        reached = [_reached(one.trained, mark) for one in found]
        epochs, until = ([point[index] for point in reached if point] for index in (0, 1))
        scoring, training = _evaluations(flow, x), found[-1].trained.evaluations
        rows.append([model, size, spread(tests), found[-1].test.standard_error, spread(trains), round_trip])
        costs.append(
            [model, spread(seconds), spread(epochs) if epochs else None, spread(until) if until else None,
             None if training is None else f"{training:,}", scoring, f"{rate:,.0f}"]
        )  # fmt: skip
        record.number(
            f"{name}.{model}",
            {
                "test": tests, "train": trains, "seconds": seconds, "parameters": size,
                "standard_error": [one.test.standard_error for one in found],
                "evaluations_in_training": training, "evaluations_to_score": scoring,
                "samples_per_second": rate, "round_trip_error": round_trip,
                "steps": [one.trained.steps for one in found],
                "mark": mark, "epochs_to_mark": epochs, "seconds_to_mark": until,
            },
        )  # fmt: skip
    record.table(
        "NLL in nats, mean over seeds (lowest to highest) with the standard error of one seed's 100 test points; each "
        "seed splits anew. The round trip is the largest error of decode(encode(x)), in units of x.",
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


def _mark(runs: dict[str, list[Run]]) -> float:
    """Return the training NLL that the weakest model trained by likelihood reached in the median seed."""
    lowest = [
        statistics.median(min(nll for *_, nll in one.trained.curve) for one in found)
        for found in runs.values()
        if found[0].trained.curve
    ]
    return max(lowest)


def _reached(trained: Trained, mark: float) -> tuple[float, float] | None:
    """Return epochs and seconds until the training NLL was at the mark, None if it never was."""
    return next(((epochs, seconds) for epochs, seconds, nll in trained.curve if nll <= mark), None)


def _evaluations(flow: Flow, x: Tensor) -> float | None:
    """Return the mean number of evaluations of the velocity to score a point, None where there is none."""
    if not isinstance(flow.transform, Continuous):
        return None
    with torch.no_grad():
        return flow.transform.num_evaluations(flow.preprocess(x)[0]).double().mean().item()


def _panels(record: Record, name: str, data: Sample, runs: dict[str, Run]) -> None:
    figure, axes = pictures.board(4, len(runs), size=2.4)
    area = pictures.window(data.train)
    z = torch.randn(500, 2, generator=torch.Generator().manual_seed(record.seed))
    for row, (model, one) in enumerate(runs.items()):
        with torch.no_grad():
            codes, drawn = one.trained.flow.encode(data.test), one.trained.flow.decode(z)
        four = axes[4 * row : 4 * row + 4]
        latent = (-4.0, 4.0, -4.0, 4.0)
        pictures.points(four[0], codes, "", latent, colour=DATA, size=4)
        pictures.frame(four[0], f"{model}: z = f(x)", latent, ("$z_1$", "$z_2$"))
        pictures.points(four[1], z, "", latent, colour=SAMPLES, size=4)
        pictures.frame(four[1], "samples of the base", latent, ("$z_1$", "$z_2$"))
        pictures.points(four[2], data.test, "test data", area, colour=DATA, size=4)
        pictures.points(four[3], drawn, "x = g(z)", area, colour=SAMPLES, size=4)
        four[0].title.set_fontsize(8)
    record.picture(f"panels-{name}", figure, f"{name}: test data in the latent space, the base, test data, samples.")


def _animations(record: Record, flows: dict[str, Flow]) -> None:
    record.heading("From base to data")
    z = torch.randn(600 if record.quick else 2_000, 2, generator=torch.Generator().manual_seed(record.seed))
    for name in ("continuous, matching then likelihood", "RealNVP"):
        flow = flows[name]
        with torch.no_grad():
            steps = [("base", z), *((step.name, step.value) for step in flow.steps_inverse(z))]
        kind = "through time" if isinstance(flow.transform, Continuous) else "layer by layer"
        record.animate(
            "through-time" if kind == "through time" else "through-layers",
            animation(steps, between=0 if record.quick else 4),
            f"{name}: samples on their way from base to data, {kind}.",
        )


def _to_the_mark(runs: dict[str, list[Run]]) -> str:
    mark = _mark(runs)
    found = {model: [point for one in of if (point := _reached(one.trained, mark))] for model, of in runs.items()}
    return ", ".join(
        f"{model} {statistics.fmean(epochs for epochs, _ in points):.0f} "
        f"({statistics.fmean(seconds for _, seconds in points):.1f})"
        for model, points in found.items()
        if points
    )


def _answers(record: Record, runs: dict[tuple[str, str], list[Run]], ours: list[str]) -> None:
    record.heading("The source's claims")
    sets = list(dict.fromkeys(place for place, _ in runs))
    models = [*(model.name for model in SOURCES), *ours]

    def mean(name: str, model: str) -> float:
        found = runs[name, model]
        return sum(one.test.mean for one in found) / len(found)

    best = {name: min((mean(name, model), model) for model in ours) for name in sets}
    record.answer(
        "Planar flows could not be inverted or sampled. Can they?",
        "Yes: the inverse is one increasing equation, solved to rounding. Test NLL, planar / best of ours: "
        + "; ".join(f"{name} {mean(name, 'planar'):.3f} / {best[name][0]:.3f} ({best[name][1]})" for name in sets)
        + ".",
    )

    def seconds(model: str) -> float:
        return sum(statistics.fmean(one.trained.seconds for one in runs[name, model]) for name in sets)

    record.answer(
        "How much longer does a continuous flow train?",
        f"On {len(sets)} sets, seconds: the source's continuous flow {seconds('continuous (source)'):.0f} for "
        f"{SOURCE_EPOCHS['continuous']} epochs, its RealNVP {seconds('RealNVP (source)'):.0f} for "
        f"{SOURCE_EPOCHS['realnvp']}: {seconds('continuous (source)') / seconds('RealNVP (source)'):.0f} times as long "
        "(the source: 18 times). "
        + ", ".join(f"{model} {seconds(model):.0f}" for model in ours if model.startswith("continuous"))
        + f", our RealNVP {seconds('RealNVP'):.0f}; by flow matching no equation is solved in training.",
    )
    record.answer(
        "Does a continuous flow need fewer epochs?",
        "Epochs (seconds) until the training NLL was at the mark of each set: "
        + "; ".join(f"{name}: {_to_the_mark({model: runs[name, model] for model in models})}" for name in sets)
        + ".",
    )
    gaps = {model: sum(one.test.mean - one.train_nll for n in sets for one in runs[n, model]) for model in ours}
    counts = {model: sum(len(runs[n, model]) for n in sets) for model in ours}
    record.answer(
        "400 points are few. Who overfits?",
        "Test minus training NLL in nats, mean over sets and seeds, weights chosen by validation: "
        + ", ".join(f"{model} {gaps[model] / counts[model]:.2f}" for model in ours)
        + ". The source's models, without validation: "
        + ", ".join(
            f"{model.name} {sum(o.test.mean - o.train_nll for n in sets for o in runs[n, model.name]) / len(sets):.2f}"
            for model in SOURCES
        )
        + ".",
    )
