"""A table cut into pieces that fit into memory: row groups of Parquet, batches of Arrow, blocks of lines of text."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from pushforward.errors import InputError, RunError
from pushforward.tables.cells import Cells
from pushforward.tables.columns import listing
from pushforward.tables.file_reader import TEXTS, cells_of_arrow, cells_of_file, damaged, suffix_of
from pushforward.tables.in_pieces.text_blocks import text_blocks
from pushforward.tables.several_files import files_of

ROWS = 65_536  # at once, and the least of a piece where row groups are smaller
READ_BYTES = 2**18  # of a column at once
BYTES_OF_A_CELL = 4  # at least, of what is read whole


@dataclass(frozen=True)
class Piece:
    """Some rows of a table that follow one another.

    Attributes:
        number: Its place among the pieces, from 0.
        file: Where they are.
        weight: Rows, or bytes of a text: how much of the work it is.
        rows: How many it has; None where nothing tells without reading it.
        size: Number of its cells, about.
        read: Returns its rows, so many at a time that they fit into memory; of some columns, where it can leave others
            unread.
        num_reads: How many times.
    """

    number: int
    file: Path
    weight: int
    rows: int | None
    size: int
    read: "Read"
    num_reads: int = 1


class Read(Protocol):
    """Reads a piece."""

    def __call__(self, columns: Sequence[str] | None = None) -> Iterator[Cells]: ...  # noqa: D102


class PieceReader:
    """Gives reads of a piece by their numbers, in order.

    Args:
        piece: The piece.
        columns: As in `Read`.
    """

    def __init__(self, piece: Piece, columns: Sequence[str] | None = None) -> None:
        self._coming, self._before = piece.read(columns), 0

    def __call__(self, number: int) -> Cells | None:
        """Return a read, passing over those before it; None if there are not so many."""
        skipped, self._before = number - self._before, number + 1
        return next(islice(self._coming, skipped, None), None)


class Pieces:
    """A table in pieces, which are the same whoever reads which of them.

    Parquet is cut at row groups, Arrow at record batches, plain text at lines, once in 32 MiB; anything else is one
    piece. Several files follow one another in the order of their names.

    Args:
        data: A file, a folder of Parquet files, or a pattern.

    Raises:
        InputError: If there is no such file, it is damaged, or files have other columns than the first.
    """

    def __init__(self, data: str | os.PathLike[str]) -> None:
        path = Path(data)
        self.source = str(data)
        try:
            self.files = files_of(path) or [path]
            self._as_begun = {file: _state(file) for file in self.files}
            parts = [part for file in self.files for part in _CUT.get(suffix_of(file), _whole)(file)]
        except FileNotFoundError as error:
            raise InputError(f"{data}: there is no such file (check the name and the folder)") from error
        except OSError as error:
            raise InputError(f"{data}: cannot be read: {error.strerror or error}") from error
        self._parts = [replace(part, number=number) for number, part in enumerate(parts or _whole(self.files[0]))]

    @classmethod
    def of_rows(cls, cells: Cells) -> "Pieces":
        """Return rows in memory as one piece."""
        found = cls.__new__(cls)
        found.source, found.files, found._as_begun = cells.source, [], {}
        rows = cells.frame.height
        found._parts = [
            Piece(0, Path(cells.source), rows, rows, rows * cells.frame.width, lambda columns=None: iter([cells]))
        ]
        return found

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: int) -> Piece:
        return self._parts[number]

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._parts)

    @property
    def identity(self) -> list[list[Any]]:
        """What tells these files from others: name, size and time of each."""
        return [[file.name, *self._as_begun[file]] for file in self.files]

    def placed(self, cells: Cells, piece: Piece) -> Cells:
        """Return a piece's cells whose rows are told with their file, where there are several."""
        if len(self.files) < 2:
            return cells
        return replace(cells, place=lambda row: f"{cells.place(row)} of {piece.file.name}")

    def check_unchanged(self, file: Path) -> None:
        """Raise RunError if a file is no longer what it was when reading began."""
        if file in self._as_begun and _state(file) != self._as_begun[file]:
            raise RunError(f"{file}: has changed while it was read (what was written of it is not to be used)")


