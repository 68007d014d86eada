"""One table out of several files: those of a folder, or those that a pattern fits."""

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
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
    _check_alike([(table.source, table.columns) for table in tables])
    values = np.concatenate([table.select(first.columns).values for table in tables])
    notes = _notes(tables)
    return replace(first, values=values, source=source, as_is=_as_is(tables, first), notes=notes)


def cells_below_one_another(parts: Sequence[Cells], *, source: str) -> Cells:
    """Return the rows of all files as one, the columns in the order of the first.

    Raises:
        InputError: If they do not have the same columns, or a column holds text in one file and numbers in another.
    """
    import polars as pl

    first = parts[0]
    _check_alike([(part.source, part.frame.columns) for part in parts])
    try:
        frame = pl.concat([part.frame.select(first.frame.columns) for part in parts], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{source}: the files do not fit below one another: {reason} (give them one type)") from error
    return Cells(
        frame,
        source,
        first.to_numbers,
        named=first.named,
        kind=first.kind,
        delimiter=first.delimiter,
        notes=_notes(parts),
    )


def _check_alike(sources: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Raise InputError unless all files have the columns of the first."""
    first, there = sources[0]
    for source, columns in sources[1:]:
        if apart := set(there) ^ set(columns):
            name = sorted(apart)[0]
            has, (lacks, its) = (first, (source, columns)) if name in there else (source, (first, there))
            raise InputError(f'{lacks}: there is no column "{name}", which {has} has (columns: {listing(its)})')


def _notes(parts: Sequence[Table] | Sequence[Cells]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{part.source}: {note}" for part in parts for note in part.notes))


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
