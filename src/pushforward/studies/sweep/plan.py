"""Which settings the study `sweep` tries."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pushforward.studies.kit import Record
from pushforward.studies.kit.tables import shown
from pushforward.studies.sweep.moons_run import MoonsRun, Settings


class Setting(NamedTuple):
    """A setting, the ends between which it is swept, evenly on a logarithmic scale, and the levels of its effect."""

    name: str
    low: float
    high: float
    levels: Sequence[float]


SETTINGS = {
    "points": Setting("training points", 100, 30_000, (300, 1_000, 3_000, 10_000, 30_000)),
    "epochs": Setting("epochs", 1, 100, (2, 5, 12, 40)),
    "learning_rate": Setting("learning rate", 1e-4, 3e-2, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
    "width": Setting("width of the networks", 4, 128, (8, 16, 32, 64, 128)),
    "blocks": Setting("coupling blocks", 1, 16, (1, 2, 4, 8, 16)),
}
COUNTS = tuple(name for name in SETTINGS if name != "learning_rate")
FIRST = {"points": 1_000, "epochs": 10, "learning_rate": 1e-3, "width": 32, "blocks": 2}
GOOD = {"points": 10_000, "epochs": 12, "learning_rate": 3e-3, "width": 64, "blocks": 8}
OURS = {"points": 10_000, "epochs": 20, "learning_rate": 5e-3, "width": 64, "blocks": 4}
# Ends of the search, at which one run takes no longer than minutes.
MOST = {"points": 10_000, "epochs": 40, "learning_rate": 3e-2, "width": 128, "blocks": 12}


class SweepPlan:
    """The cells of the full or the short form of the study."""

    def __init__(self, record: Record) -> None:
        levels = {name: setting.levels for name, setting in SETTINGS.items()}
        self.centre: Settings = record.size(GOOD, quick=FIRST)  # of which the effects change one setting at a time
        self.levels: Mapping[str, Sequence[float]] = record.size(levels, quick={"blocks": (1,)})
        self.most: Settings = MOST | record.size({}, quick={"points": 1_000, "epochs": 3, "width": 32, "blocks": 3})
        self.ours: Settings = OURS | record.size({}, quick={"points": 500, "epochs": 2})  # of our spline couplings
        self.num_random, self.num_guided = record.size((30, 10), quick=(3, 1))  # cells of the search up to `most`
        self.test_points, self.compared = record.size((100_000, 2_000), quick=(2_000, 300))

    def cell(self, kind: str, seed: int, settings: Settings, changed: str = "") -> MoonsRun:
        """Return a cell; `changed` is the setting that an effect changes."""
        name = f"{changed} {settings[changed]:g}" if changed else kind
        return MoonsRun(f"{name}, seed {seed}", kind, seed, settings, changed, self.test_points, self.compared)

    def known(self, seeds: Sequence[int]) -> list[MoonsRun]:
        """Return the cells known beforehand, the source's own first; those drawn at random count on from the seed."""
        cells = [self.cell("first", seed, FIRST) for seed in seeds]
        cells += [self.cell("centre", seed, self.centre) for seed in seeds]
        for changed, levels in self.levels.items():
            effects = [{**self.centre, changed: level} for level in levels if level != self.centre[changed]]
            cells += [self.cell("effect", seed, settings, changed) for settings in effects for seed in seeds]
        drawn = range(seeds[0], seeds[0] + self.num_random)
        return cells + [self.cell("random", seed, random_settings(seed, self.most)) for seed in drawn]


def random_settings(seed: int, most: Settings = MOST) -> dict[str, float]:
    """Draw every setting evenly on a logarithmic scale, up to `most`; the same in every run."""
    chance = random.Random(f"sweep {seed}")
    drawn: dict[str, float] = {}
    for name, setting in SETTINGS.items():
        value = math.exp(chance.uniform(math.log(setting.low), math.log(most[name])))
        drawn[name] = round(value) if name in COUNTS else float(f"{value:.3g}")
    return drawn


def described(settings: Settings) -> str:
    """Return all settings in words."""
    return ", ".join(f"{setting.name} {shown(settings[name])}" for name, setting in SETTINGS.items())
