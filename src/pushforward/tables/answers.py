"""Answers about some columns of a table's rows given others: tables in, log probabilities and frames out."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pushforward.errors import InputError, require_count, require_number, require_seed
from pushforward.numerics.default_device import on_the_cpu
from pushforward.rows import RowJoint, RowQuestions
from pushforward.rows.conditionals import QUICK, THOROUGH, Conditionals, Effort, Whole
from pushforward.tables.category_encoder import CategoryEncoder
from pushforward.tables.column_law import law_of_categories, law_of_numbers
from pushforward.tables.columns import as_text
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.fitted_columns import FittedColumn, columns_from
from pushforward.tables.from_anything import read_cells
from pushforward.tables.row_encoder import RowEncoder, Rows
from pushforward.tables.rows_of_model import values_of
from pushforward.tables.schema import Column, Schema
from pushforward.tables.text_kinds import written
from pushforward.tables.usual import Usual

if TYPE_CHECKING:
    import polars as pl


NO_QUESTIONS = (
    "the model is a flow alone, which answers no questions about some columns given others (fit the table with"
    ' recipe="auto")'
)


class Answers:
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
        self.questions, self.fitted, self.schema, self.missing = questions, dict(columns), schema, tuple(missing)
        self.usual = usual
        self.encoder = RowEncoder({name: column.encoder for name, column in self.fitted.items()})

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

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is known of each column, in the table's order."""
        roles = {name: "context" if name in self.schema.context else "modelled" for name in self.fitted}
        return tuple(self.fitted[name].column(roles[name]) for name in self.schema.columns)

    def to_store(self) -> dict[str, Any]:
        """Return what a model file keeps of the columns."""
        cells = {name: one.to_dict() for name, one in self.fitted.items()}
        return {**self.schema.to_dict(), "cells": cells, **({"usual": self.usual.to_dict()} if self.usual else {})}

    @property
    def conditionals(self) -> Conditionals:
        """What answers."""
        return Conditionals(self.questions, self.encoder.places, self.whole)

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
            return np.nan_to_num(self.columns_log_prob(rows, asked, THOROUGH)[:, 0])
        return self.in_units(self.questions.log_prob(rows.cells, known), rows, known)

    @on_the_cpu()
    @torch.no_grad()
    def columns_log_prob(self, rows: Rows, names: Sequence[str] | None = None, effort: Effort = QUICK) -> np.ndarray:
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

    # ---- tables in and out ---------------------------------------------------------------------------------------

    def position(self, name: str) -> int:
        """Return where a column stands; InputError names those there are."""
        if name not in self.fitted:
            raise InputError(f'there is no column "{name}" in the model (columns: {", ".join(self.fitted)})')
        return list(self.fitted).index(name)

    def read(self, data: Any, wanted: Sequence[str] | None = None) -> "pl.DataFrame":
        """Return columns of a table as values: all of the model's, or those wanted; raise InputError for others."""
        return values_of(read_cells(data), self.fitted, wanted or list(self.fitted), missing=self.missing)

    def given(self, given: Any, called: str) -> "pl.DataFrame | None":
        """Return the cells that a user gives, of one row or several; None for none, which models of context refuse.

        Args:
            given: A mapping from names to values, or rows; those without column names are rows of the context if they
                are as wide.
            called: What messages call it.
        """
        import polars as pl

        context = self.schema.context
        if given is None:
            if context:
                raise InputError(f"the model needs context ({called}: {self.example(called)}, or rows of it)")
            return None
        if isinstance(given, Mapping):
            for name in given:
                self.position(name)
            frame = pl.DataFrame({name: [value] for name, value in given.items()}, strict=False)
            known, cells = list(given), read_cells(frame, source=called)
        else:
            cells = read_cells(given, source=called)
            known = [name for name in cells.frame.columns if name in self.fitted]
            if not cells.named and context and cells.frame.width == len(context):
                known = list(context)
        if missing := [name for name in context if name not in known]:
            raise InputError(f"{called}: {', '.join(missing)} is missing (give {self.example(called)})")
        if not known:
            raise InputError(f"{called}: holds no column of the model (columns: {', '.join(self.fitted)})")
        return values_of(cells, self.fitted, known, missing=self.missing)

    def only_context(self, known: "pl.DataFrame | None") -> bool:
        """Whether no cell of a modelled column is given."""
        return known is None or set(known.columns) <= set(self.schema.context)

    def example(self, called: str = "given") -> str:
        """Return context that a user may give, "kind=van,trips=3"."""
        first = {name: self.fitted[name].encoder.decode(np.array([0]), np.array([0.0])) for name in self.schema.context}
        row = self.written_out({name: cells.alias(name) for name, cells in first.items()})
        example = as_text(f"{name}={cells[0]}" for name, cells in row.items())
        return shlex.quote(example) if called.startswith("--") and {'"', " "} & set(example) else example

    def encode(self, frame: "pl.DataFrame", known: Sequence[int] | None = None) -> Rows:
        """Return rows encoded; InputError where a known cell holds a category that the fitted table never had.

        Args:
            frame: Rows as `read` gives them.
            known: Positions of the columns that are known; None for all.
        """
        rows = self.encoder.encode(frame)
        if (dtype := self.questions.network.last.weight.dtype) != rows.cells.dtype:
            rows = Rows(rows.cells.to(dtype), rows.log_slope, rows.unknown)
        for d, (name, one) in enumerate(self.encoder.encoders.items()):
            if isinstance(one, CategoryEncoder) and (known is None or d in known) and rows.unknown[:, d].any():
                value, some = frame[name][int(rows.unknown[:, d].argmax())], ", ".join(one.values[:10])
                more = f" and {len(one.values) - 10} more" if len(one.values) > 10 else ""
                raise InputError(
                    f'"{value}" is no value of "{name}" in the table that was fitted (it has: {some}{more})'
                )
        return rows

    def keep(self, known: "pl.DataFrame", drawn: "pl.DataFrame") -> "pl.DataFrame":
        """Return drawn rows with all cells that are known in their places, in the table's order and types."""
        context = self.schema.context
        return self.typed(
            drawn.with_columns(
                known[name] if name in context else known[name].fill_null(drawn[name].cast(known[name].dtype))
                for name in known.columns
            )
        )

    def typed(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        """Return columns in the table's order and in its types."""
        import polars as pl

        return pl.DataFrame([self.fitted[name].typed(frame[name]).alias(name) for name in self.schema.columns])

    def written(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        """Return rows as they stand in a text: formats of dates, words of truth, signs around numbers."""
        return frame.with_columns(self.written_out({name: frame[name] for name in frame.columns}).values())

    def written_out(self, cells: Mapping[str, "pl.Series"]) -> dict[str, "pl.Series"]:
        """Return columns by name as they stand in a text."""
        kinds = {name: self.fitted[name].kind for name in cells}
        return {name: written(cells[name], kind.name, kind.form).alias(name) for name, kind in kinds.items()}

    def check_context(self, frame: "pl.DataFrame") -> None:
        """Raise InputError where context is missing that never was in the fitted table: the network knows no answer."""
        for name in self.schema.context:
            if name in frame.columns and not self.fitted[name].missing and frame[name].null_count():
                row = int(frame[name].is_null().arg_max() or 0)
                raise InputError(f'row {row + 1}: "{name}" is missing, and the model is one given it (give its cells)')


def answers_or_refused(answers: Answers | None) -> Answers:
    """Return what answers questions; InputError of a flow alone says how to get it."""
    if answers is None:
        raise InputError(NO_QUESTIONS)
    return answers


def repeated_rows(frame: "pl.DataFrame", num: int) -> "pl.DataFrame":
    """Return each row num times, one after the other."""
    return frame[np.repeat(np.arange(frame.height), num)]


def generator_of(seed: int | None) -> torch.Generator | None:
    """Return a generator that a seed decides; None for torch's global one."""
    return None if seed is None else torch.Generator().manual_seed(require_seed(seed))
