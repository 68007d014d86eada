"""The law of a table's rows, cells of every kind: tables in, log probabilities and frames out."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pushforward.errors import InputError, require_count, require_number, require_seed
from pushforward.flows.in_words import num_parameters
from pushforward.rows import RowDensity
from pushforward.rows.cells import split
from pushforward.tables.cells import Cells
from pushforward.tables.column_law import law_of_numbers
from pushforward.tables.columns import as_text
from pushforward.tables.encoders import CategoryEncoder, NumberEncoder
from pushforward.tables.fitted_columns import FittedColumn, columns_from
from pushforward.tables.flow_law import fitted_or_refused
from pushforward.tables.from_anything import read_cells
from pushforward.tables.row_encoder import RowEncoder, Rows
from pushforward.tables.row_fit_report import write_row_report
from pushforward.tables.row_quality import RowEvaluation, evaluate_rows, verify_rows
from pushforward.tables.rows_of_model import values_of
from pushforward.tables.schema import Column, Schema
from pushforward.tables.text_kinds import written
from pushforward.verification import Verification

if TYPE_CHECKING:
    import polars as pl

PREVIEW_ROWS = 10_000


class RowLaw:
    """A density of rows of mixed cells, in the units of the table.

    Args:
        density: Over the columns in the order of `columns`. It is finished, and on the CPU.
        columns: The columns by name, those of the context first.
        schema: Names of the columns in the table's order, and which are context.
        missing: Words that stand for missing cells besides the usual ones.
    """

    def __init__(
        self, density: RowDensity, columns: Mapping[str, FittedColumn], schema: Schema, missing: Sequence[str] = ()
    ) -> None:
        self.density, self.fitted, self.schema, self.missing = density, dict(columns), schema, tuple(missing)
        self.encoder = RowEncoder({name: column.encoder for name, column in self.fitted.items()})
        self._preview: pl.DataFrame | None = None

    @classmethod
    def of_file(cls, density: RowDensity, stored: Any, summary: Mapping[str, Any]) -> "RowLaw":
        """Return the law of a model file: what it holds, and what it says of the columns.

        Raises:
            InputError: If that is not of such a density.
        """
        schema = Schema.from_dict(stored)
        cells, missing = stored.get("cells"), summary.get("missing", [])
        if not isinstance(cells, dict) or set(cells) != set(schema.columns) or not isinstance(missing, list):
            raise InputError("it does not say what its columns hold (write the file again)")
        fitted = columns_from(cells)
        names = [*schema.context, *schema.modelled]
        sizes = [(fitted[name].encoder.num_codes, fitted[name].encoder.is_number) for name in names]
        for part in (density.joint, density.questions):
            if [*zip(part.num_codes, map(bool, part.numbers), strict=True)] != sizes or part.num_context != len(
                schema.context
            ):
                raise InputError("its columns do not fit its density (write the file again)")
        return cls(density, {name: fitted[name] for name in names}, schema, [str(word) for word in missing])

    @property
    def module(self) -> RowDensity:
        """What a model file holds."""
        return self.density

    @property
    def headline(self) -> str:
        """Size, context and number of parameters."""
        given = f" given {len(self.schema.context)} of context" if self.schema.context else ""
        modelled = len(self.schema.modelled)
        size = num_parameters(self.density)
        return f"Density of {modelled} column{'s' * (modelled != 1)}{given}, {size:,} parameters"

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is known of each column, in the table's order."""
        roles = {name: "context" if name in self.schema.context else "modelled" for name in self.fitted}
        return tuple(self.fitted[name].column(roles[name]) for name in self.schema.columns)

    def schema_to_store(self) -> dict[str, Any]:
        """Return what a model file keeps of the columns."""
        return {**self.schema.to_dict(), "cells": {name: one.to_dict() for name, one in self.fitted.items()}}

    def table_of(self, data: Any) -> Cells:
        """Return a table as it stands."""
        return read_cells(data)

    def read(self, data: Any, wanted: Sequence[str] | None = None) -> "pl.DataFrame":
        """Return columns of a table as values: all of the model's, or those wanted; raise InputError for others."""
        return values_of(read_cells(data), self.fitted, wanted or list(self.fitted), missing=self.missing)

    def position(self, name: str) -> int:
        """Return where a column stands; InputError names those there are."""
        if name not in self.fitted:
            raise InputError(f'there is no column "{name}" in the model (columns: {", ".join(self.fitted)})')
        return list(self.fitted).index(name)

    # ---- probabilities -------------------------------------------------------------------------------------------

    def log_prob(self, data: Any, given: Sequence[str] | None = None) -> np.ndarray:
        """See `TableModel.log_prob`."""
        return self.log_prob_of(self.encoder.encode(self.read(data)), given)

    @torch.no_grad()
    def log_prob_of(self, rows: Rows, given: Sequence[str] | None = None) -> np.ndarray:
        """Return what `log_prob` does, of encoded rows."""
        known = [self.position(name) for name in (*self.schema.context, *(given or ()))]
        if given:
            total = self.density.questions.log_prob(rows.cells, known)
        else:
            total = self.density.joint.log_prob(rows.cells)
        asked = [d for d in range(len(self.fitted)) if d not in known]
        found = total.double().numpy() + rows.log_slope[:, asked].sum(1)
        return np.where(rows.unknown, -np.inf, found)

    @torch.no_grad()
    def cells_log_prob(self, rows: Rows) -> np.ndarray:
        """Return log p(cell | cells before it) in nats, in units of the table, (rows, columns): 0 where missing."""
        found = self.density.joint.cells_log_prob(rows.cells).double().numpy() + rows.log_slope
        found[:, : len(self.schema.context)] = 0.0
        return found

    # ---- rows ----------------------------------------------------------------------------------------------------

    def sample(
        self, n: int, given: Any, *, complete: bool, temperature: float, seed: int | None, called: str = "given"
    ) -> "pl.DataFrame":
        """See `TableModel.sample`."""
        n, temperature = require_count("n", n), require_number("temperature", temperature, above=0)
        if given is None and self.schema.context:
            raise InputError(f"the model needs context ({called}: {self._example(self.schema.context)}, or rows of it)")
        known = None if given is None else self._given(given, called)
        rows = self.encoder.encode(_empty(n)) if known is None else self._known_rows(known, n)
        only_context = known is None or set(known.columns) <= set(self.schema.context)
        options: dict[str, Any] = {"temperature": temperature, "generator": _generator(seed)}
        if only_context:
            code, z = self.density.joint.draw(rows.cells, self.encoder.places, complete=complete, **options)
        else:
            code, z = self.density.questions.fill(rows.cells, self.encoder.places, **options)
        drawn = self.encoder.decode(code, z)
        if known is not None:  # as they were given, whatever the columns hold
            known = known[np.repeat(np.arange(known.height), n)]
            drawn = drawn.with_columns(
                known[name]
                if name in self.schema.context
                else known[name].fill_null(drawn[name].cast(known[name].dtype))
                for name in known.columns
            )
        return self._typed(drawn)

    def impute(self, data: Any, *, num: int, seed: int | None) -> "pl.DataFrame":
        """See `TableModel.impute`."""
        frame = self.read(data)
        frame = frame[np.repeat(np.arange(frame.height), require_count("num", num))]
        rows = self._encode_known(frame)
        filled = self.encoder.decode(
            *self.density.questions.fill(rows.cells, self.encoder.places, generator=_generator(seed))
        )
        modelled = self.schema.modelled
        return self._typed(
            frame.with_columns(frame[name].fill_null(filled[name].cast(frame[name].dtype)) for name in modelled)
        )

    @torch.no_grad()
    def predict(self, data: Any, column: str) -> "pl.DataFrame":
        """See `TableModel.predict`."""
        import polars as pl

        place, encoder = self.position(column), self.fitted[column].encoder
        if column in self.schema.context:
            raise InputError(f'"{column}" is context: the model has no law of it (predict a modelled column)')
        rows = self._encode_known(self.read(data, [name for name in self.fitted if name != column]))
        code, z, _ = split(rows.cells)
        logits, mixture = self.density.questions.law_of(place, code, z)
        share = logits.double().softmax(1).numpy() if logits.shape[1] else np.ones((len(rows), 1))
        if isinstance(encoder, NumberEncoder):
            return law_of_numbers(encoder, share, mixture.unflatten(1, (3, -1)))
        best = pl.Series(column, encoder.values).gather(share.argmax(1))
        return pl.DataFrame([best, *(pl.Series(f"P({one})", share[:, k]) for k, one in enumerate(encoder.values))])

    def preview(self, fitted: Any) -> "pl.DataFrame":
        """Return samples to look at, drawn once: given context, one at that of each held-out row."""
        if self._preview is None:
            context = fitted.test_frame.head(PREVIEW_ROWS).select(self.schema.context) if self.schema.context else None
            n = 1 if self.schema.context else PREVIEW_ROWS
            self._preview = self.sample(n, context, complete=False, temperature=1.0, seed=fitted.seed)
        return self._preview

    def example_of_context(self, fitted: Any) -> str:
        """Return the context of a row, "kind=van,trips=3"; "" without context."""
        row = self.written(fitted.test_frame.select(self.schema.context).head(1)) if self.schema.context else None
        return "" if row is None else as_text(f"{name}={row[name][0]}" for name in self.schema.context)

    def written(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        """Return rows as they stand in a text: formats of dates, words of truth, signs around numbers."""
        kinds = {name: self.fitted[name].kind for name in frame.columns}
        return frame.with_columns(
            written(frame[name], kind.name, kind.form).alias(name) for name, kind in kinds.items() if kind.form
        )

    def evaluate(self, data: Any, fitted: Any, *, truth: Any, seed: int) -> RowEvaluation:
        """See `TableModel.evaluate`."""
        if truth is not None:
            raise InputError("a truth is a density of real columns; this model is one of mixed columns")
        rows = fitted_or_refused(fitted).split.test if data is None else self.encoder.encode(self.read(data))
        return evaluate_rows(self.cells_log_prob(rows), rows, self)

    def verify(self, seed: int) -> Verification:
        """See `TableModel.verify`."""
        return verify_rows(self.density, self.encoder, seed=seed)

    def report(self, fitted: Any, path: str | os.PathLike[str], command: str) -> None:
        """Write the page about the fit."""
        write_row_report(fitted, self.preview(fitted), path, command=command)

    # ---- inside --------------------------------------------------------------------------------------------------

    def _given(self, given: Any, called: str) -> "pl.DataFrame":
        """Return the cells that are given, of one row or several."""
        import polars as pl

        if isinstance(given, Mapping):
            for name in given:
                self.position(name)
            frame = pl.DataFrame({name: [value] for name, value in given.items()}, strict=False)
            known, cells = list(given), read_cells(frame, source=called)
        else:
            cells = read_cells(given, source=called)
            known = [name for name in cells.frame.columns if name in self.fitted]
        if missing := [name for name in self.schema.context if name not in known]:
            raise InputError(f"{called}: {', '.join(missing)} is missing (give {self._example(self.schema.context)})")
        if not known:
            raise InputError(f"{called}: holds no column of the model (columns: {', '.join(self.fitted)})")
        return values_of(cells, self.fitted, known, missing=self.missing)

    def _example(self, names: Sequence[str]) -> str:
        """Return cells that a user may give, "kind=van,trips=3"."""
        shown = []
        for name in names:
            encoder = self.fitted[name].encoder
            code = np.array([0])
            value = encoder.decode(code, np.array([0.0]))[0]
            shown.append(f"{name}={value}")
        return ",".join(shown)

    def _known_rows(self, known: "pl.DataFrame", n: int) -> Rows:
        return self._encode_known(known[np.repeat(np.arange(known.height), n)])

    def _encode_known(self, frame: "pl.DataFrame") -> Rows:
        rows = self.encoder.encode(frame)
        self._refuse_unknown(rows, frame)
        return rows

    def _typed(self, frame: "pl.DataFrame") -> "pl.DataFrame":
        """Return columns in the table's order and in its types."""
        import polars as pl

        return pl.DataFrame([self.fitted[name].typed(frame[name]).alias(name) for name in self.schema.columns])

    def _refuse_unknown(self, rows: Rows, frame: "pl.DataFrame") -> None:
        """Raise InputError where a cell that is given holds a category that the fitted table never had."""
        if not rows.unknown.any():
            return
        row = int(rows.unknown.argmax())
        for name, column in self.fitted.items():
            encoder = column.encoder
            if name in frame.columns and isinstance(encoder, CategoryEncoder) and frame[name][row] is not None:
                value = frame[name][row]
                if value not in encoder.values:
                    some = ", ".join(str(one) for one in encoder.values[:10])
                    more = f" and {len(encoder.values) - 10} more" if len(encoder.values) > 10 else ""
                    raise InputError(
                        f'"{value}" is no value of "{name}" in the table that was fitted (it has: {some}{more})'
                    )


def _empty(n: int) -> "pl.DataFrame":
    import polars as pl

    return pl.DataFrame({"": np.zeros(n)})


def _generator(seed: int | None) -> torch.Generator | None:
    return None if seed is None else torch.Generator().manual_seed(require_seed(seed))
