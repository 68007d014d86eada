"""A sample of a table that is longer than memory: it shows what the columns are, and some of its rows are held out."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.file_reader import TEXTS, suffix_of
from pushforward.tables.in_pieces.pieces import ROWS, Piece, PieceReader, Pieces
from pushforward.tables.number_text import to_numbers
from pushforward.tables.several_files import below_one_another, files_of

MOST_CELLS = 20_000_000  # of a table that is held in memory unless told otherwise
LEAST_BYTES = 2**24  # of files that may have more
MARKS = (b",", b";", b"\t", b"|", b" ")  # between cells of a text
PLACES, MOST_PLACES = 8, 1_000  # from which the sample is taken, and where pieces are small
SAMPLE_CELLS = 4_000_000
FEWEST_ROWS, MOST_ROWS = 50_000, 200_000  # of the sample, where there are so many


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows from several places of a table.

    Attributes:
        pieces: The table.
        cells: The rows.
        reads: Of which piece, and which read of it, they are the first rows.
        ends: How many rows of the sample come up to the end of each of these.
        num_rows: Rows of the table, as far as is known without reading all of it.
        numbers: The number of each row of the sample in the table, from 0; in the sample where that is not known.
    """

    pieces: Pieces
    cells: Cells
    reads: tuple[tuple[int, int], ...]
    ends: np.ndarray
    num_rows: int
    numbers: np.ndarray

    @property
    def counters(self) -> list[str]:
        """The columns that count the rows of the table."""
        import polars as pl

        found = []
        for column in self.cells.frame:
            numbers = to_numbers(column) if column.dtype == pl.String else column
            if numbers.dtype.is_numeric() and not numbers.null_count():
                ahead = numbers.cast(pl.Float64).to_numpy() - self.numbers
                found += [column.name] if len(ahead) > 1 and ahead[0] in (0, 1) and not np.ptp(ahead) else []
        return found

    @property
    def note(self) -> str:
        """What a user is told."""
        rows, places = self.cells.frame.height, len(self.reads)
        where = f"from {places} places of {self.num_rows:,}" if places > 1 else f"the first of {self.num_rows:,}"
        return (
            f"read piece by piece: kinds, scales and held-out rows are those of a sample of {rows:,} rows, {where};"
            " all others train"
        )

    def held(self, positions: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
        """Return which rows of each read are at positions in the sample, counted from its first row."""
        found = {}
        for read, end, start in zip(self.reads, self.ends, (0, *self.ends), strict=False):
            here = positions[(positions >= start) & (positions < end)] - start
            if len(here):
                found[read] = here
        return found


def sample_of(data: Any, *, stream: bool | None) -> Sample | None:
    """Return the sample of a table that is to be read piece by piece; None where all its rows are held in memory.

    Args:
        data: What is to be fitted.
        stream: Whether to read piece by piece; None for files of more than 20 million cells.

    Raises:
        InputError: If `stream` is asked of what is no file, or the file cannot be read.
    """
    named = isinstance(data, (str, os.PathLike))
    if stream and not named:
        raise InputError(f"stream=True reads files; got {type(data).__name__} (give the name of a file or folder)")
    if not named or stream is False or (stream is None and not _may_be_long(Path(data))):
        return None
    pieces = Pieces(data)
    many = sum(piece.num_reads for piece in pieces) > 1 and sum(piece.size for piece in pieces) > MOST_CELLS
    return _drawn(pieces) if stream or many else None


def _may_be_long(path: Path) -> bool:
    """Whether files may have so many cells, by their size and, of a text, its beginning; what is wrong others say."""
    try:
        files = files_of(path) or [path]
        size = sum(file.stat().st_size for file in files)
        if size < LEAST_BYTES or not suffix_of(files[0]).startswith(TEXTS):
            return size >= LEAST_BYTES
        with files[0].open("rb") as handle:
            head = handle.read(LEAST_BYTES)
        return size * (max(map(head.count, MARKS)) + head.count(b"\n")) > MOST_CELLS * len(head)
    except (OSError, InputError):
        return False


def _drawn(pieces: Pieces) -> Sample:
    chosen = _spread(list(pieces))
    num_reads = sum(len(numbers) for _, numbers in chosen)
    parts, reads, num_rows, weight = list[Cells](), [], 0, 0.0
    for piece, numbers in chosen:
        read = PieceReader(piece)
        for number in numbers:
            if (cells := read(number)) is None:
                continue
            rows = min(max(SAMPLE_CELLS // cells.frame.width, FEWEST_ROWS), MOST_ROWS)
            parts.append(replace(cells, frame=cells.frame.head(-(-rows // num_reads)).clone()))
            reads.append((piece.number, number))
            num_rows, weight = num_rows + cells.frame.height, weight + piece.weight / piece.num_reads
        pieces.check_unchanged(piece.file)
    sizes = [round(piece.weight * num_rows / weight) if piece.rows is None else piece.rows for piece in pieces]
    heights = [part.frame.height for part in parts]
    numbered = np.arange(sum(heights))
    if all(piece.rows is not None for piece in pieces):
        before = np.concatenate(([0], np.cumsum(sizes)))
        starts = [before[piece] + ROWS * read for piece, read in reads]
        numbered = np.concatenate([start + np.arange(height) for start, height in zip(starts, heights, strict=True)])
    cells = below_one_another(parts, needed=None, source=pieces.source)
    return Sample(
        pieces, replace(cells, known_style=(), place="row {} of the sample".format), tuple(reads), np.cumsum(heights),
        sum(sizes), numbered,
    )  # fmt: skip


def _spread(pieces: list[Piece]) -> list[tuple[Piece, list[int]]]:
    """Return pieces all over the table, the first among them, and which of their reads: eight or more, as there are."""
    rows = sum(piece.rows or ROWS for piece in pieces) / sum(piece.num_reads for piece in pieces)
    most = min(max(PLACES, int(FEWEST_ROWS / max(rows, 1))), MOST_PLACES)
    places = np.unique(np.linspace(0, len(pieces) - 1, most).round().astype(int))
    each = -(-PLACES // len(places))
    return [
        (piece, np.unique(np.linspace(0, piece.num_reads - 1, each).astype(int)).tolist())
        for piece in (pieces[place] for place in places)
    ]
