"""From a table to a trained flow, checked once; and what its held-out rows say, measured when asked for."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from pushforward.data import Density
from pushforward.errors import require_count, require_flag, require_number, require_seed
from pushforward.flows import Flow
from pushforward.metrics import Score, gain, nll
from pushforward.report.wording import number, verdict
from pushforward.tables.baselines import fit_baselines
from pushforward.tables.column_kinds import said_of_left_out
from pushforward.tables.columns import Table
from pushforward.tables.flow_for_table import build, fresh_points, training_of
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.model_folder import remove_model
from pushforward.tables.quality import Evaluation, evaluate
from pushforward.tables.schema import Schema
from pushforward.tables.splitting import Split, split_rows
from pushforward.tables.table_checks import check_for_fitting, column_warnings
from pushforward.training import History, fit

MAX_SECONDS = 60.0


@dataclass(frozen=True)
class TableFit:
    """A flow trained on a table, and what is known only where it was trained.

    Attributes:
        flow: The trained flow.
        history: How the training went.
        schema: Names of the columns.
        split: Training, validation and test rows.
        source: Where the table came from.
        recipe: The recipe asked for.
        seed: Seed of split, initial weights and training.
        truth: The true density, where it is known.
        warnings: What makes the density doubtful, in plain words.
        seconds: Time of each part of the job that is done, by name.
    """

    flow: Flow
    history: History
    schema: Schema
    split: Split
    source: str
    recipe: str
    seed: int
    truth: Density | None
    warnings: list[str]
    seconds: dict[str, float]

    @property
    def log_scale(self) -> float:
        """Sum of the log standard deviations of the training columns: NLL - log_scale is in z-scored units."""
        return self.split.train.x.std(0, correction=0).log().sum().item()

    @property
    def plan(self) -> dict[str, Any]:
        """What training was to do, as a model file keeps it."""
        return {"num_steps": self.history.num_steps, "changes": [list(change) for change in self.history.plan]}

    @property
    def training_seconds(self) -> float:
        """Of training alone."""
        return self.history.seconds

    def summary(self, table: Table) -> dict[str, Any]:
        """Return what a model file keeps of the fit to this table."""
        ranges = zip(table.values.min(0).tolist(), table.values.max(0).tolist(), strict=True)
        return {
            "source": self.source,
            "recipe": self.recipe,
            "kind": table.kind,
            "ranges": {name: list(ends) for name, ends in zip(table.columns, ranges, strict=True)},
            "rows": {"train": len(self.split.train), "test": len(self.split.test) if self.split.held_out else 0},
            "log_scale": self.log_scale,
            "seconds": self.history.seconds,
            "warnings": self.warnings,
        }

    @cached_property
    def evaluation(self) -> Evaluation:
        """Of the flow on the test rows; measured when it is first asked for."""
        started = time.perf_counter()
        measured = evaluate(
            self.flow, self.split.test, log_scale=self.log_scale, truth=self.truth,
            fresh_points=fresh_points(self.recipe), seed=self.seed,
        )  # fmt: skip
        self.seconds["evaluation"] = time.perf_counter() - started
        return measured

    @property
    def baselines(self) -> dict[str, Score]:
        """NLL of simple densities, fitted to the training rows, on the test rows, by name; when first asked for."""
        return self._compared[0]

    @property
    def verdict(self) -> str:
        """How the flow does beside the best of the baselines, in one sentence."""
        return verdict(*self._compared[1])

    @cached_property
    def _compared(self) -> tuple[dict[str, Score], tuple[str, Score]]:
        """The scores of the baselines, and the name of the best with what the flow gains over it."""
        started = time.perf_counter()
        train, validation, test = self.split.train, self.split.validation, self.split.test
        others = fit_baselines(train.x, train.context, None if validation is None else validation.x)
        scores = {other.name: nll(other, test.x, test.context) for other in others}
        best = min(others, key=lambda other: scores[other.name].mean)
        found = scores, (best.name, gain(self.flow, best, test.x, test.context))
        self.seconds["baselines"] = time.perf_counter() - started
        return found

    def figures(self) -> list[tuple[str, str, str, str]]:
        """Return the NLL of flow and baselines as text: name, mean with standard error, trimmed mean, z-scored mean."""
        scale = self.log_scale
        rows = []
        for name, score in {"this flow": self.evaluation.nll, **self.baselines}.items():
            mean = f"{number(score.mean)} ± {number(score.standard_error)}"
            rows.append((name, mean, number(score.trimmed_mean), number(score.mean - scale)))
        if self.evaluation.entropy is not None:
            entropy = self.evaluation.entropy
            rows.append(("exact entropy", number(entropy, 4), "", number(entropy - scale)))
        return rows


def fit_flow(
    table: ForFitting,
    *,
    recipe: str,
    max_seconds: float | None,
    num_steps: int | None,
    seed: int,
    test: float,
    truth: Density | None,
    out: str | os.PathLike[str] | None,
    resume: bool,
    device: str | torch.device,
    progress: bool,
    notify: Callable[[str], None],
) -> TableFit:
    """Train a flow on a table of real columns; the arguments are those of `TableModel.fit`.

    Columns are scaled inside the flow (asinh of robustly standardized values), so densities are in the table's units.
    """
    resume = require_flag("resume", resume)  # before the model of an earlier fit is taken away
    seed, num_steps = require_seed(seed), None if num_steps is None else require_count("num_steps", num_steps)
    if max_seconds is not None or num_steps is None:
        max_seconds = require_number("max_seconds", MAX_SECONDS if max_seconds is None else max_seconds, above=0)
    numbers = table.numbers
    assert numbers is not None
    modelled, given = numbers.split(table.context)
    check_for_fitting(numbers)
    schema = Schema(numbers.columns, () if given is None else given.columns)
    split = split_rows(modelled, given, seed=seed, test=test)
    warnings = [*table.notes, *said_of_left_out(table.left_out), *column_warnings(numbers, context=schema.context)]
    if not split.held_out:
        few = f"only {table.num_rows} rows: none could be held out" if test else "no rows are held out (test=0)"
        warnings.append(f"{few}, so the figures are those of the training rows and flatter the flow")
    for warning in warnings:
        notify(warning)
    flow = build(recipe, split.train, max_seconds=max_seconds, seed=seed)
    if out is not None and not resume:
        remove_model(out)
    started = time.perf_counter()
    history = fit(
        flow, split.train.x, split.train.context, max_seconds=max_seconds, num_steps=num_steps, seed=seed,
        validation=None if split.validation is None else (split.validation.x, split.validation.context),
        out=out, resume=resume, device=device, progress=progress,
        **training_of(recipe, flow, validated=split.validation is not None),
    )  # fmt: skip
    seconds = {"training": time.perf_counter() - started}
    return TableFit(flow, history, schema, split, table.source, recipe, seed, truth, warnings, seconds)
