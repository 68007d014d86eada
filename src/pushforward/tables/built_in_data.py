"""What DATA names: a file, or a built-in data set as a table with its true density."""

import os
from pathlib import Path

import torch
from torch import Tensor

from pushforward.data import TOYS, Density
from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table
from pushforward.tables.for_fitting import ForFitting, for_fitting, of_numbers
from pushforward.tables.from_anything import read_cells
from pushforward.tables.table_checks import check_for_fitting

TOY_POINTS = 1_000_000


def table_to_fit(
    data: str,
    *,
    context: str = "",
    columns: str = "",
    drop: str = "",
    missing: str = "",
    strict: bool = False,
    stream: bool | None = None,
    recipe: str = "auto",
    seed: int = 0,
) -> tuple[ForFitting, Density | None]:
    """Return the table that DATA names, and its true density where it is a built-in data set.

    Args:
        data: A file, or a name in `pf.data.TOYS`: 100,000 points, their label a column if `context` asks for it.
        context: Names of the context columns, separated by commas.
        columns: Names of the columns to take besides; "" for all.
        drop: Names of the columns to leave out.
        missing: Words that stand for missing cells besides the usual ones, separated by commas.
        strict: Refuse a table of which a column would be left out.
        stream: Whether to read the file piece by piece; None where it is large.
        recipe: The recipe asked for.
        seed: Seed of the built-in data.
    """
    if not is_built_in(data):
        table = for_fitting(
            data, context=context, columns=columns or None, drop=drop, missing=missing, recipe=recipe, strict=strict,
            stream=stream,
        )  # fmt: skip
        if table.numbers is not None:
            check_for_fitting(table.numbers)
        return table, None
    if columns or drop:
        raise InputError(f"{data}: a built-in data set is fitted whole (leave --columns and --drop out)")
    points, labels, density = TOYS[data](TOY_POINTS, seed=seed)
    toy = _toy_table(data, points, labels if "label" in context.split(",") else None)
    return of_numbers(toy, context), density


def rows_to_score(data: str) -> tuple[Cells | Table, Density | None]:
    """Return the cells of a file; of a built-in data set fresh points, and their true density."""
    if not is_built_in(data):
        return read_cells(data), None
    density = TOYS[data](2).density
    if density.num_labels:
        points, labels = density.sample_with_labels(TOY_POINTS, 0)
    else:
        points, labels = density.sample(TOY_POINTS, 0), None
    return _toy_table(data, points, labels), density


def is_built_in(data: str) -> bool:
    """Whether a name is that of a built-in data set; InputError where it is neither that nor a file's."""
    if os.path.exists(data):
        return False
    if data not in TOYS and not Path(data).suffix:
        raise InputError(f"{data}: is neither a file nor a built-in data set (built in: {', '.join(TOYS)})")
    return data in TOYS


def _toy_table(name: str, points: Tensor, labels: Tensor | None) -> Table:
    if labels is None:
        return Table(("x1", "x2"), points.double().numpy(), name)
    values = torch.cat((points.double(), labels[:, None].double()), 1)
    return Table(("x1", "x2", "label"), values.numpy(), name)
