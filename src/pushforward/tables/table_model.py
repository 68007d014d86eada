"""A table and the law fitted to its rows as one object: fit, score, sample, ask, evaluate, report, save, load."""

import math
import os
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pushforward import model_file, verification
from pushforward.data import Density
from pushforward.display import in_notebook
from pushforward.flows import Flow
from pushforward.metrics import Score
from pushforward.rows import RowDensity
from pushforward.tables.asked import Asked
from pushforward.tables.data_frames import KINDS, of_kind
from pushforward.tables.flow_for_table import check_recipe
from pushforward.tables.flow_law import fitted_or_refused
from pushforward.tables.for_fitting import for_fitting
from pushforward.tables.in_words import InWords
from pushforward.tables.laws import Fitted, Law, fitted_law, law_in
from pushforward.tables.model_folder import MODEL
from pushforward.tables.quality import Evaluation
from pushforward.tables.row_quality import RowEvaluation
from pushforward.tables.schema import Column
from pushforward.training.ranks import Ranks


class TableModel(InWords, Asked):
    """The law of a table's rows: densities and probabilities of whole rows, of some columns given others, samples.

    A table whose columns are all real gets a flow. Any other gets a density of rows of mixed cells: categories, truth
    values, counts, dates, numbers with frequent single values, missing cells. Beside it a network is trained that
    answers what is asked of some columns given others, and of rows of real columns with missing cells.

    log_prob is in nats and states its measure: a density per unit of each real column as it stands in the table (metres
    instead of kilometres lower it by ln 1000), a probability of a category, a truth value, a count, a date, of a single
    value with a share of its own, and of a number that is recorded in steps so coarse that most values repeat. Missing
    cells are left out of the event. `columns` says what each column was read as, and why.

    Made by `TableModel.fit` and `TableModel.load`.

    Attributes:
        schema: Names of the columns.
        kind: What `sample` returns, as the fitted data were: "polars", "pandas", "pyarrow", "array", ... May be
            set, and is kept in the model file.
        seed: Seed of the fit; None where a model file does not say.
        summary: What is known of the fit and kept in the model file: source, recipe, rows, warnings, seconds, ...
            JSON values may be added.
        fitted: Rows, history and all else that only the model made by `fit` has; None for one from a file.

    Example:
        >>> import polars as pl, pushforward as pf
        >>> rows, law = pf.data.mixed_table(300, missing=0.1)
        >>> model = pf.TableModel.fit(rows, num_steps=20, progress=False)
        >>> [column.kind for column in model.columns]
        ['category', 'integer', 'real', 'real', 'real']
        >>> model.log_prob(rows).shape, model.sample(5, given={"kind": "van"}, seed=0)["kind"].to_list()[:2]
        ((300,), ['van', 'van'])
        >>> model.impute(rows, seed=0).null_count().sum_horizontal().item()
        0
    """

    def __init__(
        self,
        law: Law,
        *,
        seed: int | None = None,
        plan: Mapping[str, Any] | None = None,
        summary: dict[str, Any] | None = None,
        fitted: Fitted | None = None,
    ) -> None:
        self.law, self.schema, self.seed, self.plan, self.fitted = law, law.schema, seed, plan, fitted
        self.summary: dict[str, Any] = {} if summary is None else summary

    @classmethod
    def fit(
        cls,
        data: Any,
        *,
        context: str | Sequence[str] = (),
        columns: str | Sequence[str] | Mapping[str, str] | None = None,
        drop: str | Sequence[str] = (),
        missing: str | Collection[str] = (),
        strict: bool = False,
        stream: bool | None = None,
        recipe: str = "auto",
        max_seconds: float | None = None,
        num_steps: int | None = None,
        seed: int = 0,
        test: float = 0.1,
        truth: Density | None = None,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        device: str | torch.device = "auto",
        progress: bool = True,
        notify: Callable[[str], None] | None = None,
    ) -> "TableModel":
        """Fit the law of a table's rows; nothing is measured before it is asked for.

        What cannot be modelled (row numbers, identifiers, free text, constants, copies of a column) is left out, and
        said.

        Args:
            data: A file or several (csv or other text, jsonl, xlsx, parquet, arrow, npy, npz), a data frame of any
                library, an array, a tensor.
            context: Names of the columns to condition on (or one string, separated by commas): the density is then that
                of the other columns given these.
            columns: The columns to use besides the context, by name likewise; all by default. Or kinds of some columns,
                {"zip": "category"}: "real", "integer", "category", "boolean", "date", "time", "moment", "duration", or
                "periodic:24" for numbers that come round again after 24.
            drop: Columns to leave out, by name likewise.
            missing: Words or numbers, such as "-999", that stand for missing cells besides the usual ones (NA, ?, ...).
            strict: Refuse a table of which a column would be left out; or a row, where it is read piece by piece.
            stream: Whether to read files piece by piece, in as much memory as some pieces need; by default those of
                more than 20 million cells. Kinds of columns, scales and held-out rows are then those of a sample of at
                most 200,000 rows from eight places; all other rows train, in an order that the seed decides. Rows that
                break a rule that the sample kept are left out of the training, counted and named in `summary`.
            recipe: "auto"; or "flow", a flow alone, which takes all columns as real and no missing cells and answers no
                questions, as does a name in `pf.recipes.RECIPES`.
            max_seconds: Most seconds of training; by default 60, or as many as `num_steps` take. How many steps fit in
                depends on the machine and what else it does, so two such runs differ.
            num_steps: Most training steps of each network: the run is then the same each time, on one machine. (Those
                over rows of mixed cells end before where held-out rows have long seen nothing better.)
            seed: Seed of split, initial weights and training.
            test: Share of the rows to hold out (at most 20,000 rows); 0 trains on all but the tenth that picks the best
                weights.
            truth: The true density, where it is known (its label the context, if there is one): training does not see
                it, `evaluate` and `report` compare with it.
            out: Folder for checkpoint and history, as in `pf.fit`, and for the model. What another fit left there is
                replaced; its model is gone when the training begins.
            resume: Go on from the checkpoint in `out`.
            device: Where to train, such as "auto" (CUDA if there is one) or "cpu". The model comes back on the CPU.
            progress: Show how the training goes.
            notify: Called before the training with each warning about the table; by default
                `warnings.warn`, in a notebook `print`.

        Raises:
            InputError: If the table cannot be fitted (all that is wrong with it in one message), an option is out of
                range, or `out` cannot be written to.
            RunError: If the training fails.
        """
        check_recipe(recipe)
        table = for_fitting(
            data, context=context, columns=columns, drop=drop, missing=missing, recipe=recipe, strict=strict,
            stream=stream,
        )  # fmt: skip
        law, fitted, summary = fitted_law(
            table, recipe=recipe, truth=truth, max_seconds=max_seconds, num_steps=num_steps, seed=seed, test=test,
            out=out, resume=resume, device=device, progress=progress,
            notify=notify or (print if in_notebook() else partial(warnings.warn, stacklevel=6)),
        )  # fmt: skip
        model = cls(law, seed=fitted.seed, plan=fitted.plan, summary=summary, fitted=fitted)
        if out is not None and Ranks.here().is_first:
            model.save(Path(out) / MODEL)
        return model

    @property
    def flow(self) -> Flow | RowDensity:
        """The module that was trained: a flow where all columns are real, data -> latent, in the table's order."""
        return self.law.flow

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is known of each column, in the table's order."""
        return self.law.columns

    @property
    def kind(self) -> str:  # noqa: D102
        return self.summary.get("kind", "polars")

    @kind.setter
    def kind(self, kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
        self.summary["kind"] = kind

    def preview(self) -> Any:
        """Return up to 10,000 samples to look at, drawn once: given context, one at that of each held-out row."""
        return of_kind(self.kind, self.law.preview(fitted_or_refused(self.fitted)))

    def verify(self, *, seed: int = 0) -> verification.Verification:
        """Check the law on draws of its own: a flow's invertibility and log_det, as `pf.verify` does; that the
        probabilities of mixed cells sum to one, and that cells are what their codes stand for.

        Args:
            seed: Decides the draws, at most 64, and their context.
        """
        return self.law.verify(seed)

    def evaluate(self, data: Any = None, *, truth: Density | None = None, seed: int = 0) -> Evaluation | RowEvaluation:
        """Measure the model on rows that no one trained on: likelihood; latent normality and invertibility of a flow.

        Args:
            data: Rows as in `log_prob`, at least 2 (those of a flow without missing cells); by default those that `fit`
                held out (the training rows where none were), with the truth and seed that it was given: measured once,
                and then part of `summary`.
            truth: The true density, where it is known, of a flow.
            seed: Seed of the tests and fresh points.

        Raises:
            InputError: If there are no such rows, or they do not fit.
        """
        if data is None and truth is None:
            evaluation = fitted_or_refused(self.fitted).evaluation
            for key, value in (("nll", evaluation.nll.mean), ("nll_standard_error", evaluation.nll.standard_error)):
                self.summary[key] = value if math.isfinite(value) else None  # what JSON can hold
            return evaluation
        return self.law.evaluate(data, self.fitted, truth=truth, seed=seed)  # type: ignore[arg-type]

    def baselines(self) -> dict[str, Score]:
        """Return the NLL of simple densities, fitted to the same rows, on the held-out rows, by name; measured once.

        Raises:
            InputError: If the model comes from a file, which holds no rows.
        """
        return fitted_or_refused(self.fitted).baselines

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write one HTML page that needs no other file: what was fitted, how well, what to doubt. Replaces one.

        Raises:
            InputError: If the model comes from a file, which holds no rows, or the folder cannot be written to.
            RunError: If writing fails.
        """
        self.learn_usual()
        self.law.report(fitted_or_refused(self.fitted), path, self.summary.get("command", ""))

    # ---- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one file, whole or not at all, or replace one: networks, columns, summary; no rows.

        `pf.load` takes the flow out of it where all columns are real.

        Raises:
            InputError: If the folder cannot be written to.
            RunError: If writing fails.
        """
        self.learn_usual()
        model_file.save(
            self.law.module,
            path,
            schema=self.law.schema_to_store(),
            seed=self.seed,
            plan=self.plan,
            summary=self.summary,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], types: Mapping[str, Callable[..., Any]] | None = None) -> "TableModel":
        """Return the model in a file, or in the folder of a fit, on the CPU; `types` as in `pf.load`.

        The columns of a flow saved by `pf.save` without a schema are called x1, x2, ..., its context c1, c2, ...

        Raises:
            InputError: If there is no such file, or it is damaged or of another kind.
        """
        law, stored = law_in(path, types)
        return cls(law, seed=stored["seed"], plan=stored["plan"], summary=stored["summary"])
