"""Which settings the study `sweep` tries: the cells that are known beforehand, and those chosen from what they gave."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pushforward.studies.sweep.cells import Cell, Settings

# Each setting and the range in which it is swept, evenly on a logarithmic scale.
SETTINGS: dict[str, tuple[float, float]] = {
    "points": (100, 30_000),
    "epochs": (1, 100),
    "learning_rate": (1e-4, 3e-2),
    "width": (4, 128),
    "blocks": (1, 16),
}
NAMES = {
    "points": "training points",
    "epochs": "epochs",
    "learning_rate": "learning rate",
    "width": "width of the networks",
    "blocks": "coupling blocks",
}
COUNTS = tuple(name for name in SETTINGS if name != "learning_rate")
FIRST: Settings = {"points": 1_000, "epochs": 10, "learning_rate": 1e-3, "width": 32, "blocks": 2}  # the source's


@dataclass(frozen=True)
class Plan:
    """The cells of one form of the study.

    Attributes:
        centre: Settings of which the effects change one at a time.
        levels: The values that each is changed to.
        most: Upper ends of the search, so that no single run takes minutes.
        ours: Settings of our spline couplings.
        num_random, num_guided: Cells whose settings are drawn at random, and chosen from what came before.
        test_points, compared: Those of each cell.
    """

    centre: Settings
    levels: Mapping[str, Sequence[float]]
    most: Settings
    ours: Settings
    num_random: int
    num_guided: int
    test_points: int
    compared: int

    def cell(self, kind: str, seed: int, settings: Settings, changed: str = "") -> Cell:
        """Return a cell of this form of the study; `changed` is the setting that an effect changes."""
        name = f"{changed} {settings[changed]:g}" if changed else kind
        return Cell(f"{name}, seed {seed}", kind, seed, settings, changed, self.test_points, self.compared)

    def known(self, seeds: Sequence[int]) -> list[Cell]:
        """Return the cells known beforehand, the source's own first; those drawn at random count on from the seed."""
        cells = [self.cell("first", seed, FIRST) for seed in seeds]
        cells += [self.cell("centre", seed, self.centre) for seed in seeds]
        for changed, levels in self.levels.items():
            effects = [{**self.centre, changed: level} for level in levels if level != self.centre[changed]]
            cells += [self.cell("effect", seed, settings, changed) for settings in effects for seed in seeds]
        drawn = range(seeds[0], seeds[0] + self.num_random)
        return cells + [self.cell("random", seed, random_settings(seed, self.most)) for seed in drawn]


FULL = Plan(
    centre={"points": 10_000, "epochs": 12, "learning_rate": 3e-3, "width": 64, "blocks": 8},
    levels={
        "points": (300, 1_000, 3_000, 10_000, 30_000),
        "epochs": (2, 5, 12, 40),
        "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
        "width": (8, 16, 32, 64, 128),
        "blocks": (1, 2, 4, 8, 16),
    },
    most={"points": 10_000, "epochs": 40, "learning_rate": 3e-2, "width": 128, "blocks": 12},
    ours={"points": 10_000, "epochs": 20, "learning_rate": 5e-3, "width": 64, "blocks": 4},
    num_random=30,
    num_guided=10,
    test_points=100_000,
    compared=2_000,
)
QUICK = Plan(
    centre=FIRST,
    levels={"blocks": (1,)},
    most={"points": 1_000, "epochs": 3, "learning_rate": 3e-2, "width": 32, "blocks": 3},
    ours={**FULL.ours, "points": 500, "epochs": 2},
    num_random=3,
    num_guided=1,
    test_points=2_000,
    compared=300,
)


def random_settings(seed: int, most: Settings = FULL.most) -> dict[str, float]:
    """Draw every setting evenly on a logarithmic scale, up to `most`."""
    chance = random.Random(f"sweep {seed}")
    drawn: dict[str, float] = {}
    for name, (low, _) in SETTINGS.items():
        value = math.exp(chance.uniform(math.log(low), math.log(most[name])))
        drawn[name] = round(value) if name in COUNTS else float(f"{value:.3g}")
    return drawn
