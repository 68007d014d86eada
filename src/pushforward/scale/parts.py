"""The results of pieces, a file each in one folder: what is there is whole, and is not done again."""

import gzip
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from pushforward.errors import InputError
from pushforward.storage.atomic_files import replacing
from pushforward.tables.file_reader import TEXTS, WRITTEN, suffix_of
from pushforward.tables.writers import write_frame

if TYPE_CHECKING:
    import polars as pl

LOOKED_AT = 10_000  # rows, for whether a column's numbers repeat
RUN, HEADER = "_run.json", "_header.csv"  # names that readers of folders pass over


class Parts:
    """A folder with a part for each piece that is done, and what they are parts of.

    For a file the parts lie in a hidden folder beside it until they are all there; for a folder they are the result.

    Args:
        out: A file, whose suffix tells the format; without one, or the name of a folder, Parquet files in it.
        run: What the parts are parts of, as plain values: model, options, files.
    """

    def __init__(self, out: Path, run: dict[str, Any]) -> None:
        self.out, self._run = out, json.loads(json.dumps(run))
        self.is_folder = out.is_dir() or not out.suffix
        self.folder = out if self.is_folder else out.with_name(f".{out.name}.parts")
        self.is_text = not self.is_folder and suffix_of(out, WRITTEN).startswith(TEXTS)

    @property
    def are_there(self) -> bool:
        """Whether parts are what is wanted, or an earlier run has begun some."""
        return self.is_folder or self.folder.exists()

    def begin(self, inputs: Sequence[Path], *, overwrite: bool) -> None:
        """Make the folder, or go on in it.

        Args:
            inputs: Files that are read, which are never written.
            overwrite: Remove what is there, if it is such parts or the file.

        Raises:
            InputError: If it holds parts of something else, or what would be written is read.
        """
        if not self.is_folder and self.out.exists() and not overwrite:
            raise InputError(f"{self.out}: exists already (--overwrite replaces it, --out names another file)")
        for file in (os.path.realpath(file) for file in inputs):
            if file == os.path.realpath(self.out) or os.path.dirname(file) == os.path.realpath(self.folder):
                raise InputError(f"{self.out}: the table is read from there (name another place with --out)")
        record = self.folder / RUN
        there = [] if not self.folder.is_dir() else [name for name in os.listdir(self.folder) if name[0] != "."]
        if there and not record.exists():
            raise InputError(f"{self.folder}: is a folder with other files (name a new one with --out)")
        if there and not overwrite:
            before = self._read(record)
            if not (differing := [name for name in {**before, **self._run} if before.get(name) != self._run.get(name)]):
                return
            raise InputError(
                f"{self.folder}: holds parts of another run: its {', '.join(differing)} differ (--overwrite removes"
                " them, --out names another place)"
            )
        if there:
            self._read(record)  # such parts, or an error
            self._remove(keep=RUN)
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be made: {error.strerror} (check the folder {self.folder.parent})"
            ) from error
        with replacing(record) as handle:
            handle.write(json.dumps(self._run, indent=1).encode())

    def _read(self, record: Path) -> dict[str, Any]:
        """Return what a folder's parts are parts of; InputError if that is damaged, or no such record."""
        try:
            found = json.loads(record.read_text())
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or found.keys() != self._run.keys():
            raise InputError(f"{record}: does not say what the folder holds (name a new one with --out)")
        return found

    def _remove(self, *, keep: str = "") -> None:
        """Remove the parts, and in the end what says what they are."""
        for file in sorted(self.folder.iterdir(), key=lambda file: file.name == RUN):
            if file.name == RUN or file.name == HEADER or re.fullmatch(r"part-\d{6}\.(csv|parquet)", file.name):
                if file.name != keep:
                    file.unlink(missing_ok=True)

    def path(self, number: int) -> Path:
        """Return the file of a piece."""
        return self.folder / f"part-{number:06d}{'.csv' if self.is_text else '.parquet'}"

    def write(self, number: int, frames: "Iterable[pl.DataFrame]", **style: Any) -> None:
        """Write the part of a piece, whole or not at all.

        Args:
            number: That of the piece.
            frames: Its rows, one frame after the other, of the same columns.
            **style: That of a text: separator, decimal_comma.
        """
        header = None
        with replacing(self.path(number)) as handle:
            if self.is_text:
                for frame in frames:
                    header = header if header is not None else frame.clear()
                    frame.select(header.columns).write_csv(handle, include_header=False, **style)
            else:
                _write_parquet(handle, (frame.to_arrow() for frame in frames))
        if header is not None and not (self.folder / HEADER).exists():
            with replacing(self.folder / HEADER) as handle:
                header.write_csv(handle, **style)

    def remove_left_overs(self) -> None:
        """Remove what killed processes have left of parts, once all are there."""
        for file in self.folder.glob(".part-*.tmp"):
            file.unlink(missing_ok=True)

    def join(self, numbers: Iterable[int]) -> None:
        """Make the file of all parts, in the order of the pieces, and remove them."""
        import polars as pl

        files = [self.path(number) for number in numbers]
        if not self.is_text and (suffix := suffix_of(self.out)) != ".parquet":  # all of it goes through memory
            write_frame(self.out, pl.concat([pl.read_parquet(file) for file in files]), suffix)
        else:
            self._join(files)
        self._remove()
        shutil.rmtree(self.folder)  # what a killed process has left of a part

    def _join(self, files: list[Path]) -> None:
        import pyarrow.parquet as parquet

        with replacing(self.out) as handle:
            if self.is_text:
                if self.out.name.lower().endswith(".gz"):
                    with gzip.GzipFile("", "wb", fileobj=handle, mtime=0) as packed:
                        _join_texts(cast(IO[bytes], packed), [self.folder / HEADER, *files])
                else:
                    _join_texts(handle, [self.folder / HEADER, *files])
            else:
                groups = (
                    source.read_row_group(group)
                    for file in files
                    for source in [parquet.ParquetFile(file)]
                    for group in range(source.num_row_groups)
                )
                _write_parquet(handle, groups)


def _write_parquet(handle: IO[bytes], tables: Iterator[Any]) -> None:
    import pyarrow.parquet as parquet

    first = next(tables)
    with parquet.ParquetWriter(handle, first.schema, use_dictionary=_repeating(first)) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table.select(first.schema.names).cast(first.schema))


def _repeating(table: Any) -> list[str]:
    """Return the columns but for numbers that seldom repeat: to look for repeats there would take most of the time."""
    import pyarrow.compute as compute
    from pyarrow import types

    few = table.slice(0, LOOKED_AT)
    return [
        name
        for name, column in zip(few.column_names, few.columns, strict=True)
        if not types.is_floating(column.type) or 2 * compute.count_distinct(column).as_py() < len(column)
    ]


def _join_texts(handle: IO[bytes], files: list[Path]) -> None:
    for file in files:
        with file.open("rb") as part:
            shutil.copyfileobj(part, handle, 2**20)
