"""The rows of a long table to learn from: piece by piece, in an order that seed and pass decide."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.in_pieces.judged_rows import JudgedRows
from pushforward.tables.in_pieces.pieces import Piece, like_the_first
from pushforward.tables.numeric_table import matrix_of
from pushforward.tables.rows_of_model import HasKind, values_of
from pushforward.training.data.stream import Buffer, LeftOut, Stream, add_left_out

if TYPE_CHECKING:
    import polars as pl

MOST_LANES, FEWEST_LANES = 4, 2  # pieces that are read side by side: a buffer has rows from so many places
BUFFER_CELLS = 2**23


class Learnable(NamedTuple):
    """Rows as a network takes them.

    Attributes:
        x: (n, D).
        context: (n, C), or None.
        unknown: Which rows hold a category that the sample never had, (n,), by the column's name; None: none does.
    """

    x: np.ndarray
    context: np.ndarray | None = None
    unknown: Mapping[str, np.ndarray] | None = None


@dataclass
class _Lane:
    """A piece that is being read: the rows that are still to come, and how often it has given some."""

    coming: Iterator[Cells]
    reads: int = 0


class RowStream(Stream):
    """All rows of a table but those held out.

    Pieces come in another order in each pass, up to four side by side; a buffer holds the next rows of each. A row is
    left out, and counted, where a cell is no value of its column's kind, is missing and no cell of the sample is, or is
    a category that the sample never had.

    Args:
        table: What is fitted, of which a sample was drawn.
        held: Positions in the sample of the rows held out.
        learnable: From values to what is learned from.
        validation: As in `Stream`.
    """

    def __init__(
        self,
        table: ForFitting,
        held: np.ndarray,
        learnable: Callable[["pl.DataFrame"], Learnable],
        validation: Any = None,
    ) -> None:
        assert table.sample is not None
        self._table, self._sample, self._learnable, self.validation = table, table.sample, learnable, validation
        self._columns: dict[str, HasKind] = {one.name: one for one in table.columns}
        self._whole = [one.name for one in table.columns if not one.values.null_count()]
        self._pieces, self._held = list(self._sample.pieces), self._sample.held(held)
        self.num_rows = self._sample.num_rows - len(held)
        self.left_out: LeftOut = {}
        told = json.dumps([self._sample.pieces.identity, list(self._columns), sorted(held.tolist())])
        self.digest = {"data": hashlib.sha256(told.encode()).hexdigest()[:32]}

    def buffers(self, seed: int, number: int, first: int) -> Iterator[Buffer]:
        """See `Stream.buffers`.

        Raises:
            InputError: If a piece is damaged, has other columns than the first, or strict, and a row would be left out.
            RunError: If a file changes meanwhile.
        """
        lanes: dict[int, _Lane] = {}
        for reads in self._plan(seed, number)[first:]:
            left_out: LeftOut = {}
            parts = [
                self._good_rows(cells, self._pieces[piece], read, left_out)
                for piece, read in reads
                for cells in self._read(piece, read, lanes)
            ]
            context = [part.context for part in parts if part.context is not None]
            yield Buffer(
                np.concatenate([part.x for part in parts]), np.concatenate(context) if context else None, left_out
            )

    def _plan(self, seed: int, number: int) -> list[list[tuple[int, int]]]:
        """Return which reads of which pieces make each buffer of a pass."""
        sizes = [piece.num_reads for piece in self._pieces]
        a_read = max(sum(piece.size for piece in self._pieces) / sum(sizes), 1)
        num_lanes = min(max(int(BUFFER_CELLS / a_read), FEWEST_LANES), MOST_LANES)
        waiting = np.random.default_rng((seed, number)).permutation(len(sizes)).tolist()
        lanes: list[tuple[int, int]] = []  # pieces, and which of their reads comes next
        found = []
        while lanes or waiting:
            while waiting and len(lanes) < num_lanes:
                lanes.append((waiting.pop(), 0))
            found.append(lanes)
            lanes = [(piece, read + 1) for piece, read in lanes if read + 1 < sizes[piece]]
        return found

    def _read(self, number: int, read: int, lanes: dict[int, _Lane]) -> Iterator[Cells]:
        """Yield the rows of one read of a piece; its last takes whatever there is."""
        piece = self._pieces[number]
        lane = lanes.setdefault(number, _Lane(piece.read()))
        is_last, before = read + 1 == piece.num_reads, read - lane.reads
        yield from islice(lane.coming, before, None if is_last else before + 1)
        lane.reads = read + 1
        self._sample.pieces.check_unchanged(piece.file)
        if is_last:
            del lanes[number]

    def _good_rows(self, cells: Cells, piece: Piece, read: int, left_out: LeftOut) -> Learnable:
        """Return the rows that are learned from, and count those that are left out."""
        cells = like_the_first(cells, self._sample.cells)
        file = f" of {piece.file.name}" if len(self._sample.pieces.files) > 1 else ""
        rows = JudgedRows(cells, self._held.get((piece.number, read), np.empty(0, dtype=int)), file)
        frame = values_of(cells, self._columns, list(self._columns), missing=self._table.missing, refuse=rows.refuse)
        for name in self._whole:
            rows.require(name, frame[name])
        found, kept = self._learnable(frame.filter(~rows.out)), np.flatnonzero(~rows.out)
        if found.unknown:
            for name, unknown in found.unknown.items():
                rows.know(name, kept[unknown])
            known = ~np.logical_or.reduce(list(found.unknown.values()))
            found = Learnable(found.x[known], None if found.context is None else found.context[known])
        if self._table.strict and rows.left_out:
            what, (_, example) = next(iter(rows.left_out.items()))
            raise InputError(f"{cells.source}: {what}, such as {example} (--strict leaves no row out: correct it)")
        add_left_out(left_out, rows.left_out)
        return found


def stream_of(
    table: ForFitting, positions: Sequence[np.ndarray], learnable: Callable[["pl.DataFrame"], Learnable]
) -> RowStream | None:
    """Return the training rows of a table that is read piece by piece; None of one in memory.

    Args:
        table: What is fitted.
        positions: In the sample: of rows that train, validate and test.
        learnable: From values to what is learned from.
    """
    return None if table.sample is None else RowStream(table, np.concatenate(positions[1:]), learnable)


def numbers_to_learn(modelled: Sequence[str], context: Sequence[str], frame: "pl.DataFrame") -> Learnable:
    """Return values of rows as a flow learns from them."""
    return Learnable(matrix_of(frame, modelled), matrix_of(frame, context) if context else None)
