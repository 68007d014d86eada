"""The main job: from a table to a flow that has been trained, and measured on rows held out from everything."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward import losses, recipes
from pushforward.data import Density
from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.metrics import Score, nll
from pushforward.tables.baselines import fit_baselines
from pushforward.tables.checks import check_for_fitting, column_warnings
from pushforward.tables.columns import Schema, Table, listing
from pushforward.tables.evaluation import Evaluation, evaluate, evaluate_against
from pushforward.tables.frames import as_table
from pushforward.training import History, fit
from pushforward.transforms import Asinh

MOST_TEST_ROWS = 20_000  # a tenth of the rows, but no more than tells the figures to three digits
MOST_VALIDATION_ROWS = 10_000
FEWEST_ROWS_TO_SPLIT = 10
FRESH_POINTS = 100_000
FEW_FEATURES = 8


@dataclass(frozen=True)
class Rows:
    """Some rows of a table as tensors.

    Attributes:
        x: (n, D), float64, the columns to be modelled.
        context: (n, C), float64, or None.
    """

    x: Tensor
    context: Tensor | None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Split:
    """A table cut into three by a permutation drawn from the seed; `test` is held out from everything.

    Attributes:
        train: The rows the flow learns from.
        validation: A tenth of the rows, on which the best weights are picked; None where rows are too few.
        test: A tenth of the rows; the training rows where rows are too few.
    """

    train: Rows
    validation: Rows | None
    test: Rows

    @property
    def held_out(self) -> bool:
        """Whether there were rows enough to hold some out."""
        return self.test is not self.train


@dataclass(frozen=True)
class TableFit:
    """A fitted table: the flow and all that a report says about it.

    Attributes:
        flow: The trained flow.
        history: How the training went.
        schema: Names of the columns.
        source: Where the table came from.
        recipe: The recipe asked for.
        seed: Seed of split, initial weights and training.
        split: Training, validation and test rows.
        warnings: What makes the density doubtful, in plain words.
        log_scale: Sum of the log standard deviations of the training columns: NLL - log_scale is in z-scored units.
        evaluation: Of the flow on the test rows.
        baselines: NLL of simple densities on the same rows, by name.
        entropy: Of the true density, where it is known.
        excess: Mean of log p_true - log p_flow on fresh points, where the truth is known.
        seconds: Time of each part of the job, by name.
    """

    flow: Flow
    history: History
    schema: Schema
    source: str
    recipe: str
    seed: int
    split: Split
    warnings: list[str]
    log_scale: float
    evaluation: Evaluation
    baselines: dict[str, Score]
    entropy: float | None
    excess: Score | None
    seconds: dict[str, float]


def fit_table(
    data: Any,
    *,
    context: str | Sequence[str] = (),
    recipe: str = "auto",
    max_seconds: float = 60.0,
    seed: int = 0,
    truth: Density | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    notify: Callable[[str], None] | None = None,
) -> TableFit:
    """Fit a flow to the columns of a table and measure it on rows held out from everything.

    Columns are scaled inside the flow (asinh of robustly standardized values), so densities are in the table's units.

    Args:
        data: A table, data frame or array of numbers.
        context: Names of the columns to condition on (or one string, separated by commas): the flow is then the density
            of the other columns given these.
        recipe: "auto", which chooses recipe and sizes from rows and columns, or a name in `pf.recipes.RECIPES`.
        max_seconds: Most seconds of training.
        seed: Seed of split, initial weights and training.
        truth: The true density, where it is known; its label is the context, if there is one.
        out: Folder for checkpoint and history, as in `pf.fit`.
        resume: Go on from the checkpoint in `out`.
        progress: Show how the training goes.
        notify: Called with each warning before the training starts.

    Raises:
        InputError: If the table cannot be fitted, a column or the recipe is unknown.
        RunError: If the training fails.
    """
    table = as_table(data)
    check_recipe(recipe)
    modelled, given = table.split(context)
    check_for_fitting(table)
    schema = Schema(table.columns, () if given is None else given.columns)
    split = split_rows(modelled, given, seed=seed)
    warnings = column_warnings(table, context=schema.context)
    if not split.held_out:
        warnings.append(
            f"only {len(table.values)} rows: none could be held out, so the figures are those of the training rows and"
            " flatter the flow"
        )
    for warning in warnings if notify else ():
        notify(warning)  # type: ignore[misc]
    flow = build(recipe, split.train, max_seconds=max_seconds, seed=seed)

    clock = _Clock()
    validation = None if split.validation is None else (split.validation.x, split.validation.context)
    history = fit(
        flow, split.train.x, split.train.context, validation=validation, max_seconds=max_seconds, seed=seed, out=out,
        resume=resume, progress=progress, loss=loss_of(recipe),
    )  # fmt: skip
    clock.stop("training")
    test = split.test
    evaluation = evaluate(flow, test.x, test.context, seed=seed)
    entropy, difference = None, None
    if truth is not None:
        number = FRESH_POINTS if recipe != "cnf" else FRESH_POINTS // 5  # which solves an equation for each
        entropy, difference = evaluate_against(flow, truth, number, seed=seed)
    clock.stop("evaluation")
    others = fit_baselines(split.train.x, split.train.context, None if split.validation is None else split.validation.x)
    scores = {other.name: nll(other, test.x, test.context) for other in others}
    clock.stop("baselines")
    return TableFit(
        flow=flow,
        history=history,
        schema=schema,
        source=table.source,
        recipe=recipe,
        seed=seed,
        split=split,
        warnings=warnings,
        log_scale=split.train.x.std(0, correction=0).log().sum().item(),
        evaluation=evaluation,
        baselines=scores,
        entropy=entropy,
        excess=difference,
        seconds=clock.seconds,
    )


def check_recipe(recipe: str) -> None:
    """Raise InputError unless there is such a recipe."""
    names = ["auto", *recipes.RECIPES]
    if recipe not in names:
        raise InputError(f'there is no recipe "{recipe}" (recipes: {", ".join(names)})')


def split_rows(modelled: Table, given: Table | None, *, seed: int) -> Split:
    """Cut a table into training, validation and test rows: the first 80, next 10 and last 10 % of a permutation.

    Validation has at most 10,000 rows and test at most 20,000. Below 10 rows nothing is held out.

    Raises:
        InputError: If a column is constant in the training rows.
    """
    num_rows = len(modelled.values)
    order = np.random.default_rng(seed).permutation(num_rows)
    num_test = max(min(num_rows // 10, MOST_TEST_ROWS), 2)
    num_validation = min(num_rows // 10, MOST_VALIDATION_ROWS)
    if num_rows < FEWEST_ROWS_TO_SPLIT:
        num_test = num_validation = 0

    def rows(start: int, stop: int) -> Rows:
        chosen = order[start:stop]
        parts = [None if part is None else torch.from_numpy(part.values[chosen]) for part in (modelled, given)]
        return Rows(parts[0], parts[1])  # type: ignore[arg-type]

    num_train = num_rows - num_validation - num_test
    train = rows(0, num_train)
    _check_varies(train.x, modelled)
    if train.context is not None and given is not None:
        _check_varies(train.context, given)
    return Split(
        train=train,
        validation=rows(num_train, num_train + num_validation) if num_validation else None,
        test=rows(num_rows - num_test, num_rows) if num_test else train,
    )


def _check_varies(x: Tensor, table: Table) -> None:
    constant = [name for name, column in zip(table.columns, x.T, strict=True) if bool((column == column[0]).all())]
    if constant:
        raise InputError(
            f"{table.source}: column {listing(constant)} is constant in the {len(x):,} rows drawn for training: too few"
            " rows differ to show a density (leave it out)"
        )


def loss_of(recipe: str) -> Callable[..., Tensor]:
    """Return what a recipe minimizes: a continuous flow is matched, since its equation takes too long to solve."""
    return losses.flow_matching if recipe == "cnf" else losses.nll


def build(recipe: str, train: Rows, *, max_seconds: float, seed: int) -> Flow:
    """Return a new flow for these rows; its initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if recipe == "auto":
            return recipes.auto(train.x, train.context, max_seconds=max_seconds)
        features, context_features = train.x.shape[1], 0 if train.context is None else train.context.shape[1]
        options: dict[str, Any] = {"context_features": context_features, "preprocessing": [Asinh(features)]}
        if recipe == "cnf" and features <= FEW_FEATURES:
            options["hidden_features"] = (64, 64, 64)  # matches better than two layers; its divergence costs D passes
        flow = recipes.RECIPES[recipe](features, **options)
        scaling = [Asinh(context_features)] if context_features else []
        return Flow(flow.transform, flow.base, list(flow.preprocessing), context_preprocessing=scaling)  # type: ignore[arg-type]


class _Clock:
    """Seconds between one stop and the next, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
