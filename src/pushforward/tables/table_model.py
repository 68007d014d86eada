"""A table and the flow fitted to it as one object: fit, score, sample, evaluate, report, save, load."""

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward import model_file, verification
from pushforward.data import Density
from pushforward.display import in_notebook
from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.metrics import Score
from pushforward.report.table_report import write_report
from pushforward.tables.data_frames import KINDS, of_kind
from pushforward.tables.fit_report import report_of
from pushforward.tables.flow_for_table import fresh_points
from pushforward.tables.for_fitting import table_for_fitting
from pushforward.tables.from_anything import as_table
from pushforward.tables.given_context import context_table
from pushforward.tables.in_words import InWords
from pushforward.tables.model_folder import MODEL, model_in
from pushforward.tables.quality import Evaluation, evaluate
from pushforward.tables.sampler import Sampler
from pushforward.tables.schema import Column, Schema
from pushforward.tables.splitting import Part
from pushforward.tables.table_fit import TableFit, fit_flow


class TableModel(InWords):
    """The density of a table's columns, or of some columns given the others, as a flow fitted to the rows.

    Densities are in nats, over all modelled columns together and per unit of each as it stands in the table: metres
    instead of kilometres lower every log_prob by ln 1000. All columns are taken as real: where one holds integers,
    codes or often repeated values, its density reflects rounding, and `summary["warnings"]` says so.

    Made by `TableModel.fit` and `TableModel.load`.

    Attributes:
        flow: The flow, data -> latent, of the modelled columns in the table's order, its context those of
            `schema.context`. It is finished: `sample` draws from a copy in float64, made once.
        schema: Names of the columns.
        kind: What `sample` returns, as the fitted data were: "polars", "pandas", "pyarrow", "array", ... May be
            set, and is kept in the model file.
        seed: Seed of the fit; None where a model file does not say.
        summary: What is known of the fit and kept in the model file: source, recipe, rows, warnings, seconds, ...
            JSON values may be added.
        fitted: Rows, history and all else that only the model made by `fit` has; None for one from a file.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> data = np.random.default_rng(0).normal(size=(200, 2)) * [1.0, 1000.0]
        >>> model = pf.TableModel.fit(data, recipe="nice", max_seconds=0.2, progress=False)
        >>> model.columns[1].name, model.log_prob(data).shape, model.sample(5, seed=0).shape
        ('x2', (200,), (5, 2))
        >>> model.evaluate().nll.num_rows
        20
    """

    def __init__(
        self,
        flow: Flow,
        schema: Schema,
        *,
        seed: int | None = None,
        plan: Mapping[str, Any] | None = None,
        summary: Mapping[str, Any] | None = None,
        fitted: TableFit | None = None,
    ) -> None:
        self.flow, self.schema, self.seed, self.plan, self.fitted = flow, schema, seed, plan, fitted
        self.summary: dict[str, Any] = dict(summary or {})
        self._sampler = Sampler(flow, schema)

    @classmethod
    def fit(
        cls,
        data: Any,
        *,
        context: str | Sequence[str] = (),
        columns: str | Sequence[str] | None = None,
        drop: str | Sequence[str] = (),
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
        """Fit a flow to the columns of a table; nothing is measured before it is asked for.

        Args:
            data: A file (csv or other text, parquet, arrow, npy, npz), a data frame of any library, an array, a tensor.
            context: Names of the columns to condition on (or one string, separated by commas): the density is then that
                of the other columns given these.
            columns: The columns to use besides the context, by name likewise; all by default, but for a first one, such
                as "index" or "id", that counts the rows. Others may hold anything.
            drop: Columns to leave out, by name likewise.
            recipe: "auto", which chooses recipe and sizes from rows and columns, or a name in `pf.recipes.RECIPES`.
            max_seconds: Most seconds of training; by default 60, or as many as `num_steps` take. How many steps fit in
                depends on the machine and what else it does, so two such runs differ.
            num_steps: Number of training steps: the run is then the same each time, on one machine.
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
        table = table_for_fitting(data, context=context, columns=columns, drop=drop)
        fitted = fit_flow(
            table, context=context, recipe=recipe, max_seconds=max_seconds, num_steps=num_steps, seed=seed, test=test,
            truth=truth, out=out, resume=resume, device=device, progress=progress,
            notify=notify or (print if in_notebook() else partial(warnings.warn, stacklevel=3)),
        )  # fmt: skip
        model = cls(
            fitted.flow, fitted.schema, seed=seed, plan=fitted.plan, summary=fitted.summary(table), fitted=fitted
        )
        if out is not None:
            model.save(Path(out) / MODEL)
        return model

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is known of each column, in the table's order."""
        return self.schema.describe(self.summary.get("ranges", {}))

    @property
    def kind(self) -> str:  # noqa: D102
        return self.summary.get("kind", "polars")

    @kind.setter
    def kind(self, kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
        self.summary["kind"] = kind

    def log_prob(self, data: Any) -> np.ndarray:
        """Return log p(modelled columns | context columns) of each row in nats, in the units of the table.

        Args:
            data: Whatever `fit` takes, with the model's columns, those of the context included, in any order; others
                are ignored. What has no column names holds the model's columns, or the fitted table's, in their order.

        Returns:
            (rows,), float64. -inf outside the flow's support.

        Raises:
            InputError: If a column is missing, or a cell is no finite number.
        """
        rows = Part.of(*as_table(data, columns=self.schema.columns).split(self.schema.context))
        with torch.no_grad():
            return self.flow.log_prob(rows.x, rows.context).double().numpy()

    def sample(self, n: int, *, given: Any = None, temperature: float = 1.0, seed: int | None = None) -> Any:
        """Draw rows, with the digits of float64.

        Args:
            n: Number of rows, for each row of context where there are several.
            given: The context, for a model that has one: a mapping from each context column to its value, or rows of
                the context columns in whatever `fit` takes. A modelled column cannot be given.
            temperature: Scales the base's standard deviation; below 1 gives rows nearer the mode.
            seed: Decides the rows; by default torch's global generator does.

        Returns:
            A frame of the model's `kind` with all its columns, in the table's order; the draws of each row of context
            follow one another.

        Raises:
            InputError: If a context column is missing, a modelled one is given, or a value is no finite number.
            ValueError: If `n` or `temperature` is out of range.
        """
        context = context_table(given, self.schema)
        rows = None if context is None else context.values
        return of_kind(self.kind, self.schema.columns, self._sampler.draw(n, rows, temperature=temperature, seed=seed))

    def preview(self) -> Any:
        """Return up to 10,000 samples to look at, drawn once: given context, one at that of each held-out row."""
        return of_kind(self.kind, self.schema.columns, self._preview)

    def verify(self, *, seed: int = 0) -> verification.Verification:
        """Check on points of its own that the flow is invertible and its log_det true, as `pf.verify` does.

        Args:
            seed: Decides the points, at most 64 draws from the flow, and their context.
        """
        return verification.verify(self.flow, *self._sampler.points_to_check(seed))

    def evaluate(self, data: Any = None, *, truth: Density | None = None, seed: int = 0) -> Evaluation:
        """Measure the model on rows that no one trained on: likelihood, latent normality, invertibility.

        Args:
            data: Rows as in `log_prob`, at least 2; by default those that `fit` held out (the training rows where none
                were), with the truth and seed that it was given: measured once, and then part of `summary`.
            truth: The true density, where it is known.
            seed: Seed of the tests and fresh points.

        Raises:
            InputError: If there are no such rows, or they do not fit.
        """
        if data is None and truth is None:
            evaluation = self._fit.evaluation
            for key, value in (("nll", evaluation.nll.mean), ("nll_standard_error", evaluation.nll.standard_error)):
                self.summary[key] = value if math.isfinite(value) else None  # what JSON can hold
            return evaluation
        if data is None:
            rows = self._fit.split.test
        else:
            table = as_table(data, columns=self.schema.columns)
            if len(table.values) < 2:
                raise InputError(f"{table.source}: 1 row tells no mean from chance (give 2 or more, or score it)")
            rows = Part.of(*table.split(self.schema.context))
        scale, points = self.summary.get("log_scale"), fresh_points(self.summary.get("recipe", ""))
        return evaluate(self.flow, rows, log_scale=scale, truth=truth, fresh_points=points, seed=seed)

    def baselines(self) -> dict[str, Score]:
        """Return the NLL of simple densities, fitted to the same rows, on the held-out rows, by name; measured once.

        Raises:
            InputError: If the model comes from a file, which holds no rows.
        """
        return self._fit.baselines

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write one HTML page that needs no other file: what was fitted, how well, what to doubt. Replaces one.

        Raises:
            InputError: If the model comes from a file, which holds no rows, or the folder cannot be written to.
            RunError: If writing fails.
        """
        write_report(report_of(self._fit, self._preview, command=self.summary.get("command", "")), path)

    # ---- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one file, whole or not at all, or replace one: flow, names of the columns, summary; no rows.

        Raises:
            InputError: If the folder cannot be written to.
            RunError: If writing fails.
        """
        model_file.save(
            self.flow, path, schema=self.schema.to_dict(), seed=self.seed, plan=self.plan, summary=self.summary
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], types: Mapping[str, Callable[..., Any]] | None = None) -> "TableModel":
        """Return the model in a file, or in the folder of a fit, on the CPU; `types` as in `pf.load`.

        The columns of a flow saved by `pf.save` without a schema are called x1, x2, ..., its context c1, c2, ...

        Raises:
            InputError: If there is no such file, or it is damaged or of another kind.
        """
        file = model_in(path)
        flow, stored = model_file.load_with_metadata(file, types)
        try:
            schema = Schema.of_flow(flow, stored["schema"])
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
        return cls(flow, schema, seed=stored["seed"], plan=stored["plan"], summary=stored["summary"])

    # ---- inside --------------------------------------------------------------------------------------------------

    @cached_property
    def _preview(self) -> np.ndarray:
        return self._sampler.preview(self._fit.split.test.context, seed=self._fit.seed)

    @property
    def _fit(self) -> TableFit:
        if self.fitted is None:
            raise InputError(
                "the model comes from a file, which holds no rows (give some to evaluate; baselines, preview and report"
                " need the model that fit returned)"
            )
        return self.fitted
