"""A model as a function of batches, for engines that bring rows and processes: Ray Data, Spark, Dask, duckdb."""

import os
from collections.abc import Mapping
from typing import Any

from pushforward.errors import InputError, described, require_number, require_path
from pushforward.tables.anomalies import find_anomalies
from pushforward.tables.from_anything import read_cells
from pushforward.tables.table_model import TableModel

ANSWERS = ("log_prob", "anomalies")


class Scorer:
    """What a fitted model says of each row of a batch, beside the batch's own columns.

    It goes to other processes as the file's name: each reads the model when its first batch comes.

    Args:
        path: The model file, or the folder of a fit, which every process can read.
        ask: "log_prob", in nats; or "anomalies": all that `TableModel.anomalies` returns.
        level: Of anomalies, see there.

    Raises:
        InputError: If there is no such file, or `ask` is something else.

    Example:
        >>> import tempfile
        >>> import polars as pl
        >>> import pushforward as pf
        >>> rows = pl.DataFrame({"a": range(200), "b": [1.5, 2.5] * 100})
        >>> folder = tempfile.mkdtemp()
        >>> model = pf.TableModel.fit(rows, num_steps=5, progress=False, notify=lambda line: None)
        >>> model.save(f"{folder}/model.safetensors")
        >>> score = pf.scale.Scorer(f"{folder}/model.safetensors")
        >>> score(rows.head(3)).columns
        ['a', 'b', 'log_prob']
    """

    def __init__(self, path: str | os.PathLike[str], *, ask: str = "log_prob", level: float = 0.01) -> None:
        if ask not in ANSWERS:
            raise InputError(f"ask must be one of {', '.join(ANSWERS)}; got {ask!r}")
        self.path = os.fspath(require_path("path", path).absolute())
        self.ask, self.level = ask, require_number("level", level, above=0, below=1)
        self._model: TableModel | None = None
        self.model  # noqa: B018  a wrong file is told here, not in some other process

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_model": None}

    @property
    def model(self) -> TableModel:
        """The model, read once in each process."""
        if self._model is None:
            self._model = TableModel.load(self.path)
        return self._model

    def __call__(self, batch: Any) -> Any:
        """Return a batch with what was asked as further columns, of the batch's own kind.

        Args:
            batch: A mapping from names to arrays (rows,), an Arrow table or record batch, or a data frame of pandas or
                polars, with the model's columns.

        Raises:
            InputError: If a column is missing, a cell is not of its column's kind, or a name is taken.
        """
        import polars as pl
        import pyarrow

        rows = pyarrow.Table.from_batches([batch]) if isinstance(batch, pyarrow.RecordBatch) else batch
        if not (isinstance(rows, (Mapping, pyarrow.Table, pl.DataFrame)) or hasattr(rows, "assign")):
            raise InputError(
                f"a batch is a mapping of arrays, an Arrow table, a frame of pandas or polars; got {described(batch)}"
            )
        if isinstance(rows, Mapping):
            cells = read_cells(pl.DataFrame({name: _cells(column) for name, column in rows.items()}), source="batch")
        else:
            cells = read_cells(rows, source="batch")
        if self.ask == "log_prob":
            found = pl.DataFrame({"log_prob": self.model.log_prob(cells)})
        else:
            found = find_anomalies(self.model.law, cells, level=self.level)
        if taken := set(found.columns) & set(cells.columns):
            raise InputError(f'the batch has a column "{min(taken)}", which is to be appended (rename it)')
        if isinstance(rows, Mapping):
            return {**rows, **{column.name: column.to_numpy() for column in found}}
        if isinstance(rows, pyarrow.Table):
            for column in found:
                rows = rows.append_column(column.name, column.to_arrow())
            if isinstance(batch, pyarrow.RecordBatch):
                arrays = [column.combine_chunks() for column in rows.columns]
                return pyarrow.RecordBatch.from_arrays(arrays, schema=rows.schema)
            return rows
        if isinstance(rows, pl.DataFrame):
            return rows.hstack(found)
        return rows.assign(**{column.name: column.to_numpy() for column in found})


def _cells(column: Any) -> Any:
    """Return an array of Python objects with None where a cell is NaN, as engines carry missing text; others as is."""
    if getattr(getattr(column, "dtype", None), "kind", "") != "O":
        return column
    return [None if isinstance(cell, float) and cell != cell else cell for cell in column]
