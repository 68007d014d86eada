"""The law of a table's rows where all columns are real: a flow, and what it takes and returns under column names."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pushforward import verification
from pushforward.data import Density
from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.flows.in_words import headline
from pushforward.report.table_report import write_report
from pushforward.tables.columns import Table, as_text
from pushforward.tables.fit_report import report_of
from pushforward.tables.flow_for_table import fresh_points
from pushforward.tables.from_anything import as_table
from pushforward.tables.given_context import context_table
from pushforward.tables.quality import Evaluation, evaluate
from pushforward.tables.sampler import Sampler
from pushforward.tables.schema import Column, Schema
from pushforward.tables.splitting import Part

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.table_fit import TableFit


NO_QUESTIONS = (
    "the model is a flow over real columns, which answers no questions about some of them (give those that are to be"
    " known as context= when it is fitted)"
)


class FlowLaw:
    """A flow over the columns of a table.

    Args:
        flow: Data -> latent, of the modelled columns in the table's order. It is finished.
        schema: Names of the columns.
        summary: What is known of the fit.
    """

    def __init__(self, flow: Flow, schema: Schema, summary: Mapping[str, Any]) -> None:
        self.flow, self.schema, self.summary = flow, schema, summary
        self._sampler = Sampler(flow, schema)
        self._preview: np.ndarray | None = None

    @property
    def module(self) -> Flow:
        """What a model file holds."""
        return self.flow

    @property
    def headline(self) -> str:
        """Size, context and number of parameters."""
        return headline(self.flow)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is known of each column."""
        return self.schema.describe(self.summary.get("ranges", {}))

    def table_of(self, data: Any) -> Table:
        """Return a table's columns that the model knows, as numbers."""
        return as_table(data, columns=self.schema.columns)

    def log_prob(self, data: Any, given: Sequence[str] | None) -> np.ndarray:
        """See `TableModel.log_prob`."""
        if set(given or ()) - set(self.schema.context):
            raise InputError(NO_QUESTIONS)
        rows = Part.of(*self.table_of(data).split(self.schema.context))
        with torch.no_grad():
            return self.flow.log_prob(rows.x, rows.context).double().numpy()

    def sample(
        self, n: int, given: Any, *, complete: bool, temperature: float, seed: int | None, called: str = "given"
    ) -> "pl.DataFrame":
        """See `TableModel.sample`."""
        context = context_table(given, self.schema, called=called)
        rows = None if context is None else context.values
        return self._frame(self._sampler.draw(n, rows, temperature=temperature, seed=seed))

    def preview(self, fitted: "TableFit") -> "pl.DataFrame":
        """Return samples to look at, drawn once: given context, one at that of each held-out row."""
        if self._preview is None:
            self._preview = self._sampler.preview(fitted.split.test.context, seed=fitted.seed)
        return self._frame(self._preview)

    def verify(self, seed: int) -> verification.Verification:
        """See `TableModel.verify`."""
        return verification.verify(self.flow, *self._sampler.points_to_check(seed))

    def evaluate(self, data: Any, fitted: "TableFit | None", *, truth: Density | None, seed: int) -> Evaluation:
        """Measure the flow on rows; None stands for those that the fit held out."""
        if data is None:
            rows = fitted_or_refused(fitted).split.test
        else:
            table = self.table_of(data)
            if len(table.values) < 2:
                raise InputError(f"{table.source}: 1 row tells no mean from chance (give 2 or more, or score it)")
            rows = Part.of(*table.split(self.schema.context))
        scale, points = self.summary.get("log_scale"), fresh_points(self.summary.get("recipe", ""))
        return evaluate(self.flow, rows, log_scale=scale, truth=truth, fresh_points=points, seed=seed)

    def report(self, fitted: "TableFit", path: str | os.PathLike[str], command: str) -> None:
        """Write the page about the fit."""
        self.preview(fitted)
        write_report(report_of(fitted, self._preview, command=command), path)  # type: ignore[arg-type]

    def impute(self, data: Any, *, num: int, seed: int | None) -> "pl.DataFrame":
        """Refuse: a flow over real columns answers no questions about some of them."""
        raise InputError(NO_QUESTIONS)

    def predict(self, data: Any, column: str) -> "pl.DataFrame":
        """Refuse: a flow over real columns answers no questions about some of them."""
        raise InputError(NO_QUESTIONS)

    def example_of_context(self, fitted: "TableFit") -> str:
        """Return the context of a row, "label=1,x3=0.5"; "" without context."""
        names, context = self.schema.context, fitted.split.train.context
        return (
            "" if context is None else as_text(f"{n}={v:.6g}" for n, v in zip(names, context[0].tolist(), strict=True))
        )

    def written(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        """Return rows as they stand in a text."""
        return frame

    def schema_to_store(self) -> dict[str, Any]:
        """Return what a model file keeps of the columns."""
        return self.schema.to_dict()

    def _frame(self, values: np.ndarray) -> "pl.DataFrame":
        import polars as pl

        return pl.from_numpy(values, schema=list(self.schema.columns))


def fitted_or_refused(fitted: Any) -> Any:
    """Return what only the model made by `fit` has; InputError for one from a file."""
    if fitted is None:
        raise InputError(
            "the model comes from a file, which holds no rows (give some to evaluate; baselines, preview and report"
            " need the model that fit returned)"
        )
    return fitted
