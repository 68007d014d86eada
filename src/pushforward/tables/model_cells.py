"""The cells of a model's columns: from tables as users have them to codes and places, and back."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pushforward.errors import InputError
from pushforward.tables.category_encoder import CategoryEncoder
from pushforward.tables.columns import as_text
from pushforward.tables.fitted_columns import FittedColumn
from pushforward.tables.from_anything import read_cells
from pushforward.tables.row_encoder import RowEncoder, Rows
from pushforward.tables.rows_of_model import values_of
from pushforward.tables.schema import Column, Schema
from pushforward.tables.text_kinds import written

if TYPE_CHECKING:
    import polars as pl


class ModelCells:
    """What the columns of a model hold.

    Args:
        columns: The columns by name, those of the context first.
        schema: Names of the columns in the table's order, and which are context.
        missing: Words that stand for missing cells besides the usual ones.
    """

    dtype = torch.float32

    def __init__(self, columns: Mapping[str, FittedColumn], schema: Schema, missing: Sequence[str] = ()) -> None:
        self.fitted, self.schema, self.missing = dict(columns), schema, tuple(missing)
        self.encoder = RowEncoder({name: column.encoder for name, column in self.fitted.items()})

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is known of each column, in the table's order."""
        roles = {name: "context" if name in self.schema.context else "modelled" for name in self.fitted}
        return tuple(self.fitted[name].column(roles[name]) for name in self.schema.columns)

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
        if self.dtype != rows.cells.dtype:
            rows = Rows(rows.cells.to(self.dtype), rows.log_slope, rows.unknown)
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


def repeated_rows(frame: "pl.DataFrame", num: int) -> "pl.DataFrame":
    """Return each row num times, one after the other."""
    return frame[np.repeat(np.arange(frame.height), num)]
