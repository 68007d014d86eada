"""A Gaussian mixture on a hexagon beside two moons: is it harder, at equal model and budget?"""

from collections.abc import Callable
from statistics import fmean

from pushforward import Flow, verify
from pushforward.data import ToyData, hexagon, two_moons
from pushforward.report.plots.canvas import DATA, SAMPLES
from pushforward.studies.kit import Candidate, Points, Record, drawn, pictures
from pushforward.studies.kit.tables import Score, mean
from pushforward.studies.plane import quality
from pushforward.studies.plane.flows import our_splines, source_flow

TITLE = "Six Gaussians on a hexagon, beside two moons"
SOURCE = "an exercise sheet on invertible neural networks, task 1"

DATA_SETS: dict[str, Callable[..., ToyData]] = {"hexagon": hexagon, "two moons": two_moons}
MODELS = {
    "source": Candidate(
        "RealNVP, 8 blocks × 64 (source)",
        source_flow,
        {"num_steps": 4_000, "batch_size": 1024, "learning_rate": 1e-3, "schedule": "constant"},
    ),
    "ours": our_splines(4_000),
}


def run(record: Record) -> None:
    """Train the source's RealNVP and our splines on both data sets, in their own units."""
    num_points = record.size(100_000, quick=2_000)
    data, flows = {}, {}
    for name, make in DATA_SETS.items():
        data[name] = {seed: make(num_points, seed=seed) for seed in record.seeds()}
        label, keep = f"{{key}}, {name}, seed {{seed}}", f"{name}.{{key}}"
        flows[name] = quality.compare(record, MODELS, data[name], label=label, keep=keep)
    entropies = {name: of[record.seed].density.entropy() for name, of in data.items()}
    _likelihood(record, entropies, {name: of.scores for name, of in flows.items()})
    first, mine = data["hexagon"][record.seed], {key: flows["hexagon"].first(key) for key in MODELS}
    _pictures(record, first, mine)
    record.heading("Round trip, and is the code standard normal?")
    fresh = first.density.sample(10_000, quality.TEST_SEED + record.seed)
    errors = {key: verify(flow, fresh[:200]).round_trip_error for key, flow in mine.items()}
    record.number("round_trip_error", errors)
    record.answer(
        "Is the reverse pass the inverse of the forward pass?",
        f"Up to {errors['source']:.1e} (source) and {errors['ours']:.1e} (ours) in units of the spread, in float32.",
    )
    record.answer("Is the code standard normal?", f"{quality.code_normality(record, mine, fresh)}.")


def _likelihood(record: Record, entropies: dict[str, float], found: dict[str, dict[str, list[Score]]]) -> None:
    record.heading("Likelihood and samples")
    rows = {f"{name}: {MODELS[key].name}": scores for name, of in found.items() for key, scores in of.items()}
    record.scores(quality.NOTE, "data and model", quality.COLUMNS, rows)
    record.number("entropy", entropies)
    record.text(
        f"Exact entropies: hexagon {entropies['hexagon']:.4f}, two moons {entropies['two moons']:.4f} nats. A "
        "course's sample solution reports a test NLL of 0.247 (10 blocks × 64) and 0.120 (15 × 128) on the hexagon."
    )
    said = []
    for key, model in MODELS.items():
        gap = {name: mean(of[key], "excess") for name, of in found.items()}
        ratio = {name: fmean(one.mmd / one.mmd_limit for one in of[key]) for name, of in found.items()}
        word = "harder" if gap["hexagon"] > gap["two moons"] else "not harder"
        said.append(
            f"{model.name}: {word}, excess {gap['hexagon']:.4f} against {gap['two moons']:.4f} nats, MMD² over its 95 "
            f"% limit {ratio['hexagon']:.2f} against {ratio['two moons']:.2f}"
        )
    record.answer("Is the mixture more difficult than the moons?", f"At equal model and budget, {'; '.join(said)}.")


def _pictures(record: Record, data: ToyData, flows: dict[str, Flow]) -> None:
    record.heading("Densities and samples")
    area = pictures.window(data.x[:10_000])
    named = {"RealNVP (source)": flows["source"], "splines (ours)": flows["ours"]}
    densities = {"exact density": data.density.log_prob} | {name: flow.log_prob for name, flow in named.items()}
    figure, _ = pictures.panels(densities, area, grid=record.grid)
    record.picture("density", figure, "Log densities: the truth, the source's RealNVP, our splines.")
    samples = {name: Points(drawn(flow, 10_000, record.seed), SAMPLES) for name, flow in named.items()}
    figure, _ = pictures.panels({"data": Points(data.x, DATA)} | samples, area)
    record.picture("samples", figure, "10,000 points: data, samples of the source's RealNVP, samples of our splines.")
