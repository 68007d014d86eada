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
from pushforward.rows import RowDensity
from pushforward.tables.answers import Answers, answers_or_refused
from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table, as_text
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.fit_report import report_of
from pushforward.tables.flow_for_table import fresh_points
from pushforward.tables.flow_of_cells import FlowOfCells
from pushforward.tables.from_anything import as_table, read_cells
from pushforward.tables.given_context import context_table
from pushforward.tables.model_cells import repeated_rows
from pushforward.tables.numeric_table import matrix_of
from pushforward.tables.quality import Evaluation, evaluate
from pushforward.tables.row_quality import check_answers, drawn_rows
from pushforward.tables.sampler import Sampler
from pushforward.tables.schema import Column, Schema
from pushforward.tables.splitting import Part

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.table_fit import TableFit


class FlowLaw:
    """A flow over the columns of a table, and answers about some of them given others.

    Whole rows are the flow's, given their context: how probable they are, and samples. Whatever else is asked, and rows
    with missing cells, is answered by the other network.

    Args:
        flow: Data -> latent, of the modelled columns in the table's order. It is finished.
        schema: Names of the columns.
        summary: What is known of the fit.
        answers: What is said of some columns given others; None for a flow alone.
    """

    def __init__(self, flow: Flow, schema: Schema, summary: Mapping[str, Any], answers: Answers | None = None) -> None:
        self.flow, self.schema, self.summary, self.answers = flow, schema, summary, answers
        self.module = flow if answers is None else RowDensity(flow, answers.questions)
        self._sampler = Sampler(flow, schema)
        if answers is not None:
            answers.whole = FlowOfCells(flow, answers.encoder, len(schema.context))
        self._preview: pl.DataFrame | None = None

    @classmethod
    def of_file(cls, flow: Flow, answers: Answers | None, stored: Any, summary: Mapping[str, Any]) -> "FlowLaw":
        """Return the law of what a model file holds; InputError if one is not of the other."""
        schema = Schema.of_flow(flow, stored)
        encoders = {} if answers is None else answers.encoder.encoders
        for name in schema.modelled if encoders else ():
            one = encoders[name]
            if not (isinstance(one, NumberEncoder) and one.is_density):
                raise InputError(f'its column "{name}" has no density, as those of a flow have (write the file again)')
        return cls(flow, schema, summary, answers)

    @property
    def headline(self) -> str:
        """Size, context and number of parameters."""
        return headline(self.flow)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is known of each column."""
        return self.schema.describe(self.summary.get("ranges", {})) if self.answers is None else self.answers.columns

    def schema_to_store(self) -> dict[str, Any]:
        """Return what a model file keeps of the columns."""
        return self.schema.to_dict() if self.answers is None else self.answers.to_store()

    def table_of(self, data: Any) -> Table | Cells:
        """Return a table as it stands, or of a flow alone the columns that it knows, as numbers."""
        return as_table(data, columns=self.schema.columns) if self.answers is None else read_cells(data)

    def log_prob(self, data: Any, given: Sequence[str] = ()) -> np.ndarray:
        """See `TableModel.log_prob`; `given` are modelled columns."""
        if given:
            return (answers := answers_or_refused(self.answers)).log_prob(answers.read(data), given)
        if self.answers is None:
            return self._of_flow(Part.of(*as_table(data, columns=self.schema.columns).split(self.schema.context)))
        return self.log_prob_of(self.answers.read(data))

    def log_prob_of(self, frame: "pl.DataFrame") -> np.ndarray:
        """Return the log probability of rows as `Answers.read` gives them, (rows,)."""
        answers = answers_or_refused(self.answers)
        self._check_context(frame)
        gaps = np.logical_or.reduce([frame[name].is_null().to_numpy() for name in self.schema.columns])
        found = np.empty(len(gaps))
        found[~gaps] = self._of_flow(self._part(frame.filter(~gaps)))
        if gaps.any():
            found[gaps] = answers.log_prob(frame.filter(gaps))
        return found

    def sample(
        self, n: int, given: Any, *, complete: bool, temperature: float, seed: int | None, called: str = "given"
    ) -> "pl.DataFrame":
        """See `TableModel.sample`."""
        import polars as pl

        if self.answers is None:
            context = context_table(given, self.schema, called=called)
            values = self._sampler.draw(
                n, None if context is None else context.values, temperature=temperature, seed=seed
            )
            return pl.from_numpy(values, schema=list(self.schema.columns))
        known = self.answers.given(given, called)
        if known is not None and not self.answers.only_context(known):
            return self.answers.fill(known, n, temperature=temperature, seed=seed)
        if known is not None:
            self._check_context(known)
        values = self._sampler.draw(
            n, None if known is None else matrix_of(known, self.schema.context), temperature=temperature, seed=seed,
            ends=self._ends,
        )  # fmt: skip
        drawn = pl.from_numpy(values, schema=list(self.schema.columns))
        drawn = drawn.with_columns(
            pl.Series(name, one.as_recorded(drawn[name].to_numpy())) for name, one in self._encoders.items()
        )
        return self.answers.keep(drawn.select() if known is None else repeated_rows(known, n), drawn)

    def _check_context(self, frame: "pl.DataFrame") -> None:
        """Raise InputError for context that is missing, or a category that the table never had."""
        answers = answers_or_refused(self.answers)
        answers.check_context(frame)
        answers.encode(frame.select(self.schema.context))

    @property
    def _encoders(self) -> dict[str, NumberEncoder]:
        """Those of the modelled columns, by name; none beside a flow alone."""
        encoders = {} if self.answers is None else self.answers.encoder.encoders
        modelled = self.schema.modelled
        return {name: one for name, one in encoders.items() if isinstance(one, NumberEncoder) and name in modelled}

    @property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest value that a sample may have in each column."""
        ends = {name: (one.low, one.high) for name, one in self._encoders.items()}
        low, high = np.array([ends.get(name, (-np.inf, np.inf)) for name in self.schema.columns]).T
        return low, high

    def preview(self, fitted: "TableFit") -> "pl.DataFrame":
        """Return samples to look at, drawn once: given context, one at that of each held-out row."""
        import polars as pl

        if self._preview is None:
            num, context = self._sampler.enough_to_look_at, fitted.split.test.context
            rows = None if context is None else pl.from_numpy(context[:num].numpy(), schema=list(self.schema.context))
            self._preview = self.sample(
                num if rows is None else 1, rows, complete=True, temperature=1.0, seed=fitted.seed
            )
        return self._preview

    def verify(self, seed: int) -> verification.Verification:
        """See `TableModel.verify`."""
        report = verification.verify(self.flow, *self._sampler.points_to_check(seed))
        if self.answers is not None:
            check_answers(report, self.answers, self.answers.encoder.encode(drawn_rows(self.answers, seed)))
        return report

    def evaluate(self, data: Any, fitted: "TableFit | None", *, truth: Density | None, seed: int) -> Evaluation:
        """Measure the flow on rows; None stands for those that the fit held out."""
        if data is None:
            rows = fitted_or_refused(fitted).split.test
        else:
            table = as_table(data, columns=self.schema.columns)
            if len(table.values) < 2:
                raise InputError(f"{table.source}: 1 row tells no mean from chance (give 2 or more, or score it)")
            if self.answers is not None:
                self._check_context(self.answers.read(data))
            rows = Part.of(*table.split(self.schema.context))
        scale, points = self.summary.get("log_scale"), fresh_points(self.summary.get("recipe", ""))
        return evaluate(self.flow, rows, log_scale=scale, truth=truth, fresh_points=points, seed=seed)

    def report(self, fitted: "TableFit", path: str | os.PathLike[str], command: str) -> None:
        """Write the page about the fit."""
        write_report(report_of(fitted, self, self.preview(fitted), command=command), path)

    def example_of_context(self, fitted: "TableFit") -> str:
        """Return the context of a row, "label=1,x3=0.5"; "" without context."""
        names, context = self.schema.context, fitted.split.train.context
        return (
            "" if context is None else as_text(f"{n}={v:.6g}" for n, v in zip(names, context[0].tolist(), strict=True))
        )

    def written(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        """Return rows as they stand in a text."""
        return frame if self.answers is None else self.answers.written(frame)

    @torch.no_grad()
    def _of_flow(self, rows: Part) -> np.ndarray:
        return self.flow.log_prob(rows.x, rows.context).double().numpy()

    def _part(self, frame: "pl.DataFrame") -> Part:
        """Return whole rows as the flow takes them."""
        x, context = (matrix_of(frame, names) for names in (self.schema.modelled, self.schema.context))
        return Part(torch.from_numpy(x), torch.from_numpy(context) if self.schema.context else None)


def fitted_or_refused(fitted: Any) -> Any:
    """Return what only the model made by `fit` has; InputError for one from a file."""
    if fitted is None:
        raise InputError(
            "the model comes from a file, which holds no rows (give some to evaluate; baselines, preview and report"
            " need the model that fit returned)"
        )
    return fitted
