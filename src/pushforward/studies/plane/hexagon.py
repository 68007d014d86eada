"""A Gaussian mixture on a hexagon beside two moons: is it harder, at equal model and budget?"""

from collections.abc import Callable
from functools import partial
from statistics import fmean

from pushforward import recipes
from pushforward.data import ToyData, hexagon, two_moons
from pushforward.flows import Flow
from pushforward.report.plots import DATA, SAMPLES
from pushforward.studies.kit import pictures
from pushforward.studies.kit.comparison import Candidate, drawn
from pushforward.studies.kit.record import Record
from pushforward.studies.kit.tables import mean
from pushforward.studies.plane.quality import (
    QUALITY_COLUMNS,
    QUALITY_NOTE,
    TEST_SEED,
    Quality,
    are_the_codes_normal,
    compare,
    our_splines,
)
from pushforward.verification import verify

TITLE = "Six Gaussians on a hexagon, beside two moons"
SOURCE = "an exercise sheet on invertible neural networks, task 1"

DATA_SETS: dict[str, Callable[..., ToyData]] = {"hexagon": hexagon, "two moons": two_moons}
BLOCKS, WIDTH = 8, 64
MODELS = {
    "source": Candidate(
        f"RealNVP, {BLOCKS} blocks × {WIDTH} (source)",
        partial(
            recipes.realnvp, 2, num_layers=BLOCKS, hidden_features=(WIDTH, WIDTH), log_scale="tanh", mixing="orthogonal"
        ),
        {"num_steps": 4_000, "batch_size": 1024, "learning_rate": 1e-3, "schedule": "constant", "compile": True},
    ),
    "ours": our_splines(4_000),
}


def run(record: Record) -> None:
    """Train the source's RealNVP and our splines on both data sets, in their own units."""
    num_points = record.size(100_000, quick=2_000)
    data, flows, found = {}, {}, {}
    for name, make in DATA_SETS.items():
        data[name] = {seed: make(num_points, seed=seed) for seed in record.seeds()}
        flows[name], found[name] = compare(
            record, MODELS, data[name], label=f"{{key}}, {name}, seed {{seed}}", keep=f"{name}.{{key}}"
        )
    first = {name: of[record.seed] for name, of in data.items()}
    _table(record, first, found)
    mine = {key: flows["hexagon"].first(key) for key in MODELS}
    _pictures(record, first["hexagon"], mine)
    _codes(record, first["hexagon"], mine)


def _table(record: Record, data: dict[str, ToyData], found: dict[str, dict[str, list[Quality]]]) -> None:
    record.heading("Likelihood and samples")
    record.scores(
        QUALITY_NOTE,
        "data and model",
        QUALITY_COLUMNS,
        {f"{name}: {MODELS[key].name}": scores for name, of in found.items() for key, scores in of.items()},
    )
    entropies = {name: one.density.entropy() for name, one in data.items()}
    record.number("entropy", entropies)
    record.text(
        f"Exact entropies: hexagon {entropies['hexagon']:.4f}, two moons {entropies['two moons']:.4f} nats. A "
        "course's sample solution reports a test NLL of .247 (10 blocks × 64) and .120 (15 × 128) on the hexagon."
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
    figure, panels = pictures.board(3)
    densities: pictures.Densities = {
        "exact density": data.density.log_prob,
        **{name: flow.log_prob for name, flow in named.items()},
    }
    pictures.log_densities(figure, panels, densities, area, grid=record.grid)
    record.picture("density", figure, "Log densities: the truth, the source's RealNVP, our splines.")
    figure, panels = pictures.board(3)
    pictures.points(panels[0], data.x, "data", area, colour=DATA)
    for axes, (name, flow) in zip(panels[1:], named.items(), strict=True):
        pictures.points(axes, drawn(flow, 10_000, record.seed), name, area, colour=SAMPLES)
    record.picture("samples", figure, "10,000 points: data, samples of the source's RealNVP, samples of our splines.")


def _codes(record: Record, data: ToyData, flows: dict[str, Flow]) -> None:
    record.heading("Round trip, and is the code standard normal?")
    fresh = data.density.sample(10_000, TEST_SEED + record.seed).float()
    errors = {key: verify(flow, fresh[:200]).round_trip_error for key, flow in flows.items()}
    record.number("round_trip_error", errors)
    record.answer(
        "Is the reverse pass the inverse of the forward pass?",
        f"Up to {errors['source']:.1e} (source) and {errors['ours']:.1e} (ours) in the units of x, in float32.",
    )
    are_the_codes_normal(record, "Is the code standard normal?", flows, fresh)
