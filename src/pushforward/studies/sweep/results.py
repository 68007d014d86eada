"""Finished runs of the study `sweep`, as its report needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from pushforward.studies.kit.tables import shown
from pushforward.studies.sweep.cells import SETTINGS, Cell
from pushforward.studies.sweep.journal import finished, open_journal

NAMES = {
    "points": "training points",
    "epochs": "epochs",
    "learning_rate": "learning rate",
    "width": "width of the networks",
    "blocks": "coupling blocks",
}


@dataclass(frozen=True)
class Run:
    """A finished run, as the report needs it."""

    name: str
    kind: str
    setting: str
    settings: Mapping[str, float]
    validation: float
    started: datetime
    ended: datetime
    worker: str
    steps: int
    seconds: float
    parameters: int
    nll: float
    excess: float
    standard_error: float
    mmd: float | None
    mmd_fine: float | None
    round_trip_error: float
    latent: Mapping[str, Any]
    samples: list[list[float]]
    codes: list[list[float]]

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Run":
        """Read a run off its trial in the journal."""
        attributes = trial.user_attrs
        assert trial.value is not None
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
        return cls(
            attributes["name"],
            attributes["kind"],
            attributes["setting"],
            dict(trial.params),
            trial.value,
            trial.datetime_start,
            trial.datetime_complete,
            attributes["worker"],
            **attributes["measured"],
        )


def read_runs(journal: Path, cells: Sequence[Cell]) -> list[Run]:
    """Return the finished runs of these cells, and of no others that the journal may hold."""
    trials = {trial.user_attrs.get("name"): trial for trial in finished(open_journal(journal))}
    return [Run.of(trials[cell.name]) for cell in cells if cell.name in trials]


def of_kind(runs: Sequence[Run], *kinds: str) -> list[Run]:
    """Return the runs of these kinds."""
    return [one for one in runs if one.kind in kinds]


def described(settings: Mapping[str, float]) -> str:
    """Return all settings in words."""
    return ", ".join(f"{NAMES[name]} {shown(settings[name])}" for name in SETTINGS)
