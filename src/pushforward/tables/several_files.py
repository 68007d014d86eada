"""One table out of several files: those of a folder, or those that a pattern fits."""

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.columns import Table, listing

PIECES = ".parquet"  # what a folder is searched for


def files_of(path: Path) -> list[Path]:
    """Return the files that a path stands for, in the order of their names; none if it names one file.

    Raises:
        InputError: If a folder holds no Parquet file, or a pattern fits no file.
    """
    if os.path.isdir(path):
        found = sorted(file for file in path.iterdir() if file.suffix.lower() == PIECES and file.is_file())
        if not found:
            raise InputError(f"{path}: is a folder without {PIECES} files (name a file in it)")
        return found
    if not set("*?") & set(path.name) or os.path.exists(path):
        return []
    found = sorted(Path(name) for name in glob.glob(str(path)) if Path(name).is_file())
    if not found:
        raise InputError(f"{path}: fits no file (check the pattern and the folder)")
    return found


def below_one_another(tables: Sequence[Table], *, source: str) -> Table:
    """Return the rows of all tables as one, the columns in the order of the first.

    Raises:
        InputError: If they do not have the same columns.
    """
    first = tables[0]
    for table in tables[1:]:
        if apart := set(first.columns) ^ set(table.columns):
            name = sorted(apart)[0]
            has, lacks = (first, table) if name in first.columns else (table, first)
            there = f"columns: {listing(lacks.columns)}"
            raise InputError(f'{lacks.source}: there is no column "{name}", which {has.source} has ({there})')
    values = np.concatenate([table.select(first.columns).values for table in tables])
    notes = tuple(dict.fromkeys(f"{table.source}: {note}" for table in tables for note in table.notes))
    return replace(first, values=values, source=source, as_is=_as_is(tables, first), notes=notes)


def _as_is(tables: Sequence[Table], first: Table) -> object:
    """Return everything that was read, below one another; None where other columns than those asked for differ."""
    import polars as pl

    parts = [table.as_is for table in tables]
    if isinstance(first.as_is, np.ndarray):
        return np.concatenate(parts)
    names = first.as_is.columns
    if any(set(part.columns) != set(names) for part in parts):
        return None
    return pl.concat([part.select(names) for part in parts], how="vertical_relaxed")
