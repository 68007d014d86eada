"""Planar, coupling and continuous flows on three small data sets: likelihood, time, size, evaluations, pictures."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward import metrics
from pushforward.data import THREE_SETS, Sample, three_sets
from pushforward.flow import Flow
from pushforward.plots import DATA, SAMPLES
from pushforward.studies import pictures, three_costs
from pushforward.studies.animation import animation
from pushforward.studies.record import Record, spread
from pushforward.studies.three_models import CAPPED_EPOCHS, OURS, SOURCE_EPOCHS, SOURCES, Model
from pushforward.training import History
from pushforward.transforms import Continuous
from pushforward.verification import verify

TITLE = "Planar, coupling and continuous flows on three data sets"
SOURCE = "a report on normalizing flows: planar flows, RealNVP and continuous-time flows"
TIMED_SAMPLES = 20_000
QUICK = ("planar", "RealNVP", "continuous, matching", "continuous, matching then likelihood")


@dataclass(frozen=True)
class Run:
    """A model trained once on one set."""

    model: Model
    flow: Flow
    histories: list[History]
    train_nll: float
    test: metrics.Score

    @property
    def seconds(self) -> float:
        """Seconds of training, all stages."""
        return sum(history.seconds for history in self.histories)


def run(record: Record) -> None:
    """Train every model on every set, then compare, draw and answer."""
    sets = THREE_SETS[:1] if record.quick else THREE_SETS
    runs: dict[tuple[str, str], list[Run]] = {}
    ours = [model for model in OURS if model.name in QUICK] if record.quick else list(OURS)
    for name in sets:
        for model in (*SOURCES, *ours):
            for seed in record.seeds(model.seeds):
                data = three_sets(name, seed=seed)
                runs.setdefault((name, model.name), []).append(_trained(record, model, name, data, seed))
    for name in sets:
        _table(record, name, {model: found for (place, model), found in runs.items() if place == name})
        _panels(record, name, three_sets(name, seed=record.seed), {m: f[0] for (p, m), f in runs.items() if p == name})
    _animations(record, {model: found[0].flow for (place, model), found in runs.items() if place == sets[0]})
    _answers(record, runs, [model.name for model in ours])
    three_costs.cost_against_features(record)


def _trained(record: Record, model: Model, name: str, data: Sample, seed: int) -> Run:
    flow, histories = model.train(record, data.train, name, seed)
    return Run(model, flow, histories, metrics.nll(flow, data.train).mean, metrics.nll(flow, data.test))


def _table(record: Record, name: str, runs: dict[str, list[Run]]) -> None:
    record.heading(name)
    rows = []
    for model, found in runs.items():
        tests, trains = [one.test.mean for one in found], [one.train_nll for one in found]
        last = found[-1]
        x = three_sets(name, seed=record.seed).test
        evaluations = _evaluations(last.flow, x)
        started = time.perf_counter()
        last.flow.sample(200 if record.quick else TIMED_SAMPLES)
        rate = (200 if record.quick else TIMED_SAMPLES) / (time.perf_counter() - started)
        size = sum(parameter.numel() for parameter in last.flow.parameters())
        round_trip = verify(last.flow, x, tolerance=1e-3).round_trip_error
        rows.append(
            [model, size, spread(tests), last.test.standard_error, spread(trains),
             spread([one.seconds for one in found]), evaluations, f"{rate:,.0f}", round_trip]
        )  # fmt: skip
        record.number(
            f"{name}.{model}",
            {
                "test": tests, "train": trains, "seconds": [one.seconds for one in found], "parameters": size,
                "standard_error": [one.test.standard_error for one in found], "evaluations": evaluations,
                "samples_per_second": rate, "round_trip_error": round_trip,
                "steps": [sum(history.steps for history in one.histories) for one in found],
            },
        )  # fmt: skip
    record.table(
        "Test NLL in nats, mean over seeds (lowest to highest) with the standard error of one seed's 100 points; each "
        "seed splits anew. Evaluations: of the velocity, to score one point.",
        [
            "model",
            "parameters",
            "test NLL",
            "± (one seed)",
            "training NLL",
            "seconds",
            "evaluations",
            "samples/s",
            "round trip",
        ],
        rows,
    )


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
            codes, drawn = one.flow.encode(data.test), one.flow.decode(z)
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


def _answers(record: Record, runs: dict[tuple[str, str], list[Run]], ours: list[str]) -> None:
    record.heading("The source's claims")
    sets = list(dict.fromkeys(place for place, _ in runs))

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
    capped = sum(runs[name, "continuous (source)"][0].seconds for name in sets)
    coupling = sum(runs[name, "RealNVP (source)"][0].seconds for name in sets)
    full = capped * SOURCE_EPOCHS["continuous"] / CAPPED_EPOCHS
    quick = sum(one.seconds for name in sets for one in runs[name, "continuous, matching"]) / len(
        [one for name in sets for one in runs[name, "continuous, matching"]]
    )
    record.answer(
        "How much longer does a continuous flow train?",
        f"The source's {CAPPED_EPOCHS} of {SOURCE_EPOCHS['continuous']} epochs took {capped:.0f} s on {len(sets)} "
        "sets; all would take "
        f"{full:.0f} s (extrapolated), {full / max(coupling, 1e-9):.0f} times its RealNVP's {coupling:.0f} s (the "
        "source: 18 times). By flow "
        f"matching, with no equation solved in training, ours takes {quick:.0f} s a set.",
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
