"""Columns to a file of any format, whole or not at all."""

import gzip
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from pushforward.errors import InputError, require_path
from pushforward.storage.atomic_files import replacing
from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table, check_names
from pushforward.tables.file_reader import TEXTS, WRITTEN, suffix_of

if TYPE_CHECKING:
    import polars as pl


def write_table(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    values: "np.ndarray | pl.DataFrame",
    *,
    like: Table | Cells | None = None,
) -> None:
    """Write columns to a file, whole or not at all: a file that was there before stays until the new one is complete.

    Args:
        path: The file; its suffix tells the format.
        columns: The columns' names, one a column of `values`. An NPY file holds no names.
        values: (rows, columns): numbers, or a polars frame of any cells.
        like: A table whose source is written again as it was read, `values` appended as further columns.

    Raises:
        InputError: If the suffix is unknown, the folder cannot be written to, a name occurs twice, or an NPY file would
            have to hold text.
        RunError: If writing fails, for example because the disk is full.
    """
    path = require_path("path", path)
    suffix = suffix_of(path, WRITTEN)
    frame = assemble(columns, values, like, as_text=suffix.startswith(TEXTS), source=str(path))
    write_frame(path, frame, suffix, **style_of_text(like))


def style_of_text(like: Table | Cells | None) -> dict[str, Any]:
    """Return how the text is written that a table was read from; {} if it was none."""
    if like is None or not like.delimiter:
        return {}
    return {"separator": like.delimiter, "decimal_comma": _has_decimal_comma(like)}


def plain_style(path: Path) -> dict[str, Any]:
    """Return how a text is written that is like no other."""
    return {"separator": "\t" if suffix_of(path, WRITTEN).startswith(".tsv") else ","}


def write_frame(path: Path, frame: "pl.DataFrame", suffix: str, **style: Any) -> None:
    """Write a frame in the format of a suffix; `style` is that of a text."""
    if suffix == ".npy" and not all(dtype.is_numeric() for dtype in frame.dtypes):
        text = next(c.name for c in frame if not c.dtype.is_numeric())
        raise InputError(
            f'{path}: an NPY file holds numbers only, column "{text}" holds others (write .csv or .parquet)'
        )
    style = style or plain_style(path)
    with replacing(path) as handle:
        if suffix in TEXTS:
            frame.write_csv(handle, **style)
        elif suffix.startswith(TEXTS):
            with gzip.GzipFile("", "wb", fileobj=handle, mtime=0) as packed:
                frame.write_csv(cast(IO[bytes], packed), **style)
        elif suffix == ".jsonl":
            frame.write_ndjson(handle)
        elif suffix == ".parquet":
            import pyarrow.parquet

            pyarrow.parquet.write_table(frame.to_arrow(), handle)
        elif suffix in (".arrow", ".feather"):
            frame.write_ipc(handle)
        elif suffix == ".npy":
            np.save(handle, frame.to_numpy(order="c"), allow_pickle=False)
        else:
            _write_npz(frame, handle)


def write_rows(
    path: str | os.PathLike[str], rows: "pl.DataFrame", in_text: "Callable[[pl.DataFrame], pl.DataFrame]"
) -> None:
    """Write a frame to a file as `write_table` does; `in_text` turns it into what a text is to hold."""
    path = require_path("path", path)
    suffix = suffix_of(path, WRITTEN)
    write_frame(path, in_text(rows) if suffix.startswith(TEXTS) else rows, suffix)


def assemble(
    columns: Sequence[str],
    values: "np.ndarray | pl.DataFrame",
    like: Table | Cells | None,
    *,
    as_text: bool,
    source: str,
) -> "pl.DataFrame":
    """Return what is to be written as one polars frame; arguments as those of `write_table`."""
    import polars as pl

    if isinstance(values, pl.DataFrame):
        new = values.rename(dict(zip(values.columns, columns, strict=True)))
    else:
        new = pl.from_numpy(np.asarray(values).reshape(len(values), len(columns)), schema=list(columns))
    if like is None:
        check_names(columns, source=source)
        return new
    if isinstance(like, Cells):
        check_names([*like.frame.columns, *columns], source=source)
        return like.frame.hstack(new)
    old = like.as_is
    if old is None:
        old = pl.from_numpy(like.values, schema=list(like.columns))
    elif like.delimiter and not as_text:
        old = old.with_columns(pl.Series(name, like.values[:, p]) for p, name in enumerate(like.columns))
    check_names([*old.columns, *columns], source=source)
    return old.hstack(new)


def _has_decimal_comma(table: Table | Cells) -> bool:
    if isinstance(table, Table):
        return table.decimal_comma
    return table.style is not None and table.style.decimal_comma


def _write_npz(frame: "pl.DataFrame", handle: IO[bytes]) -> None:
    # numpy.savez takes names as keyword arguments, and so no column called "file".
    with zipfile.ZipFile(handle, "w") as archive:
        for column in frame:
            array = column.to_numpy()
            with archive.open(f"{column.name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array.astype(str) if array.dtype == object else array)
