"""Cells of the study `sweep`: one training run each, its settings, and what is measured of it."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pushforward import metrics, recipes
from pushforward.data import two_moons
from pushforward.flows import Flow
from pushforward.studies.plane.flows import source_flow
from pushforward.studies.plane.quality import TEST_SEED
from pushforward.training import fit
from pushforward.transforms import Standardize

# Each setting and the range in which it is swept, evenly on a logarithmic scale.
SETTINGS: dict[str, tuple[float, float]] = {
    "points": (100, 30_000),
    "epochs": (1, 100),
    "learning_rate": (1e-4, 3e-2),
    "width": (4, 128),
    "blocks": (1, 16),
}
COUNTS = tuple(name for name in SETTINGS if name != "learning_rate")
FIRST: dict[str, float] = {"points": 1_000, "epochs": 10, "learning_rate": 1e-3, "width": 32, "blocks": 2}
GOOD: dict[str, float] = {"points": 10_000, "epochs": 12, "learning_rate": 3e-3, "width": 64, "blocks": 8}
OURS: dict[str, float] = {"points": 10_000, "epochs": 20, "learning_rate": 5e-3, "width": 64, "blocks": 4}
LEVELS: dict[str, Sequence[float]] = {
    "points": (300, 1_000, 3_000, 10_000, 30_000),
    "epochs": (2, 5, 12, 40),
    "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "width": (8, 16, 32, 64, 128),
    "blocks": (1, 2, 4, 8, 16),
}
# The search stays below these, so that no single run takes minutes.
MOST: dict[str, float] = {"points": 10_000, "epochs": 40, "learning_rate": 3e-2, "width": 128, "blocks": 12}

BATCH_SIZE = 128
VALIDATION_POINTS, VALIDATION_SEED = 2_000, 999_983
FINE = 0.2  # of the usual kernel width: a second MMD, which sees finer differences
KEPT_POINTS = 600  # samples and codes of each run, for the pictures


@dataclass(frozen=True)
class Cell:
    """One run that the sweep is to make.

    Attributes:
        name: Tells the cell from all others of the sweep.
        kind: "first", "centre", "effect", "random", "guided", "best" or "ours".
        seed: Of data, weights and training.
        settings: One value a setting; empty where the sampler is to choose.
        setting: The setting that differs from the centre, for an effect.
        recipe: "RealNVP" or "splines".
        most: Upper ends of the sampler's ranges.
        test_points: Fresh points behind the excess.
        compared: Points on each side of the MMD.
    """

    name: str
    kind: str
    seed: int
    settings: Mapping[str, float] = field(default_factory=dict)
    setting: str = ""
    recipe: str = "RealNVP"
    most: Mapping[str, float] = field(default_factory=lambda: MOST)
    test_points: int = 100_000
    compared: int = 2_000

    def attributes(self) -> dict[str, Any]:
        """Return all that a worker needs to know beyond the settings, as plain values."""
        plain = {name: value for name, value in vars(self).items() if name not in ("settings", "most")}
        return {**plain, "most": dict(self.most)}


def planned(seeds: Sequence[int], *, num_random: int, num_guided: int) -> list[Cell]:
    """Return the cells of the full sweep, the source's own first.

    Args:
        seeds: Of the repeated cells.
        num_random: Cells with settings drawn at random, by a seed, so that they are the same in every run.
        num_guided: Cells with settings that the sampler chooses from what came before.
    """
    cells = [Cell(f"first, seed {seed}", "first", seed, FIRST) for seed in seeds]
    cells += [Cell(f"centre, seed {seed}", "centre", seed, GOOD) for seed in seeds]
    for setting, levels in LEVELS.items():
        for level in levels:
            if level == GOOD[setting]:
                continue
            cells += [
                Cell(f"{setting} {level:g}, seed {seed}", "effect", seed, {**GOOD, setting: level}, setting)
                for seed in seeds
            ]
    cells += [
        Cell(f"random, seed {seed}", "random", seed, random_settings(seed))
        for seed in range(seeds[0], seeds[0] + num_random)
    ]
    return cells + [Cell(f"guided, seed {seed}", "guided", seed) for seed in range(seeds[0], seeds[0] + num_guided)]


def planned_quick(seed: int) -> list[Cell]:
    """Return a handful of cells, the source's own first."""
    most = {"points": 1_000, "epochs": 3, "learning_rate": 3e-2, "width": 32, "blocks": 3}
    small: dict[str, Any] = {"most": most, "test_points": 2_000, "compared": 300}
    return [
        Cell(f"quick first, seed {seed}", "first", seed, FIRST, **small),
        Cell(f"quick centre, seed {seed}", "centre", seed, FIRST, **small),
        Cell(f"quick blocks 1, seed {seed}", "effect", seed, {**FIRST, "blocks": 1}, "blocks", **small),
        *(
            Cell(f"quick random, seed {n}", "random", n, random_settings(n, most), **small)
            for n in range(seed, seed + 3)
        ),
        Cell(f"quick guided, seed {seed}", "guided", seed, **small),
    ]


