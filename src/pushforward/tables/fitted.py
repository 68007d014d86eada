"""What a fit leaves where it was made: rows and histories; what the held-out rows say, measured when asked for."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from pushforward.metrics import Score
from pushforward.report.wording import number, verdict
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.quality import ShowsFigures
from pushforward.tables.row_networks import values_of_table
from pushforward.tables.schema import Schema
from pushforward.tables.splitting import Some, Split
from pushforward.training import History

if TYPE_CHECKING:
    import polars as pl

Measured = TypeVar("Measured", bound=ShowsFigures)


@dataclass(frozen=True, kw_only=True)
class Fit(ABC, Generic[Some, Measured]):
    """A law trained on a table, and what is known only where it was trained.

    Attributes:
        table: What was fitted.
        schema: Names of its columns.
        recipe: The recipe asked for.
        seed: Seed of split, initial weights and training.
        split: Training, validation and test rows.
        positions: Those of these rows in the table, or its sample, from 0: training, validation, test (none where none
            are held out).
        history: How the training of whole rows went.
        questions: How that of questions about some columns went; None where there was none.
        warnings: What is doubtful, in plain words.
        seconds: Time of each part of the job that is done, by name.
    """

    table: ForFitting
    schema: Schema
    recipe: str
    seed: int
    split: Split[Some]
    positions: tuple[np.ndarray, np.ndarray, np.ndarray]
    history: History
    questions: History | None
    warnings: list[str]
    seconds: dict[str, float]
    called: ClassVar[str]

    @property
    def source(self) -> str:
        """Where the table came from."""
        return self.table.source

    @property
    def plan(self) -> dict[str, Any]:
        """What training was to do, as a model file keeps it."""
        return {"num_steps": self.history.num_steps, "changes": [list(change) for change in self.history.plan]}

    @property
    def test_positions(self) -> np.ndarray:
        """Those of the test rows, from 0; of the training rows where none are held out."""
        return self.positions[2] if self.split.held_out else self.positions[0]

    @cached_property
    def test_frame(self) -> "pl.DataFrame":
        """The test rows as values."""
        return self.rows_at(self.test_positions)

    def rows_at(self, positions: np.ndarray) -> "pl.DataFrame":
        """Return rows of the table as values."""
        return values_of_table(self.table)[positions]

    def row_numbers(self, positions: np.ndarray) -> np.ndarray:
        """Return the numbers of rows in the whole table, from 1."""
        return (positions if self.table.sample is None else self.table.sample.numbers[positions]) + 1

    @property
    def num_training(self) -> int:
        """Number of rows that train; of a table read piece by piece as far as known without reading all of it."""
        held = sum(map(len, self.positions[1:]))
        return len(self.split.train) if self.table.sample is None else self.table.sample.num_rows - held

    @property
    def training_seconds(self) -> float:
        """Of all training, and nothing else."""
        return self.history.seconds + (0.0 if self.questions is None else self.questions.seconds)

    def summary(self) -> dict[str, Any]:
        """Return what a model file keeps of the fit."""
        return {
            "source": self.source, "recipe": self.recipe, "kind": self.table.kind, "missing": list(self.table.missing),
            "rows": {"train": self.num_training, "test": len(self.split.test) if self.split.held_out else 0},
            "left_out": {one.name: one.why for one in self.table.left_out},
            "seconds": self.training_seconds, "warnings": self.warnings,
        }  # fmt: skip

    @property
    def num_rows(self) -> dict[str, int]:
        """Number of rows by what they are for."""
        return {
            "training": self.num_training,
            "validation": 0 if self.split.validation is None else len(self.split.validation),
            "held out": len(self.split.test) if self.split.held_out else 0,
        }

    @cached_property
    def evaluation(self) -> Measured:
        """Of the law on the test rows; measured when it is first asked for."""
        with timed(self.seconds, "evaluation"):
            return self._evaluate()

    @property
    def baselines(self) -> dict[str, Score]:
        """NLL of simple laws, fitted to the training rows, on the test rows, by name; when first asked for."""
        return self._compared[0]

    @property
    def verdict(self) -> str:
        """How the law does beside the best of the baselines, in one sentence."""
        return verdict(*self._compared[1], called=self.called)

    @cached_property
    def _compared(self) -> tuple[dict[str, Score], tuple[str, Score]]:
        with timed(self.seconds, "baselines"):
            return self._compare()

    def figures(self) -> list[tuple[str, ...]]:
        """Return the NLL of the law and the baselines as text: name, mean with standard error, trimmed mean."""
        return [
            (name, f"{number(score.mean)} ± {number(score.standard_error)}", number(score.trimmed_mean))
            for name, score in {self.called: self.evaluation.nll, **self.baselines}.items()
        ]

    @abstractmethod
    def _evaluate(self) -> Measured:
        """Measure the law on the test rows."""

    @abstractmethod
    def _compare(self) -> tuple[dict[str, Score], tuple[str, Score]]:
        """Return the scores of simple laws by name, and the name of the best with what the law gains over it."""


@contextmanager
def timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Keep the time of a part of the job under its name."""
    started = time.perf_counter()
    yield
    seconds[what] = time.perf_counter() - started
