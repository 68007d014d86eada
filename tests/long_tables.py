"""A table to cut into pieces, a model of it, and what tests of long tables do with both."""

import numpy as np
import polars as pl
import pyarrow.parquet as parquet

import pushforward as pf


def rows(n, seed=0):
    random = np.random.default_rng(seed)
    size = random.normal(50, 9, n).round(2)
    frame = pl.DataFrame({
        "size": size, "kind": random.choice(["van", "car", 'a "big", one'], n),
        "price": (20 * size + random.normal(0, 40, n)).round(1),
    })  # fmt: skip
    return frame.with_columns(pl.when(pl.Series(random.random(n) > 0.1)).then("price"))


def fit(folder):
    """Return the file of a model."""
    file = folder / "model.safetensors"
    pf.TableModel.fit(rows(600), num_steps=30, seed=0, progress=False, notify=lambda line: None).save(file)
    return file


def write_parquet(file, frame, group=40):
    parquet.write_table(frame.to_arrow(), file, row_group_size=group)


def command(*arguments):
    from pushforward.cli.app import app

    app([str(argument) for argument in arguments], result_action="return_value")


def read_back(path):
    files = sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]
    return pl.concat([pl.read_parquet(file) for file in files]) if path.suffix != ".csv" else pl.read_csv(path)
