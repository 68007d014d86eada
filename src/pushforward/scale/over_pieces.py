"""A function of rows over a table of any length: piece by piece, written as it comes, shared by many processes."""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pushforward import __version__
from pushforward.errors import InputError, require_seed
from pushforward.scale.parts import Parts
from pushforward.scale.rate import Rate
from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table
from pushforward.tables.file_reader import suffix_of
from pushforward.tables.in_pieces.pieces import Piece, Pieces, like_the_first
from pushforward.tables.writers import assemble, style_of_text, write_table

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


Answer = Callable[[Cells, Place], tuple["pl.DataFrame", Table | Cells]]
ALONE = (1, 1)


@dataclass
class Done:
    """What a run over pieces has done.

    Attributes:
        rows: Rows read in this run.
        kept: Pieces that were there from an earlier run.
        missing: Pieces that are not there yet: other shards'.
    """

    rows: int = 0
    kept: int = 0
    missing: int = 0

    @property
    def in_words(self) -> str:
        """What is to be said of other runs' pieces; "" where there are none."""
        kept = f"; {self.kept:,} pieces were there already, which these figures leave out" if self.kept else ""
        return kept + (f"; {self.missing:,} pieces are other shards', and not there yet" if self.missing else "")


def shard_of(text: str) -> tuple[int, int]:
    """Return which shard of how many "2/4" is, (2, 4); (1, 1) for no text.

    Raises:
        InputError: If it is no such text.
    """
    if not text:
        return ALONE
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {text}: is no shard (give 1/4, 2/4, 3/4 and 4/4 to four processes)")
    return int(found[1]), int(found[2])


def over_pieces(
    pieces: Pieces, answer: Answer, out: Path, *, asked: dict[str, Any], shard: tuple[int, int], overwrite: bool
) -> Done:
    """Write what a function says of every row of a table, in as much memory as a piece needs.

    Pieces that are there from an earlier run of the same, killed or not, are kept. Shard i of n takes every n-th piece
    from the i-th on; what is said of a row does not depend on who takes it.

    Args:
        pieces: The table.
        answer: Cells and their place -> columns to be written beside them, and the table to write these beside.
        out: A file, or a folder, which is to hold a Parquet file for each piece.
        asked: What decides the answers, as plain values, such as the model's checksum.
        shard: Which of how many.
        overwrite: Replace what is there.

    Raises:
        InputError: If the table cannot be read, or `out` not written.
        RunError: If a file changes meanwhile, or the disk is full. What is done stays.
    """
    done = Done()
    parts = Parts(out, {**asked, "version": __version__, "files": pieces.identity, "pieces": len(pieces)})
    many = [piece.num_reads for piece in pieces] != [1] or parts.is_folder or shard != ALONE or parts.folder.exists()
    if shard != ALONE and not parts.is_folder:
        raise InputError(f"{out}: is one file, where shards write one for each piece (name a folder with --out)")
    if shard != ALONE and overwrite:
        raise InputError("--overwrite would remove other shards' parts (remove the folder, then start all shards)")
    first = next(next(iter(pieces)).read())
    style = _style(first, out) if parts.is_text else {}
    if not many:
        new, like = answer(first, Place(0, 0, many=False))
        write_table(out, new.columns, new, like=like)
        done.rows = first.frame.height
        return done
    parts.begin(pieces.files, overwrite=overwrite)
    own = [piece for piece in pieces if piece.number % shard[1] == shard[0] - 1]
    left = [piece for piece in own if not parts.path(piece.number).exists()]
    done.kept = len(own) - len(left)
    rate = Rate(sum(piece.weight for piece in left))

    def frames(piece: Piece) -> "Iterator[pl.DataFrame]":
        for batch, cells in enumerate(piece.read()):
            cells = like_the_first(cells, first)
            if parts.is_text and _style(cells, out) != style:
                raise InputError(f"{cells.source}: is written with other marks than {first.source} (write both alike)")
            if len(pieces.files) > 1:
                cells = replace(cells, place=_in_file(cells, piece.file))
            new, like = answer(cells, Place(piece.number, batch, many=True))
            yield assemble(new.columns, new, like, as_text=parts.is_text, source=str(out))
            done.rows += cells.frame.height
            rate.show(done.rows)
        pieces.check_unchanged(piece.file)

    for piece in left:
        parts.write(piece.number, frames(piece), **style)
        rate.passed(piece.weight)
    rate.close()
    done.missing = sum(not parts.path(piece.number).exists() for piece in pieces)
    if not parts.is_folder:
        parts.join(range(len(pieces)))
    return done


def _style(cells: Cells, out: Path) -> dict[str, Any]:
    """Return how a text is written: as the one that is read, or as its suffix says."""
    return style_of_text(cells) or {"separator": "\t" if suffix_of(out).startswith(".tsv") else ","}


def _in_file(cells: Cells, file: Path) -> Callable[[int], str]:
    return lambda row: f"{cells.place(row)} of {file.name}"


def seed_at(seed: int, place: Place) -> int:
    """Return the seed of what is drawn at a place: the same whoever draws it, and another at each."""
    if not place.piece and not place.batch:
        return seed
    return int(np.random.SeedSequence((require_seed(seed), place.piece, place.batch)).generate_state(1)[0])


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
