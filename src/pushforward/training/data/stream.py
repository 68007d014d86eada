"""Rows that do not fit into memory: a buffer of them after the other, shuffled, the next one read ahead."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import RunError
from pushforward.training.data.batches import RowBatches, usual_batch_size
from pushforward.training.data.form import Form
from pushforward.training.data.rows import Rows

CHECKED_ROWS = 16_384  # of the first buffer, whose losses are checked before the first step
LeftOut: TypeAlias = dict[str, list[Any]]  # what is wrong -> how many rows, and one of them


@dataclass
class Buffer:
    """Some rows of a pass.

    Attributes:
        x: (n, D).
        context: (n, C), or None.
        left_out: Rows that are not among them because of what they hold.
    """

    x: np.ndarray
    context: np.ndarray | None = None
    left_out: LeftOut = field(default_factory=dict)


class Stream(ABC):
    """Rows that `fit` takes as data, and reads again in every pass.

    Attributes:
        num_rows: How many train, as far as is known beforehand: so many make an epoch.
        digest: By which a checkpoint knows the data, plain values.
        validation: Rows `x` or `(x, context)`, which are in no buffer, to validate on unless `fit` is given others; or
            None.
        left_out: Rows of the first pass, as far as batches have come, that were left out because of what they hold.
    """

    num_rows: int
    digest: dict[str, Any]
    validation: Any
    left_out: LeftOut

    @abstractmethod
    def buffers(self, seed: int, number: int, first: int) -> Iterator[Buffer]:
        """Yield the buffers of a pass from one on, in an order that the seed and the pass decide.

        Args:
            seed: Of the run.
            number: Of the pass, from 0.
            first: Number of the first buffer, from 0.
        """


@dataclass
class _Ready:
    """A buffer with its place, its rows in their form and their order, and what someone else keeps of them."""

    place: tuple[int, int]
    rows: Rows
    order: Tensor
    left_out: LeftOut
    seen: Any


class StreamBatches(RowBatches):
    """Batches of one size from buffers of rows, each shuffled; a thread reads the next one meanwhile.

    Rows left over at the end of a buffer wait for the next pass. The position is the pass, the buffer and how many
    batches of it are gone: shuffles depend on these and the seed alone.

    Args:
        stream: The rows.
        batch_size: As in `RowBatches`.
        form: The form in which the model wants them.
        generator: Of the seed, and of the dequantization noise.
    """

    def __init__(self, stream: Stream, batch_size: int | None, form: Form, generator: torch.Generator) -> None:
        self.stream, self.form, self.generator = stream, form, generator
        self._seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="rows ahead")
        self._see: Callable[[Rows], Any] | None = None
        self._use: Callable[[Any], None] | None = None
        self.batch_size = 1
        first = self._read_from(0, 0).result()
        self.batch_size = min(batch_size or usual_batch_size(stream.num_rows), len(first.rows))
        self.steps_per_epoch = max(stream.num_rows // self.batch_size, 1)
        self.taken = 0
        stream.left_out = {}
        self._turn_to(first)

    @property
    def checked(self) -> Rows:
        """The rows whose losses are checked before the first step."""
        return self.rows.take(torch.arange(min(len(self.rows), CHECKED_ROWS), device=self.form.device))

    def hand_on(self, see: Callable[[Rows], Any], use: Callable[[Any], None]) -> None:
        """Let someone who keeps rows in a form of its own know of each buffer that comes.

        Args:
            see: Puts rows into that form, on the thread that reads.
            use: Told of them once batches come from their buffer.
        """
        self._see, self._use = see, use

    def _read_from(self, number: int, first: int) -> Future[_Ready]:
        """Begin to read a pass at a buffer, on the other thread, which alone knows where it reads."""

        def begin() -> _Ready:
            self._place, self._coming = (number, first - 1), self.stream.buffers(self._seed, number, first)
            return self._read()

        return self._reader.submit(begin)

    def _read(self) -> _Ready:
        """Return the next buffer that has a batch."""
        left_out: LeftOut = {}
        ends = 0
        while ends < 2:
            number, last = self._place
            buffer = next(self._coming, None)
            if buffer is None:
                ends += 1
                self._place, self._coming = (number + 1, -1), self.stream.buffers(self._seed, number + 1, 0)
                continue
            self._place = (number, last + 1)
            if number == 0:
                add_left_out(left_out, buffer.left_out)
            if len(buffer.x) < self.batch_size:
                continue
            rows = Rows.read(buffer.x, buffer.context, None, self.form)
            order = np.random.default_rng((self._seed, *self._place)).permutation(len(rows))
            seen = None if self._see is None else self._see(rows)
            return _Ready(self._place, rows, torch.from_numpy(order).to(self.form.device), left_out, seen)
        raise RunError("data: no buffer of a whole pass has the rows of a batch (give a smaller batch_size)")

    def _shuffle(self) -> None:
        self._turn_to(self._next.result())

    def _turn_to(self, ready: _Ready) -> None:
        """Take batches from a buffer from now on, and begin to read the next one."""
        self._next = self._reader.submit(self._read)
        self._at, self.rows, self._order = ready.place, ready.rows, ready.order
        add_left_out(self.stream.left_out, ready.left_out)
        if self._see is not None and self._use is not None:
            self._use(self._see(self.rows) if ready.seen is None else ready.seen)

    def position(self) -> dict[str, Any]:
        """Return what `seek` needs to come back here."""
        return {"place": list(self._at), "taken": self.taken, "left_out": self.stream.left_out}

    def seek(self, position: dict[str, Any]) -> None:
        """Go to a position: what a pass has before it is passed over, as far as it can be without reading it."""
        if self._at != tuple(position["place"]):
            self._turn_to(self._read_from(*position["place"]).result())
        self.taken, self.stream.left_out = position["taken"], dict(position["left_out"])


def add_left_out(total: LeftOut, more: LeftOut) -> None:
    """Count more rows that were left out."""
    for what, (number, example) in more.items():
        total[what] = [total[what][0] + number, total[what][1]] if what in total else [number, example]
