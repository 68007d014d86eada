"""From a table of mixed columns to a trained law of its rows; and what its held-out rows say."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pushforward.errors import require_count, require_flag, require_number, require_seed
from pushforward.metrics import Score
from pushforward.metrics.likelihood import score_of
from pushforward.numerics.default_device import on_the_cpu
from pushforward.report.wording import number, verdict
from pushforward.rows import RowDensity, RowJoint, RowQuestions, joint_nll, question_nll
from pushforward.tables.column_kinds import said_of_left_out
from pushforward.tables.encoders import encoder_of
from pushforward.tables.fitted_columns import FittedColumn
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.model_folder import remove_model
from pushforward.tables.row_baselines import PartsLaw, fit_row_baselines
from pushforward.tables.row_encoder import Rows
from pushforward.tables.row_law import RowLaw
from pushforward.tables.row_quality import RowEvaluation
from pushforward.tables.schema import Schema
from pushforward.tables.splitting import split_positions
from pushforward.training import History, fit

if TYPE_CHECKING:
    import polars as pl

MAX_SECONDS = 60.0
QUESTIONS = "questions"  # the folder of their checkpoint, in that of the joint's
SHARE_OF_JOINT = 0.6  # of the time
FEW_ROWS = 2_000
HURRIED_SECONDS, A_WHILE = 20, 90  # narrower networks take more steps, which is worth more until steps are many
MANY_ROWS = 200_000
LEARNING_RATE = 8e-3
WEIGHT_DECAY = 0.2
AVERAGE = 0.1  # of the steps; held-out rows choose one of these averages, and rows are not learned by heart meanwhile


@dataclass(frozen=True)
class RowSplit:
    """Rows of a table, encoded; `test` is held out from everything, or the training rows where none are."""

    train: Rows
    validation: Rows | None
    test: Rows
    held_out: bool


@dataclass(frozen=True)
class RowFit:
    """A law of rows trained on a table, and what is known only where it was trained.

    Attributes:
        law: The law.
        table: What was fitted.
        history: How the training of the joint went.
        questions: How that of the questions went.
        split: Training, validation and test rows.
        test_frame: The test rows as values.
        seed: Seed of split, initial weights and training.
        warnings: What is doubtful, in plain words.
        seconds: Time of each part of the job that is done, by name.
    """

    law: RowLaw
    table: ForFitting
    history: History
    questions: History
    split: RowSplit
    test_frame: "pl.DataFrame"
    seed: int
    warnings: list[str]
    seconds: dict[str, float]
    recipe: str = "auto"

    @property
    def flow(self) -> RowDensity:
        """The density that was trained."""
        return self.law.density

    @property
    def schema(self) -> Schema:
        """Names of the columns."""
        return self.law.schema

    @property
    def source(self) -> str:
        """Where the table came from."""
        return self.table.source

    @property
    def plan(self) -> dict[str, Any]:
        """What training was to do, as a model file keeps it."""
        return {"num_steps": self.history.num_steps, "changes": [list(change) for change in self.history.plan]}

    @property
    def training_seconds(self) -> float:
        """Of both trainings."""
        return self.history.seconds + self.questions.seconds

    def summary(self) -> dict[str, Any]:
        """Return what a model file keeps of the fit."""
        return {
            "source": self.source, "recipe": self.recipe, "kind": self.table.kind, "missing": list(self.table.missing),
            "rows": {"train": len(self.split.train), "test": len(self.split.test) if self.split.held_out else 0},
            "left_out": {one.name: one.why for one in self.table.left_out},
            "seconds": self.training_seconds, "warnings": self.warnings,
        }  # fmt: skip

    @cached_property
    def evaluation(self) -> RowEvaluation:
        """Of the law on the test rows; measured when it is first asked for."""
        started = time.perf_counter()
        measured = self.law.evaluate(None, self, truth=None, seed=self.seed)
        self.seconds["evaluation"] = time.perf_counter() - started
        return measured

    @property
    def baselines(self) -> dict[str, Score]:
        """NLL of simple laws, fitted to the training rows, on the test rows, by name; when first asked for."""
        return self._compared[0]

    @property
    def verdict(self) -> str:
        """How the law does beside the best of the baselines, in one sentence."""
        return verdict(*self._compared[1], called="this model")

    @cached_property
    def _compared(self) -> tuple[dict[str, Score], tuple[str, Score]]:
        started = time.perf_counter()
        encoders = [column.encoder for column in self.law.fitted.values()]
        others: list[PartsLaw] = fit_row_baselines(
            self.split.train, self.split.validation, [one.num_codes for one in encoders],
            [one.is_number for one in encoders], len(self.law.schema.context),
        )  # fmt: skip
        own, theirs = self.law.log_prob_of(self.split.test), {one.name: one.log_prob(self.split.test) for one in others}
        scores = {name: score_of(torch.from_numpy(-values)) for name, values in theirs.items()}
        best = min(scores, key=lambda name: scores[name].mean)
        found = scores, (best, score_of(torch.from_numpy(own - theirs[best])))
        self.seconds["baselines"] = time.perf_counter() - started
        return found

    def figures(self) -> list[tuple[str, str, str]]:
        """Return the NLL of the law and the baselines as text: name, mean with standard error, trimmed mean."""
        return [
            (name, f"{number(score.mean)} ± {number(score.standard_error)}", number(score.trimmed_mean))
            for name, score in {"this model": self.evaluation.nll, **self.baselines}.items()
        ]


@on_the_cpu()
def fit_rows(
    table: ForFitting,
    *,
    max_seconds: float | None,
    num_steps: int | None,
    seed: int,
    test: float,
    out: str | os.PathLike[str] | None,
    resume: bool,
    device: str | torch.device,
    progress: bool,
    notify: Callable[[str], None],
) -> RowFit:
    """Train a law of rows on a table; the arguments are those of `TableModel.fit`."""
    import polars as pl

    resume = require_flag("resume", resume)  # before the model of an earlier fit is taken away
    seed, num_steps = require_seed(seed), None if num_steps is None else require_count("num_steps", num_steps)
    if max_seconds is not None or num_steps is None:
        max_seconds = require_number("max_seconds", MAX_SECONDS if max_seconds is None else max_seconds, above=0)
    positions = split_positions(table.num_rows, seed=seed, test=test)
    train, validation, held_out = positions
    context = [one for one in table.columns if one.name in table.context]
    order = [*context, *(one for one in table.columns if one.name not in table.context)]
    columns = {
        one.name: FittedColumn(
            one.name, one.kind, one.dtype, one.values.null_count() / len(one.values),
            encoder_of(one.kind.name, one.values, train),
        )
        for one in order
    }  # fmt: skip
    density = _density(columns, len(context), rows=len(train), max_seconds=max_seconds, seed=seed)
    schema = Schema(tuple(one.name for one in table.columns), table.context)
    law = RowLaw(density, columns, schema, table.missing)
    frame = pl.DataFrame([one.values.alias(one.name) for one in order])
    encoded = law.encoder.encode(frame)
    test_rows = held_out if len(held_out) else train
    split = RowSplit(
        encoded.select(train), encoded.select(validation) if len(validation) else None, encoded.select(test_rows),
        held_out=len(held_out) > 0,
    )  # fmt: skip
    warnings = [*table.notes, *said_of_left_out(table.left_out)]
    if not split.held_out:
        few = f"only {table.num_rows} rows: none could be held out" if test else "no rows are held out (test=0)"
        warnings.append(f"{few}, so the figures are those of the training rows and flatter the model")
    for warning in warnings:
        notify(warning)
    if out is not None and not resume:
        remove_model(out)
    started = time.perf_counter()
    options: dict[str, Any] = {
        "num_steps": num_steps, "seed": seed, "resume": resume, "device": device, "progress": progress,
        "validation": None if split.validation is None else split.validation.cells, "optimizer": "adamw",
        "learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY, "batch_size": _batch_size(len(train)),
        "average": AVERAGE,
    }  # fmt: skip
    shares = [None, None] if max_seconds is None else [max_seconds * SHARE_OF_JOINT, max_seconds * (1 - SHARE_OF_JOINT)]
    history = fit(density.joint, split.train.cells, loss=joint_nll, max_seconds=shares[0], out=out, **options)
    questions = fit(
        density.questions, split.train.cells, loss=question_nll, max_seconds=shares[1],
        out=None if out is None else Path(out) / QUESTIONS, **options,
    )  # fmt: skip
    seconds = {"training": time.perf_counter() - started}
    return RowFit(law, table, history, questions, split, frame[test_rows], seed, warnings, seconds)


def _batch_size(rows: int) -> int:
    """Return how many rows a step learns from: more steps are worth more than larger ones until rows are many."""
    return max(32, min(rows // 10, 256)) if rows < MANY_ROWS else 512


def _density(
    columns: dict[str, FittedColumn], num_context: int, *, rows: int, max_seconds: float | None, seed: int
) -> RowDensity:
    """Return a new density for so many rows; its initial weights depend on the seed alone."""
    few, hurried = rows < FEW_ROWS, max_seconds is not None and max_seconds < HURRIED_SECONDS
    width = 128 if few or hurried else 256 if max_seconds is None or max_seconds > A_WHILE else 192
    encoders = [column.encoder for column in columns.values()]
    options: dict[str, Any] = {
        "num_codes": [one.num_codes for one in encoders], "numbers": [one.is_number for one in encoders],
        "num_context": num_context, "width": width,
    }  # fmt: skip
    marked = [d for d, one in enumerate(columns.values()) if one.missing and d >= num_context]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        joint = RowJoint(**options, marked=marked, dropout=0.3 if few else 0.1)
        return RowDensity(joint, RowQuestions(**options, dropout=0.3 if few else 0.1))
