"""The law of a table's rows, cells of every kind: tables in, log probabilities and frames out."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pushforward.errors import InputError, require_count, require_number
from pushforward.flows.in_words import num_parameters
from pushforward.numerics.default_device import on_the_cpu
from pushforward.rows import RowDensity, RowJoint
from pushforward.tables.answers import Answers, generator_of
from pushforward.tables.cells import Cells
from pushforward.tables.columns import as_text
from pushforward.tables.flow_law import fitted_or_refused
from pushforward.tables.from_anything import read_cells
from pushforward.tables.model_cells import repeated_rows
from pushforward.tables.row_encoder import Rows
from pushforward.tables.row_fit_report import write_row_report
from pushforward.tables.row_quality import RowEvaluation, evaluate_rows, verify_rows
from pushforward.tables.schema import Column
from pushforward.verification import Verification

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.row_fit import RowFit

PREVIEW_ROWS = 10_000


class RowLaw:
    """A density of rows of mixed cells, in the units of the table.

    Args:
        joint: Over the columns in the order of the answers. It is finished, and on the CPU.
        answers: What is said of some columns given others.
    """

    def __init__(self, joint: RowJoint, answers: Answers) -> None:
        self.joint, self.answers, self.schema = joint, answers, answers.schema
        self.module = RowDensity(joint, answers.questions)
        answers.whole = joint
        self._preview: pl.DataFrame | None = None

    @classmethod
    def of_file(cls, joint: RowJoint, answers: Answers) -> "RowLaw":
        """Return the law of what a model file holds; InputError if one is not of the other."""
        answers.check_fits(joint)
        return cls(joint, answers)

    @property
    def flow(self) -> RowDensity:
        """What was trained."""
        return self.module

    @property
    def headline(self) -> str:
        """Size, context and number of parameters."""
        given = f" given {len(self.schema.context)} of context" if self.schema.context else ""
        modelled = len(self.schema.modelled)
        size = num_parameters(self.module)
        return f"Density of {modelled} column{'s' * (modelled != 1)}{given}, {size:,} parameters"

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is known of each column, in the table's order."""
        return self.answers.columns

    def schema_to_store(self) -> dict[str, Any]:
        """Return what a model file keeps of the columns."""
        return self.answers.to_store()

    def table_of(self, data: Any) -> Cells:
        """Return a table as it stands."""
        return read_cells(data)

    def log_prob(self, data: Any, given: Sequence[str] = ()) -> np.ndarray:
        """See `TableModel.log_prob`; `given` are modelled columns."""
        frame = self.answers.read(data)
        return self.answers.log_prob(frame, given) if given else self.log_prob_of(frame)

    def log_prob_of(self, frame: "pl.DataFrame") -> np.ndarray:
        """Return the log probability of rows as `Answers.read` gives them, (rows,)."""
        return self.joint_log_prob(self._scored(frame))

    def _scored(self, frame: "pl.DataFrame") -> Rows:
        """Return rows encoded, of which the context is known."""
        return self.answers.encode(frame, range(len(self.schema.context)))

    @on_the_cpu()
    @torch.no_grad()
    def joint_log_prob(self, rows: Rows) -> np.ndarray:
        """Return the log probability of encoded rows given their context, (rows,)."""
        return self.answers.in_units(self.joint.log_prob(rows.cells), rows, range(len(self.schema.context)))

    @on_the_cpu()
    @torch.no_grad()
    def cells_log_prob(self, rows: Rows) -> np.ndarray:
        """Return log p(cell | cells before it) in nats, in units of the table, (rows, columns): 0 where missing."""
        found = self.joint.cells_log_prob(rows.cells).double().numpy() + rows.log_slope
        found[:, : len(self.schema.context)] = 0.0
        return found

    @on_the_cpu()
    def sample(
        self, n: int, given: Any, *, complete: bool, temperature: float, seed: int | None, called: str = "given"
    ) -> "pl.DataFrame":
        """See `TableModel.sample`."""
        n, temperature = require_count("n", n), require_number("temperature", temperature, above=0)
        answers, known = self.answers, self.answers.given(given, called)
        if known is not None and not answers.only_context(known):
            return answers.fill(known, n, temperature=temperature, seed=seed)
        known = _empty(n) if known is None else repeated_rows(known, n)
        code, z = self.joint.draw(
            answers.encode(known).cells, answers.encoder.places,
            complete=complete, temperature=temperature, generator=generator_of(seed),
        )  # fmt: skip
        return answers.keep(known.select(self.schema.context), answers.encoder.decode(code, z))

    def preview(self, fitted: "RowFit") -> "pl.DataFrame":
        """Return samples to look at, drawn once: given context, one at that of each held-out row."""
        if self._preview is None:
            context = fitted.test_frame.head(PREVIEW_ROWS).select(self.schema.context) if self.schema.context else None
            n = 1 if self.schema.context else PREVIEW_ROWS
            self._preview = self.sample(n, context, complete=False, temperature=1.0, seed=fitted.seed)
        return self._preview

    def example_of_context(self, fitted: "RowFit") -> str:
        """Return the context of a row, "kind=van,trips=3"; "" without context."""
        row = self.written(fitted.test_frame.select(self.schema.context).head(1)) if self.schema.context else None
        return "" if row is None else as_text(f"{name}={row[name][0]}" for name in self.schema.context)

    def written(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        """Return rows as they stand in a text: formats of dates, words of truth, signs around numbers."""
        return self.answers.written(frame)

    def evaluate(self, data: Any, fitted: "RowFit | None", *, truth: Any, seed: int) -> RowEvaluation:
        """See `TableModel.evaluate`."""
        if truth is not None:
            raise InputError("a truth is a density of real columns; this model is one of mixed columns")
        rows = fitted_or_refused(fitted).split.test if data is None else self._scored(self.answers.read(data))
        return evaluate_rows(self.cells_log_prob(rows), self.schema)

    def verify(self, seed: int) -> Verification:
        """See `TableModel.verify`."""
        return verify_rows(self.joint, self.answers, seed=seed)

    def report(self, fitted: "RowFit", path: str | os.PathLike[str], command: str) -> None:
        """Write the page about the fit."""
        write_row_report(fitted, self.preview(fitted), path, command=command)


def _empty(n: int) -> "pl.DataFrame":
    import polars as pl

    return pl.DataFrame({"": np.zeros(n)})
