"""A function of rows over a table of any length: piece by piece, written as it comes, shared by many processes."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pushforward import __version__
from pushforward.errors import InputError
from pushforward.scale.making import ALONE, Done, Made, check_shared, make_parts
from pushforward.scale.parts import Parts
from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table
from pushforward.tables.in_pieces.pieces import Pieces, like_the_first
from pushforward.tables.writers import assemble, plain_style, style_of_text, write_table

if TYPE_CHECKING:
    import polars as pl


class Place(NamedTuple):
    """Where rows stand that are answered together.

    Attributes:
        piece: Their piece.
        batch: Which rows of it.
        many: Whether there are others, which need the same columns.
    """

    piece: int
    batch: int
    many: bool


class Answered(NamedTuple):
    """What is said of some rows.

    Attributes:
        columns: To be written beside them.
        beside: The table to write these beside.
        told: What is to be said of the rows in the end, small and plain.
    """

    columns: "pl.DataFrame"
    beside: Table | Cells
    told: Any = None


Answer = Callable[[Cells, Place], Answered]


class Answering:
    """Answers the rows of a piece and writes its part.

    Args:
        pieces: The table.
        answer: What is said of rows.
        parts: Where the answers go.
        first: The first rows, whose columns, types and marks those of all pieces are.
    """

    def __init__(self, pieces: Pieces, answer: Answer, parts: Parts, first: Cells) -> None:
        self._pieces, self._answer, self._parts = pieces, answer, parts
        self._first, self._style = replace(first, frame=first.frame.clear()), self._style_of(first)

    def __call__(self, number: int, count: Callable[[int], None] = lambda rows: None) -> Made:
        """Write the part of a piece."""
        piece, rows, told = self._pieces[number], 0, list[Any]()

        def frames() -> "Iterator[pl.DataFrame]":
            nonlocal rows
            for batch, cells in enumerate(piece.read()):
                cells = like_the_first(cells, self._first)
                if self._style_of(cells) != self._style:
                    raise InputError(
                        f"{cells.source}: is written with other marks than {self._first.source} (write both alike)"
                    )
                cells = self._pieces.placed(cells, piece)
                found = self._answer(cells, Place(number, batch, many=True))
                as_text, source = self._parts.is_text, str(self._parts.out)
                yield assemble(found.columns.columns, found.columns, found.beside, as_text=as_text, source=source)
                rows += cells.frame.height
                told.append(found.told)
                count(cells.frame.height)
            self._pieces.check_unchanged(piece.file)

        self._parts.write(number, frames(), **self._style)
        return Made(rows, told)

    def _style_of(self, cells: Cells) -> dict[str, Any]:
        """Return how a text is written: as the one that is read, or as its suffix says; {} where none is."""
        return (style_of_text(cells) or plain_style(self._parts.out)) if self._parts.is_text else {}


def over_pieces(
    pieces: Pieces,
    answer: Answer,
    out: Path,
    *,
    asked: dict[str, Any],
    shard: tuple[int, int] = ALONE,
    ray: str = "",
    overwrite: bool = False,
    look: Callable[[Cells], None] = lambda cells: None,
) -> Done:
    """Write what a function says of every row of a table, in as much memory as a piece needs.

    Pieces that are there from an earlier run of the same, killed or not, are kept. What is said of a row does not
    depend on who takes it. One piece that is read at once is answered by this process, whoever else there is.

    Args:
        pieces: The table.
        answer: What is said of rows; with `ray` it is pickled.
        out: A file, or a folder, which is to hold a Parquet file for each piece.
        asked: What decides the answers, as plain values, such as the model's checksum.
        shard: Which of how many.
        ray: Address of a Ray cluster whose workers answer, or "local"; "" for this process.
        overwrite: Replace what is there.
        look: Called with the first rows.

    Raises:
        InputError: If the table cannot be read, or `out` not written.
        RunError: If a file changes meanwhile, or the disk is full. What is done stays.
    """
    parts = Parts(out, {**asked, "version": __version__, "files": pieces.identity, "pieces": len(pieces)})
    check_shared(parts, shard, ray=ray, overwrite=overwrite)
    first = next(pieces[0].read())
    look(first)
    if len(pieces) == 1 and pieces[0].num_reads == 1 and shard == ALONE and not parts.are_there:
        found = answer(first, Place(0, 0, many=False))
        write_table(out, found.columns.columns, found.columns, like=found.beside)
        return Done(rows=first.frame.height, told=[found.told])
    make = Answering(pieces, answer, parts, first)
    parts.begin(pieces.files, overwrite=overwrite)
    return make_parts(parts, [piece.weight for piece in pieces], make, shard=shard, ray=ray)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
