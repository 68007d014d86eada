"""The results of pieces, a file each in one folder: what is there is whole, and is not done again."""

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from pushforward.errors import InputError
from pushforward.storage.atomic_files import replacing
from pushforward.tables.file_reader import TEXTS, WRITTEN, suffix_of
from pushforward.tables.writers import write_frame

if TYPE_CHECKING:
    import polars as pl

RUN = "run.json"


class Parts:
    """A folder with a part for each piece that is done, and what they are parts of.

    For a file the parts lie in a hidden folder beside it until they are all there; for a folder they are the result.

    Args:
        out: A file, whose suffix tells the format; without a suffix, or where there is one, a folder of Parquet files.
        run: What the parts are parts of, as plain values: model, options, files.
    """

    def __init__(self, out: Path, run: dict[str, Any]) -> None:
        self.out, self._run = out, json.loads(json.dumps(run))
        self.is_folder = out.is_dir() or not out.suffix
        self.folder = out if self.is_folder else out.with_name(f".{out.name}.parts")
        self.is_text = not self.is_folder and suffix_of(out, WRITTEN).startswith(TEXTS)

    def begin(self, *, overwrite: bool) -> None:
        """Make the folder, or go on in it.

        Raises:
            InputError: If it holds parts of something else, or the file is there already.
        """
        if not self.is_folder and self.out.exists() and not overwrite:
            raise InputError(f"{self.out}: exists already (--overwrite replaces it, --out names another file)")
        record = self.folder / RUN
        if record.exists():
            before = json.loads(record.read_text())
            differing = [name for name in {**before, **self._run} if before.get(name) != self._run.get(name)]
            if not differing:
                return
            if not overwrite:
                raise InputError(
                    f"{self.folder}: holds parts of another run: its {', '.join(differing)} differ (--overwrite removes"
                    " them, --out names another place)"
                )
            for part in self.folder.glob("part-*"):
                part.unlink()
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise InputError(f"{self.folder}: is a folder with other files (name a new one with --out)")
        try:
            self.folder.mkdir(parents=False, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be made: {error.strerror} (check the folder {self.folder.parent})"
            ) from error
        with replacing(record) as handle:
            handle.write(json.dumps(self._run, indent=1).encode())

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
        names: list[str] = []
        with replacing(self.path(number)) as handle:
            if self.is_text:
                for frame in frames:
                    names = names or frame.columns
                    frame.select(names).write_csv(handle, include_header=False, **style)
            else:
                _write_parquet(handle, (frame.to_arrow() for frame in frames))
        if self.is_text and not self._header.exists():
            with replacing(self._header) as handle:
                frame.clear().write_csv(handle, **style)

    @property
    def _header(self) -> Path:
        return self.folder / "header.csv"

    def join(self, numbers: Iterable[int]) -> None:
        """Make the file of all parts, in the order of the pieces, and remove them."""
        import polars as pl

        files = [self.path(number) for number in numbers]
        if not self.is_text and (suffix := suffix_of(self.out)) != ".parquet":  # all of it goes through memory
            write_frame(self.out, pl.concat([pl.read_parquet(file) for file in files]), suffix)
        else:
            self._join(files)
        shutil.rmtree(self.folder)

    def _join(self, files: list[Path]) -> None:
        import pyarrow.parquet as parquet

        with replacing(self.out) as handle:
            if self.is_text:
                if self.out.name.lower().endswith(".gz"):
                    with gzip.GzipFile("", "wb", fileobj=handle, mtime=0) as packed:
                        _join_texts(cast(IO[bytes], packed), [self._header, *files])
                else:
                    _join_texts(handle, [self._header, *files])
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
    with parquet.ParquetWriter(handle, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table.select(first.schema.names).cast(first.schema))


def _join_texts(handle: IO[bytes], files: list[Path]) -> None:
    for file in files:
        with file.open("rb") as part:
            shutil.copyfileobj(part, handle, 2**20)