def random_settings(seed: int, most: Mapping[str, float] = MOST) -> dict[str, float]:
    """Draw every setting evenly on a logarithmic scale, up to `most`."""
    chance = random.Random(f"sweep {seed}")
    drawn: dict[str, float] = {}
    for name, (low, _) in SETTINGS.items():
        value = math.exp(chance.uniform(math.log(low), math.log(most[name])))
        drawn[name] = round(value) if name in COUNTS else float(f"{value:.3g}")
    return drawn


@cache
def truth(compared: int) -> tuple[Tensor, Tensor, float]:
    """Return two samples of the truth, (compared, 2), and the usual kernel width, the median distance."""
    density = two_moons(1).density
    fresh, other = (density.sample(compared, TEST_SEED + offset) for offset in (1, 2))
    return fresh, other, metrics.median_bandwidth(fresh, other)


def build(recipe: str, settings: Mapping[str, float]) -> Flow:
    """Return an untrained model."""
    blocks, width = int(settings["blocks"]), int(settings["width"])
    if recipe == "RealNVP":
        return source_flow(0, num_blocks=blocks, width=width)
    return recipes.nsf(
        2, bins=16, num_layers=blocks, hidden_features=(width, width), mixing="lu", preprocessing=[Standardize(2)]
    )


def measure(
    settings: Mapping[str, float], *, seed: int, recipe: str, test_points: int, compared: int
) -> tuple[float, dict[str, Any]]:
    """Make one run on two moons; return its validation NLL and what was measured on fresh points, as plain values.

    The validation points are the same for every run, and choose its weights; the training points come on top of them.

    Raises:
        RunError: If the training diverges.
    """
    data = two_moons(int(settings["points"]), noise=0.1, seed=seed)
    validation = two_moons(VALIDATION_POINTS, noise=0.1, seed=VALIDATION_SEED).x
    torch.manual_seed(seed)
    flow = build(recipe, settings)
    history = fit(
        flow,
        data.x,
        validation=validation,
        epochs=int(settings["epochs"]),
        learning_rate=settings["learning_rate"],
        schedule="constant" if recipe == "RealNVP" else "cosine",
        batch_size=min(BATCH_SIZE, len(data.x)),
        seed=seed,
        progress=False,
    )
    excess = metrics.excess(flow, data.density, test_points, TEST_SEED)
    fresh, _, bandwidth = truth(compared)
    samples = flow.sample(compared, generator=torch.Generator().manual_seed(seed))
    finite = bool(samples.isfinite().all())
    with torch.no_grad():
        codes = flow.encode(fresh)
        back = flow.decode(codes)
    latent = metrics.latent_normality(codes, seed=seed)
    assert history.best_validation is not None
    return history.best_validation, {
        "steps": history.steps,
        "seconds": round(history.seconds, 2),
        "parameters": sum(parameter.numel() for parameter in flow.parameters()),
        "nll": metrics.nll(flow, data.density.sample(test_points, TEST_SEED)).mean,
        "excess": excess.mean,
        "standard_error": excess.standard_error,
        "mmd": metrics.mmd(fresh, samples, bandwidth=bandwidth) if finite else None,
        "mmd_fine": metrics.mmd(fresh, samples, bandwidth=bandwidth * FINE) if finite else None,
        "round_trip_error": (back - fresh).abs().max().item(),
        "latent": {
            "mean": latent.mean.tolist(),
            "std": latent.std.tolist(),
            "skewness": latent.skewness.tolist(),
            "excess_kurtosis": latent.kurtosis.tolist(),
            "kolmogorov_p_value": latent.kolmogorov_p_value,
            "mmd": latent.mmd,
            "mmd_p_value": latent.mmd_p_value,
        },
        "samples": _rounded(samples),
        "codes": _rounded(codes),
    }


def _rounded(x: Tensor) -> list[list[float]]:
    return [[round(value, 3) for value in row] for row in x[:KEPT_POINTS].nan_to_num().tolist()]
