"""The rows of a long table to learn from: piece by piece, in an order that seed and pass decide."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.in_pieces.judged_rows import JudgedRows, Rules
from pushforward.tables.in_pieces.pieces import ROWS, PieceReader
from pushforward.tables.numeric_table import matrix_of
from pushforward.training.data.batches import LEARNING_ROWS
from pushforward.training.data.stream import Buffer, LeftOut, Stream, add_left_out

if TYPE_CHECKING:
    import polars as pl

BUFFER_ROWS, BUFFER_CELLS = 4 * ROWS, 2**23  # at most, about
FEWEST_LANES = 2  # pieces that are read side by side: a buffer has rows from so many places
MOST_LEFT_OUT = 0.1  # of the rows of a buffer

Learnable: TypeAlias = tuple[np.ndarray, np.ndarray | None]  # x (n, D) and context (n, C)


class RowStream(Stream):
    """All rows of a table but those held out.

    Pieces come in another order in each pass, several side by side; a buffer holds the next rows of each. A row is left
    out, and counted, where a cell breaks a rule that the sample kept: see `JudgedRows`.

    Args:
        table: What is fitted, of which a sample was drawn.
        training: Positions in the sample of the rows that train.
        held: Those of the rows held out.
        learnable: From values to what is learned from.
    """

    def __init__(
        self,
        table: ForFitting,
        training: np.ndarray,
        held: np.ndarray,
        learnable: Callable[["pl.DataFrame"], Learnable],
    ) -> None:
        assert table.sample is not None
        self._table, self._sample, self._learnable, self.validation = table, table.sample, learnable, None
        self._rules = Rules(table.columns)
        self._needed = self._rules.names_in(self._sample.cells)
        self._pieces, self._held = list(self._sample.pieces), self._sample.held(held)
        self.num_rows = self._sample.num_rows - len(held)
        self.head = learnable(self._rules.values[training[:LEARNING_ROWS]])
        self.num_read, self.left_out = 0, LeftOut()
        kinds = [[one.name, vars(one.kind)] for one in table.columns]
        told = [self._sample.pieces.identity, kinds, table.context, table.missing, table.strict, held.tolist()]
        self.digest = {"data": hashlib.sha256(json.dumps(told, default=list).encode()).hexdigest()[:32]}

    def buffers(self, seed: int, number: int, first: int) -> Iterator[Buffer]:
        """See `Stream.buffers`.

        Raises:
            InputError: If a piece is damaged, has other columns than the first, so many rows would be left out that the
                sample does not show what the table is, or strict, and any would be.
            RunError: If a file changes meanwhile.
        """
        lanes: dict[int, PieceReader] = {}
        for reads in self._plan(seed, number)[first:]:
            left_out: LeftOut = {}
            parts = [self._good_rows(self._read(piece, read, lanes), piece, read, left_out) for piece, read in reads]
            context = [part[1] for part in parts if part[1] is not None]
            buffer = Buffer(
                np.concatenate([part[0] for part in parts]), np.concatenate(context) if context else None, left_out
            )
            self._check_few(buffer)
            yield buffer

    def _check_few(self, buffer: Buffer) -> None:
        """Raise InputError if so many rows are left out that the sample says nothing of them."""
        out = sum(number for number, _ in buffer.left_out.values())
        if out > MOST_LEFT_OUT * (out + len(buffer.x)):
            what, (number, example) = max(buffer.left_out.items(), key=lambda item: item[1][0])
            raise InputError(
                f"{self._table.source}: {out:,} of {out + len(buffer.x):,} rows that were read are not like the sample:"
                f" in {number:,} {what} (such as {example}; say what kind it is, leave the column out, or read all rows"
                " into memory: stream=False, --no-stream)"
            )

    def _plan(self, seed: int, number: int) -> list[list[tuple[int, int]]]:
        """Return which reads of which pieces make each buffer of a pass."""
        sizes = [piece.num_reads for piece in self._pieces]
        a_read = max(sum(piece.size for piece in self._pieces), 1) / sum(sizes)
        many = min(BUFFER_CELLS / a_read, BUFFER_ROWS * sum(sizes) / max(self._sample.num_rows, 1))
        num_lanes = max(int(many + 0.5), FEWEST_LANES)
        waiting = np.random.default_rng((seed, number)).permutation(len(sizes)).tolist()
        lanes: list[tuple[int, int]] = []  # pieces, and which of their reads comes next
        found = []
        while lanes or waiting:
            while waiting and len(lanes) < num_lanes:
                lanes.append((waiting.pop(), 0))
            found.append(lanes)
            lanes = [(piece, read + 1) for piece, read in lanes if read + 1 < sizes[piece]]
        return found

    def _read(self, number: int, read: int, lanes: dict[int, PieceReader]) -> Cells:
        """Return the rows of one read of a piece."""
        piece = self._pieces[number]
        if number not in lanes:
            lanes[number] = PieceReader(piece, self._needed)
        cells = lanes[number](read)
        assert cells is not None
        self._sample.pieces.check_unchanged(piece.file)
        if read + 1 == piece.num_reads:
            del lanes[number]
        return self._sample.pieces.placed(cells, piece)

    def _good_rows(self, cells: Cells, piece: int, read: int, left_out: LeftOut) -> Learnable:
        """Return the rows that are learned from, and count those that are left out."""
        cells = replace(cells, known_style=(self._sample.cells.style,))
        rows = JudgedRows(cells, self._held.get((piece, read), np.empty(0, dtype=int)))
        values = rows.judged(self._rules, missing=self._table.missing)
        if self._table.strict and rows.left_out:
            what, (_, example) = next(iter(rows.left_out.items()))
            raise InputError(f"{cells.source}: {what}, such as {example} (--strict leaves no row out: correct it)")
        add_left_out(left_out, rows.left_out)
        return self._learnable(values)


def stream_of(
    table: ForFitting, positions: Sequence[np.ndarray], learnable: Callable[["pl.DataFrame"], Learnable]
) -> RowStream | None:
    """Return the training rows of a table that is read piece by piece; None of one in memory.

    Args:
        table: What is fitted.
        positions: In the sample: of rows that train, validate and test.
        learnable: From values to what is learned from.
    """
    if table.sample is None:
        return None
    return RowStream(table, positions[0], np.concatenate(positions[1:]), learnable)


def numbers_to_learn(modelled: Sequence[str], context: Sequence[str], frame: "pl.DataFrame") -> Learnable:
    """Return values of rows as a flow learns from them."""
    return matrix_of(frame, modelled), matrix_of(frame, context) if context else None
