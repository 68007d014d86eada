"""A Gaussian mixture on a hexagon beside two moons: is it harder, at equal model and budget?"""

from collections.abc import Callable

import torch
from torch import Tensor

from pushforward import recipes
from pushforward.data import ToyData, hexagon, two_moons
from pushforward.flows import Flow
from pushforward.report.plots import DATA, SAMPLES
from pushforward.studies import pictures, toys
from pushforward.studies.record import Record
from pushforward.verification import verify

TITLE = "Six Gaussians on a hexagon, beside two moons"
SOURCE = "an exercise sheet on invertible neural networks, task 1"

BLOCKS, WIDTH = 8, 64
DATA_SETS: dict[str, Callable[..., ToyData]] = {"hexagon": hexagon, "two moons": two_moons}


def run(record: Record) -> None:
    """Train the source's RealNVP and our splines on both data sets, in their own units."""
    seeds = record.seeds()
    qualities: dict[tuple[str, str], list[toys.Quality]] = {}
    first: dict[tuple[str, str], Flow] = {}
    data = {name: make(2_000 if record.quick else 100_000, seed=record.seed) for name, make in DATA_SETS.items()}
    for name, make in DATA_SETS.items():
        for seed in seeds:
            x = make(len(data[name].x), seed=seed).x
            flows = {
                "source": _source_run(record, f"source, {name}, seed {seed}", x, seed),
                "ours": toys.fit_spline(record, f"ours, {name}, seed {seed}", x, seed=seed, num_steps=4_000),
            }
            for key, flow in flows.items():
                first.setdefault((name, key), flow)
                quality = toys.quality(flow, data[name].density, seed, quick=record.quick)
                qualities.setdefault((name, key), []).append(quality)
    _table(record, data, qualities)
    _pictures(record, data["hexagon"], first["hexagon", "source"], first["hexagon", "ours"])
    _is_the_code_normal(record, data["hexagon"], first)


def _source_run(record: Record, label: str, x: Tensor, seed: int) -> Flow:
    """Train the source's RealNVP: log-scale tanh, rotations between blocks, Adam at 1e-3 throughout."""
    torch.manual_seed(seed)
    flow = recipes.realnvp(
        2, num_layers=BLOCKS, hidden_features=(WIDTH, WIDTH), log_scale="tanh", mixing="orthogonal"
    )  # fmt: skip
    record.fit(
        label, flow, x, num_steps=30 if record.quick else 4_000, batch_size=1024, learning_rate=1e-3,
        schedule="constant", seed=seed, compile=not record.quick,
    )  # fmt: skip
    return flow


def _table(record: Record, data: dict[str, ToyData], qualities: dict[tuple[str, str], list[toys.Quality]]) -> None:
    record.heading("Likelihood and samples")
    names = {"source": f"RealNVP, {BLOCKS} blocks × {WIDTH} (source)", "ours": "6 splines (ours)"}
    rows = []
    for (name, key), found in qualities.items():
        rows.append([f"{name}: {names[key]}", *toys.record_qualities(record, f"{name}.{key}", found)])
    record.table(toys.QUALITY_NOTE, ["data and model", *toys.QUALITY_HEADER], rows)
    entropies = {name: one.density.entropy() for name, one in data.items()}
    record.number("entropy", entropies)
    record.text(
        f"Exact entropies: hexagon {entropies['hexagon']:.4f}, two moons {entropies['two moons']:.4f} nats. A "
        "course's sample "
        "solution reports a test NLL of .247 (10 blocks × 64) and .120 (15 × 128) on the hexagon."
    )
    said = []
    for key in names:
        gap = {name: sum(one.excess for one in qualities[name, key]) / len(qualities[name, key]) for name in data}
        ratio = {
            name: sum(one.mmd / one.mmd_limit for one in qualities[name, key]) / len(qualities[name, key])
            for name in data
        }
        word = "harder" if gap["hexagon"] > gap["two moons"] else "not harder"
        said.append(
            f"{names[key]}: {word}, excess {gap['hexagon']:.4f} against {gap['two moons']:.4f} nats, MMD² over its 95 "
            f"% limit {ratio['hexagon']:.2f} against {ratio['two moons']:.2f}"
        )
    record.answer("Is the mixture more difficult than the moons?", f"At equal model and budget, {'; '.join(said)}.")


def _pictures(record: Record, data: ToyData, plain: Flow, ours: Flow) -> None:
    record.heading("Densities and samples")
    area = pictures.window(data.x[:10_000])
    figure, panels = pictures.board(3)
    densities: dict[str, Callable[..., Tensor]] = {
        "exact density": data.density.log_prob,
        "RealNVP (source)": plain.log_prob,
        "splines (ours)": ours.log_prob,
    }
    pictures.log_densities(figure, panels, densities, area, grid=record.grid)
    record.picture("density", figure, "Log densities: the truth, the source's RealNVP, our splines.")
    figure, panels = pictures.board(3)
    pictures.points(panels[0], data.x, "data", area, colour=DATA)
    for axes, (title, flow) in zip(
        panels[1:], {"RealNVP (source)": plain, "splines (ours)": ours}.items(), strict=True
    ):
        samples = flow.sample(10_000, generator=torch.Generator().manual_seed(record.seed))
        pictures.points(axes, samples, title, area, colour=SAMPLES)
    record.picture("samples", figure, "10,000 points: data, samples of the source's RealNVP, samples of our splines.")


def _is_the_code_normal(record: Record, data: ToyData, flows: dict[tuple[str, str], Flow]) -> None:
    record.heading("Round trip, and is the code standard normal?")
    fresh = data.density.sample(10_000, toys.TEST_SEED + record.seed).float()
    said, errors = [], {}
    for key in ("source", "ours"):
        flow = flows["hexagon", key]
        errors[key] = verify(flow, fresh[:200]).round_trip_error
        said.append(toys.latent_normality(record, key, flow, fresh))
    record.number("round_trip_error", errors)
    record.answer(
        "Is the reverse pass the inverse of the forward pass?",
        f"Up to {errors['source']:.1e} (source) and {errors['ours']:.1e} (ours) in the units of x, in float32.",
    )
    record.answer("Is the code standard normal?", f"{'; '.join(said)}.")