def _state(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _whole(file: Path) -> list[Piece]:
    size = file.stat().st_size
    return [Piece(0, file, size, None, size // BYTES_OF_A_CELL, lambda columns=None: iter([cells_of_file(file)]))]


def _of_parquet(file: Path) -> list[Piece]:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        with file.open("rb") as handle:
            metadata = parquet.ParquetFile(handle).metadata
            sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            width = metadata.num_columns
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise damaged(str(file), error) from error
    return _joined(file, sizes, width, _row_groups)


def _joined(
    file: Path,
    sizes: list[int],
    width: int,
    read: Callable[[Path, tuple[int, ...], int], Read],
) -> list[Piece]:
    """Return pieces of neighbours that have 65,536 rows together; the last may have fewer, none has no row.

    Args:
        file: Where they are.
        sizes: Rows of each row group or record batch.
        width: Number of columns.
        read: Given the file, numbers of such and the rows before them, returns what reads them.
    """
    pieces: list[Piece] = []
    numbers: list[int] = []
    before = rows = 0
    for number, size in enumerate(sizes):
        numbers.append(number)
        rows += size
        if rows >= ROWS or (rows and number == len(sizes) - 1):
            reads = -(-rows // ROWS)
            pieces.append(Piece(0, file, rows, rows, rows * width, read(file, tuple(numbers), before), reads))
            before, rows, numbers = before + rows, 0, []
    return pieces


def _row_groups(file: Path, groups: tuple[int, ...], before: int) -> Read:
    """Return what reads some row groups of a file, before which it has so many rows."""

    def read(columns: Sequence[str] | None = None) -> Iterator[Cells]:
        import pyarrow
        import pyarrow.parquet as parquet

        called = f"{file}, row group {groups[0] + 1}" + (f" to {groups[-1] + 1}" if len(groups) > 1 else "")
        try:
            with file.open("rb") as handle:
                # Without a buffer, all of a row group is read before its first row.
                source = parquet.ParquetFile(handle, buffer_size=READ_BYTES)
                batches = source.iter_batches(ROWS, row_groups=list(groups), columns=columns)
                for number, rows in enumerate(_of_equal_length(batches)):
                    yield _counted(cells_of_arrow(rows, source=str(file)), before + number * ROWS)
        except InputError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise damaged(called, error) from error

    return read


def _of_equal_length(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield record batches as tables of 65,536 rows, the last of what is left: some readers end them at row groups."""
    import pyarrow

    waiting: list[Any] = []
    for batch in batches:
        waiting.append(batch)
        if sum(len(one) for one in waiting) >= ROWS:
            table = pyarrow.Table.from_batches(waiting)
            yield table.slice(0, ROWS)
            waiting = table.slice(ROWS).to_batches()
    if waiting:
        yield pyarrow.Table.from_batches(waiting)


def _of_arrow(file: Path) -> list[Piece]:
    import pyarrow
    import pyarrow.ipc as ipc

    try:
        with pyarrow.memory_map(str(file)) as handle:
            reader = ipc.open_file(handle)
            width = len(reader.schema)
            sizes = [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]
    except (pyarrow.ArrowException, OSError, ValueError):  # a stream, or damaged: whoever reads all of it says so
        return _whole(file)
    return _joined(file, sizes, width, _record_batches)


def _record_batches(file: Path, numbers: tuple[int, ...], before: int) -> Read:
    """Return what reads some record batches of a file, before which it has so many rows."""

    def read(columns: Sequence[str] | None = None) -> Iterator[Cells]:
        import pyarrow
        import pyarrow.ipc as ipc

        try:
            with pyarrow.memory_map(str(file)) as handle:
                reader = ipc.open_file(handle)
                table = pyarrow.Table.from_batches([reader.get_batch(number) for number in numbers])
                for start in range(0, table.num_rows, ROWS):
                    part = table.slice(start, ROWS)
                    part = part if columns is None else part.select(columns)
                    yield _counted(cells_of_arrow(part, source=str(file)), before + start)
        except InputError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise damaged(f"{file}, record batch {numbers[0] + 1}", error) from error

    return read


def _counted(cells: Cells, before: int) -> Cells:
    """Return cells whose rows are counted from the first of the file."""
    return replace(cells, place=lambda row: f"row {row + before:,}")


def _of_text(file: Path) -> list[Piece]:
    blocks = text_blocks(file)
    if not blocks:
        return _whole(file)
    return [
        Piece(0, file, block.size, block.num_rows, block.num_rows * len(block.like.columns), block.read)
        for block in blocks
    ]


_CUT: dict[str, Callable[[Path], list[Piece]]] = {
    ".parquet": _of_parquet, ".arrow": _of_arrow, ".feather": _of_arrow, **dict.fromkeys(TEXTS, _of_text),
}  # fmt: skip


def like_the_first(cells: Cells, first: Cells) -> Cells:
    """Return cells with the columns of the first piece in their order and types.

    Raises:
        InputError: If columns differ, or cells of one do not go into its type there.
    """
    import polars as pl

    if apart := set(first.columns) ^ set(cells.columns):
        name = sorted(apart)[0]
        where = "which the first piece does not have" if name in cells.columns else "which the first piece has"
        raise InputError(f'{cells.source}: column "{name}", {where} (columns here: {listing(cells.columns)})')
    schema = first.frame.schema
    if cells.frame.schema == schema:
        return cells
    for name in first.columns:
        there, here = schema[name], cells.frame.schema[name]
        widens = (there.is_float() and here.is_numeric()) or (there == pl.Int64 and here.is_integer())
        if there != here and not widens:
            raise InputError(
                f'{cells.source}: column "{name}" is of type {here}, in {first.source} of {there} (write both as one)'
            )
    return replace(cells, frame=cells.frame.select(pl.col(name).cast(schema[name]) for name in first.columns))
