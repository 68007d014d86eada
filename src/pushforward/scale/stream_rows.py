"""Rows of a file longer than memory, as data for `pf.fit`."""

import os
from collections.abc import Sequence
from functools import partial

from pushforward.tables.for_fitting import for_fitting
from pushforward.tables.in_pieces.row_stream import RowStream, numbers_to_learn
from pushforward.tables.splitting import split_positions
from pushforward.training.data.stream import Stream


def stream_rows(
    data: str | os.PathLike[str],
    *,
    columns: str | Sequence[str] | None = None,
    context: str | Sequence[str] = (),
    drop: str | Sequence[str] = (),
    strict: bool = False,
    seed: int = 0,
) -> Stream:
    """Return the rows of a file as data for `pf.fit`, which reads them piece by piece, again in every epoch.

    Columns are numbers. A tenth of a sample from eight places of the file, at most 10,000 rows, is held out: `fit`
    validates on these, (x, context) in `validation`. Rows with a cell that is no number are left out, and counted in
    `left_out`. See docs/scale.md.

    Args:
        data: A Parquet, Arrow or text file, a folder of Parquet files, or a pattern.
        columns: The columns to take besides the context; all by default.
        context: Names of the columns to condition on.
        drop: Columns to leave out.
        strict: End the run where a row would be left out.
        seed: Decides which rows are held out.

    Raises:
        InputError: If there is no such file or column, or the sample holds cells that are no numbers.

    Example:
        >>> import numpy as np, polars as pl, tempfile, pushforward as pf
        >>> x = np.random.default_rng(0).normal(size=(1000, 2))
        >>> file = tempfile.mkdtemp() + "/rows.parquet"
        >>> pl.DataFrame(x, schema=["a", "b"]).write_parquet(file)
        >>> rows = pf.scale.stream_rows(file)
        >>> history = pf.fit(pf.recipes.nsf(2), rows, num_steps=5, progress=False)
        >>> rows.num_rows, len(rows.validation[0]), history.steps
        (900, 100, 5)
    """
    table = for_fitting(data, columns=columns, context=context, drop=drop, strict=strict, recipe="flow", stream=True)
    assert table.numbers is not None
    modelled, given = table.numbers.split(table.context)
    positions = split_positions(table.num_rows, seed=seed, test=0)
    learnable = partial(numbers_to_learn, modelled.columns, () if given is None else given.columns)
    rows = RowStream(table, positions[0], positions[1], learnable)
    if len(positions[1]):
        rows.validation = (modelled.values[positions[1]], None if given is None else given.values[positions[1]])
    return rows
