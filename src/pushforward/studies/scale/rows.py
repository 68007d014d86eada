"""Tables of known size, written row group by row group, and what processes do with their rows."""

import time
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = 20
GROUP = 100_000  # rows of a row group


def write_rows(file: Path, num_rows: int, *, seed: int, group: int = GROUP) -> Path:
    """Write a Parquet file of float64 columns, each bent by the one before it; memory holds one row group."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    names = [f"x{index + 1}" for index in range(COLUMNS)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with parquet.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for first in range(0, num_rows, group):
            x = np.random.default_rng((seed, first)).standard_normal((min(group, num_rows - first), COLUMNS))
            x[:, 1:] += 0.8 * np.sin(2 * x[:, :-1])
            writer.write_table(pa.table(list(x.T), schema=schema))
    return file


def write_files(folder: Path, num_files: int, num_rows: int, *, seed: int) -> Path:
    """Write a folder of such files, each of them a piece."""
    folder.mkdir()
    for number in range(num_files):
        write_rows(folder / f"rows-{number}.parquet", num_rows, seed=seed + 1 + number)
    return folder


# ---- what processes do; each imports what it needs only when it has begun --------------------------------------------


def fit_model(data: str, file: str, num_steps: int) -> None:
    """Fit a flow to a table, and save it."""
    import pushforward as pf

    model = pf.TableModel.fit(data, recipe="flow", num_steps=num_steps, progress=False, notify=_silent)
    model.save(file)


def read_once(data: str) -> dict[str, Any]:
    """Read a table piece by piece as a fit does, without a step."""
    from pushforward.scale import stream_rows

    rows = stream_rows(data)
    began, num_rows, shown = time.perf_counter(), 0, 0.0
    for buffer in rows.buffers(0, 0, 0):
        num_rows += len(buffer.x)
        shown += float(buffer.x[0, 0])
    return {"rows": num_rows, "seconds": time.perf_counter() - began}


def train_on_rows(data: str, streamed: bool, num_steps: int) -> list[tuple[int, float]]:
    """Train a spline flow on a table, piece by piece or in memory: the same model, batches, seed and validation.

    Returns:
        Step and seconds of each report.
    """
    import polars as pl
    import torch

    import pushforward as pf

    held_out = pf.scale.stream_rows(data)
    rows = held_out if streamed else pl.read_parquet(data).to_numpy()
    validation = held_out.validation
    torch.manual_seed(0)
    flow = pf.recipes.nsf(COLUMNS)
    history = pf.fit(
        flow, rows, validation=validation, num_steps=num_steps, batch_size=512, learning_rate=1e-3, progress=False
    )
    return [(row["step"], row["seconds"]) for row in history.rows]


def _silent(line: str) -> None:
    pass
