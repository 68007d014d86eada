"""One table out of several files: those of a folder, or those that a pattern fits."""

import glob
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.columns import listing, which

if TYPE_CHECKING:
    import polars as pl

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


def below_one_another(parts: Sequence[Cells], *, needed: str | Sequence[str] | None, source: str) -> Cells:
    """Return the rows of all parts as one, the columns in the order of the first.

    Args:
        parts: What was read of each file.
        needed: The columns that all must have; where the parts differ in others, only these are kept. All by default.
        source: What messages call all of it.

    Raises:
        InputError: If they do not have the same columns, or a column holds text in one and numbers in another.
    """
    first = parts[0]
    names = first.columns
    if needed is not None and any(set(part.columns) != set(names) for part in parts):
        parts = [_only(part, needed) for part in parts]
        names = parts[0].columns
    for part in parts[1:]:
        if apart := set(names) ^ set(part.columns):
            name = sorted(apart)[0]
            has, lacks = (first, part) if name in names else (part, first)
            there = f"columns: {listing(lacks.columns)}"
            raise InputError(f'{lacks.source}: there is no column "{name}", which {has.source} has ({there})')
    frame = joined([part.frame.select(names) for part in parts], [part.source for part in parts])
    notes = tuple(dict.fromkeys(f"{part.source}: {note}" for part in parts for note in part.notes))
    ends = list(accumulate(part.frame.height for part in parts))

    def place(row: int) -> str:
        at = bisect_left(ends, row)
        before = ends[at - 1] if at else 0
        return f"row {row} ({parts[at].source}, {parts[at].place(row - before)})"

    return replace(first, frame=frame, source=source, notes=notes, place=place)


def _only(part: Cells, needed: str | Sequence[str]) -> Cells:
    """Return the columns that are needed, under the names they are asked for."""
    positions, names = which(part.columns, needed, (), source=part.source, named=part.named)
    frame = part.frame[:, positions]
    frame.columns = names
    return replace(part, frame=frame)


def joined(frames: "Sequence[pl.DataFrame]", sources: Sequence[str]) -> "pl.DataFrame":
    """Return frames of the same columns below one another; numbers of two types take one that holds both."""
    import polars as pl

    for name in frames[0].columns:
        known: tuple[pl.DataType, str] | None = None
        for frame, source in zip(frames, sources, strict=True):
            dtype = frame.schema[name]
            if dtype == pl.Null:
                continue
            first, where = known = known or (dtype, source)
            numbers = dtype.is_numeric() or dtype == pl.Boolean, first.is_numeric() or first == pl.Boolean
            if dtype != first and not all(numbers) and (any(numbers) or dtype.base_type() != first.base_type()):
                raise InputError(
                    f'{source}: column "{name}" is of type {dtype}, in {where} of {first} (write both as one type)'
                )
    try:
        return pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{sources[0]}: its columns are not of the types of the other files': {reason}") from error
