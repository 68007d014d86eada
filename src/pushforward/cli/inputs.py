"""What the commands are given: tables by file or built-in name, and models by file or folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward import model_file
from pushforward.data import TOYS, Density
from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.tables import Schema, Table, read_table

MODEL = "model.safetensors"
TOY_POINTS = 100_000


@dataclass(frozen=True)
class Model:
    """A flow from a file, with what the file says about it.

    Attributes:
        path: The model file.
        flow: The flow.
        schema: Names of the columns; made up where the file has none.
        summary: What `fit` wrote beside it; empty where it wrote nothing.
    """

    path: Path
    flow: Flow
    schema: Schema
    summary: dict[str, Any]

    def split(self, table: Table) -> tuple[Tensor, Tensor | None]:
        """Return what the flow models and its context, float64, from a table that `read_rows` has put in order."""
        modelled, given = table.split(self.schema.context)
        return torch.from_numpy(modelled.values), None if given is None else torch.from_numpy(given.values)


def read_data(data: str, *, seed: int, context: str = "") -> tuple[Table, Density | None]:
    """Return the table that DATA names, and its true density where it is a built-in data set.

    Args:
        data: A file, or a name in `pf.data.TOYS`: 100,000 points, their label a column if `context` asks for it.
        seed: Seed of the built-in data.
        context: Names of the context columns, separated by commas.
    """
    if data not in TOYS or os.path.exists(data):
        _check_there(data)
        return read_table(data), None
    points, labels, density = TOYS[data](TOY_POINTS, seed=seed)
    return _toy_table(data, points, labels if "label" in context.split(",") else None), density


def read_rows(data: str, columns: Sequence[str], *, seed: int = 0) -> tuple[Table, Density | None]:
    """Return rows to score: of a file these columns, of a built-in data set fresh points."""
    if data not in TOYS or os.path.exists(data):
        _check_there(data)
        return read_table(data, columns=columns), None
    density = TOYS[data](2).density
    labels = None
    if density.num_labels:
        points, labels = density.sample_with_labels(TOY_POINTS, seed)
    else:
        points = density.sample(TOY_POINTS, seed)
    return _toy_table(data, points, labels).select(columns), density


def _toy_table(name: str, points: Tensor, labels: Tensor | None) -> Table:
    columns, values = ("x1", "x2"), points.double()
    if labels is not None:
        columns, values = (*columns, "label"), torch.cat((values, labels[:, None].double()), 1)  # type: ignore[assignment]
    return Table(columns, values.numpy(), name)


def _check_there(data: str) -> None:
    if not os.path.exists(data) and not Path(data).suffix:
        raise InputError(f"{data}: is neither a file nor a built-in data set (built in: {', '.join(TOYS)})")


def open_model(path: Path) -> Model:
    """Load a model file, or the one in the folder of a fit."""
    if path.is_dir():
        if not (path / MODEL).exists():
            raise InputError(f"{path}: holds no {MODEL} (name a model file, or the folder of a finished fit)")
        path = path / MODEL
    flow, stored = model_file.load_with_metadata(path)
    if stored["schema"] is None:
        names = [f"x{number}" for number in range(1, flow.features + 1)]
        given = [f"c{number}" for number in range(1, flow.context_features + 1)]
        schema = Schema((*names, *given), tuple(given))
    else:
        schema = Schema.from_dict(stored["schema"])
    sizes = (len(schema.columns) - len(schema.context), len(schema.context))
    if sizes != (flow.features, flow.context_features):
        raise InputError(f"{path}: its columns do not fit its flow (write the file again)")
    return Model(path, flow, schema, stored["summary"] or {})


def read_context(model: Model, context: str | None) -> np.ndarray | None:
    """Return the rows of context that `label=1,x3=0.5` or a file gives, (rows, C); None for a model without context.

    Raises:
        InputError: If context is missing or not wanted, a column is missing, or a value is not a number.
    """
    names = model.schema.context
    example = ",".join(f"{name}=0" for name in names)
    if not names:
        if context is not None:
            raise InputError(f"{model.path}: the model takes no context (leave --context out)")
        return None
    if context is None:
        raise InputError(f"{model.path}: the model needs context (give --context {example}, or a file)")
    if os.path.exists(context) or "=" not in context:
        return read_table(context, columns=names).values
    given: dict[str, float] = {}
    for item in context.split(","):
        name, _, text = (part.strip() for part in item.partition("="))
        if name not in names:
            raise InputError(f'--context: "{name}" is no context column of the model (give {example})')
        try:
            given[name] = float(text)
        except ValueError as error:
            raise InputError(f'--context: "{text}" is not a number (give {example})') from error
        if not np.isfinite(given[name]):
            raise InputError(f"--context: {name} must be finite; got {text}")
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(f"--context: {', '.join(missing)} is missing (give {example})")
    return np.array([[given[name] for name in names]])
