"""Answers about some columns of a table's rows given others: tables in, log probabilities and frames out."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pushforward.errors import InputError, require_count, require_number, require_seed
from pushforward.numerics.default_device import on_the_cpu
from pushforward.rows import RowJoint, RowQuestions
from pushforward.rows.conditionals import THOROUGH, Conditionals, Effort, Whole
from pushforward.tables.column_law import law_of_categories, law_of_numbers
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.fitted_columns import FittedColumn, columns_from
from pushforward.tables.model_cells import ModelCells, repeated_rows
from pushforward.tables.row_encoder import Rows
from pushforward.tables.schema import Schema
from pushforward.tables.usual import Usual

if TYPE_CHECKING:
    import polars as pl


NO_QUESTIONS = (
    "the model is a flow alone, which answers no questions about some columns given others (fit the table with"
    ' recipe="auto")'
)


class Answers(ModelCells):
    """What a network says of some columns given others, in the values and units of the table.

    Args:
        questions: The network, over the columns in the order of `columns`. It is finished, and on the CPU.
        columns: The columns by name, those of the context first.
        schema: Names of the columns in the table's order, and which are context.
        missing: Words that stand for missing cells besides the usual ones.
        usual: What rows are like that no one trained on; None where that was not measured.

    Attributes:
        whole: The law of whole rows, in the measure of codes and places, which the law that these are of gives; None:
            the network answers alone.
    """

    whole: Whole | None = None

    def __init__(
        self,
        questions: RowQuestions,
        columns: Mapping[str, FittedColumn],
        schema: Schema,
        missing: Sequence[str] = (),
        usual: Usual | None = None,
    ) -> None:
        super().__init__(columns, schema, missing)
        self.questions, self.usual = questions, usual

    @classmethod
    def of_file(cls, questions: RowQuestions, stored: Any, summary: Mapping[str, Any]) -> "Answers":
        """Return the answers of a model file: what it holds, and what it says of the columns.

        Raises:
            InputError: If that is not of such a network.
        """
        schema = Schema.from_dict(stored)
        cells, missing = stored.get("cells"), summary.get("missing", [])
        if not isinstance(cells, dict) or set(cells) != set(schema.columns) or not isinstance(missing, list):
            raise InputError("it does not say what its columns hold (write the file again)")
        fitted = columns_from(cells)
        names = [*schema.context, *schema.modelled]
        answers = cls(questions, {name: fitted[name] for name in names}, schema, [str(word) for word in missing])
        answers.check_fits(questions)
        try:
            answers.usual = Usual.from_dict(stored["usual"], len(schema.modelled)) if stored.get("usual") else None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"what it says of held-out rows is damaged: {error} (write the file again)") from error
        return answers

    def check_fits(self, part: RowJoint | RowQuestions) -> None:
        """Raise InputError unless a network is over these columns."""
        sizes = [(one.num_codes, one.is_number) for one in self.encoder.encoders.values()]
        theirs = [*zip(part.num_codes, map(bool, part.numbers), strict=True)]
        if theirs != sizes or part.num_context != len(self.schema.context):
            raise InputError("its columns do not fit its density (write the file again)")

    def to_store(self) -> dict[str, Any]:
        """Return what a model file keeps of the columns."""
        cells = {name: one.to_dict() for name, one in self.fitted.items()}
        return {**self.schema.to_dict(), "cells": cells, **({"usual": self.usual.to_dict()} if self.usual else {})}

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """That of the network, and of rows for it."""
        return self.questions.network.last.weight.dtype

    @property
    def conditionals(self) -> Conditionals:
        """What answers."""
        return Conditionals(self.questions, self.encoder.places, self.whole)

    def alone(self) -> "Answers":
        """Return what the network answers by itself, unweighed."""
        other = copy(self)
        other.whole = None
        return other

    # ---- what is asked -------------------------------------------------------------------------------------------

    @on_the_cpu()
    @torch.no_grad()
    def log_prob(self, frame: "pl.DataFrame", given: Sequence[str] = ()) -> np.ndarray:
        """Return log p(the others | given and context) of each row, (rows,), in nats and units of the table.

        Args:
            frame: Rows as `read` gives them; missing cells are left out of the event.
            given: Names of columns.
        """
        known = [self.position(name) for name in (*self.schema.context, *given)]
        asked = [name for name in self.schema.modelled if name not in given]
        self.check_context(frame)
        rows = self.encode(frame, known)
        if len(asked) == 1:
            found = self.columns_log_prob(rows, asked)[:, 0]
            return np.where(np.isnan(found), 0.0, found)  # a missing cell is left out of the event
        return self.in_units(self.questions.log_prob(rows.cells, known), rows, known)

    @on_the_cpu()
    @torch.no_grad()
    def columns_log_prob(self, rows: Rows, names: Sequence[str] | None = None, effort: Effort = THOROUGH) -> np.ndarray:
        """Return log p(cell | all other cells) in nats and units of the table, (rows, columns), NaN where none is.

        Args:
            rows: Encoded.
            names: Modelled columns that are asked; by default all of them.
            effort: How it is found.
        """
        asked = [self.position(name) for name in (self.schema.modelled if names is None else names)]
        found = self.conditionals.columns_log_prob(rows.cells, asked, effort).numpy() + rows.log_slope[:, asked]
        there = (rows.cells.unflatten(1, (3, -1))[:, 0, asked].numpy() >= 0) | rows.unknown[:, asked]
        return np.where(there, found, np.nan)

    def in_units(self, log_prob: torch.Tensor, rows: Rows, known: Sequence[int]) -> np.ndarray:
        """Return log probabilities of places, (rows,), as those of the table's cells but for the known columns'."""
        asked = [d for d in range(len(self.fitted)) if d not in known]
        return log_prob.double().numpy() + rows.log_slope[:, asked].sum(1)

    @on_the_cpu()
    def fill(
        self, known: "pl.DataFrame", num: int, *, temperature: float = 1.0, seed: int | None = None
    ) -> "pl.DataFrame":
        """Draw num rows for each one that is known, given its cells: those that are missing, and whole columns.

        Args:
            known: Rows as `read` and `given` give them; their cells stay as they are.
            num: Draws of each, which follow one another.
            temperature: Below 1 gives draws nearer the mode.
            seed: Decides them.
        """
        self.check_context(known)
        known = repeated_rows(known, require_count("num", num))
        cells, temperature = self.encode(known).cells, require_number("temperature", temperature, above=0)
        drawn = self.conditionals.fill(cells, temperature=temperature, generator=generator_of(seed))
        return self.keep(known, self.encoder.decode(*drawn))

    def predict(self, data: Any, column: str) -> "pl.DataFrame":
        """See `TableModel.predict`."""
        self.position(column)
        if column in self.schema.context:
            raise InputError(f'"{column}" is context: the model has no law of it (predict a modelled column)')
        frame = self.read(data, [name for name in self.fitted if name != column])
        self.check_context(frame)
        return self.law_of(column, self.encode(frame))

    @on_the_cpu()
    @torch.no_grad()
    def law_of(self, column: str, rows: Rows) -> "pl.DataFrame":
        """Return what `predict` does, of encoded rows."""
        encoder = self.fitted[column].encoder
        law = self.conditionals.law_of(self.position(column), rows.cells)
        share = law.log_share.exp().numpy()
        if isinstance(encoder, NumberEncoder):
            assert law.numbers is not None
            return law_of_numbers(encoder, share, law.numbers)
        return law_of_categories(column, encoder, share)


def answers_or_refused(answers: Answers | None) -> Answers:
    """Return what answers questions; InputError of a flow alone says how to get it."""
    if answers is None:
        raise InputError(NO_QUESTIONS)
    return answers


def generator_of(seed: int | None) -> torch.Generator | None:
    """Return a generator that a seed decides; None for torch's global one."""
    return None if seed is None else torch.Generator().manual_seed(require_seed(seed))
