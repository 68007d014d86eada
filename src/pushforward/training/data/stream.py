"""Rows that do not fit into memory: a buffer of them after the other, shuffled, the next one read ahead."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import RunError
from pushforward.training.data.batches import RowBatches, learned_from, usual_batch_size
from pushforward.training.data.form import Form
from pushforward.training.data.rows import Rows

CHECKED_ROWS = 16_384  # whose losses are checked before the first step
LeftOut: TypeAlias = dict[str, list[Any]]  # what is wrong -> how many rows, and one of them


class Buffer(NamedTuple):
    """Some rows of a pass.

    Attributes:
        x: (n, D).
        context: (n, C), or None.
        left_out: Rows that are not among them because of what they hold.
    """

    x: np.ndarray
    context: np.ndarray | None = None
    left_out: LeftOut = MappingProxyType({})  # type: ignore[assignment]


class Stream(ABC):
    """Rows that `fit` takes as data, and reads again in every pass.

    Attributes:
        num_rows: How many train, as far as is known beforehand: so many make an epoch.
        digest: By which a checkpoint knows the data, plain values.
        head: Rows (x, context) from all over the data, in no order, from which a model learns its start.
        validation: Rows (x, context), which are in no buffer, to validate on unless `fit` is given others; or None.
        num_read: Rows of the first pass that have come, those left out among them.
        left_out: Of these, the rows that were left out because of what they hold.
    """

    num_rows: int
    digest: dict[str, Any]
    head: tuple[np.ndarray, np.ndarray | None]
    validation: tuple[np.ndarray, np.ndarray | None] | None
    num_read: int
    left_out: LeftOut

    @abstractmethod
    def buffers(self, seed: int, number: int, first: int) -> Iterator[Buffer]:
        """Yield the buffers of a pass from one on, in an order that the seed and the pass decide.

        Args:
            seed: Of the run.
            number: Of the pass, from 0.
            first: Number of the first buffer, from 0.
        """


class _Ready(NamedTuple):
    """A buffer that batches may be taken from.

    Attributes:
        place: Its pass, and its number there.
        before: Rows left over from the buffers before, which are its first.
        rows: All its rows, in their form.
        order: Theirs.
        num_read: How many rows were read for it, in the first pass.
        left_out: Which of these were left out.
        seen: What someone else keeps of its rows.
    """

    place: tuple[int, int]
    before: Buffer | None
    rows: Rows
    order: Tensor
    num_read: int
    left_out: LeftOut
    seen: Any


class StreamBatches(RowBatches):
    """Batches of one size from buffers of rows, each shuffled; a thread reads the next one meanwhile.

    Rows left over at the end of a buffer, fewer than a batch, are the first of the next one, in the next pass, too. The
    position is the pass, the buffer, the rows left over before it, and how many batches of it are gone: shuffles depend
    on pass and buffer and the seed alone.

    Args:
        stream: The rows.
        batch_size: As in `RowBatches`.
        form: The form in which the model wants them.
        generator: Of the seed, and of the dequantization noise.
    """

    def __init__(self, stream: Stream, batch_size: int | None, form: Form, generator: torch.Generator) -> None:
        self.stream, self.form, self.generator = stream, form, generator
        self._seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        self._start = Rows.read(*stream.head, None, form)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="rows ahead")
        self._see: Callable[[Rows], Any] | None = None
        self._use: Callable[[Any], None] | None = None
        self.batch_size = min(batch_size or usual_batch_size(stream.num_rows), stream.num_rows)
        self.steps_per_epoch = stream.num_rows // self.batch_size
        self.taken, stream.num_read, stream.left_out = 0, 0, {}
        self._turn_to(self._read_from((0, 0), None).result())

    @property
    def checked(self) -> Rows:
        """The rows whose losses are checked before the first step."""
        return self._start.take(torch.arange(min(len(self._start), CHECKED_ROWS), device=self.form.device))

    def head(self) -> Rows:
        """Return the rows that a model learns its start from."""
        return learned_from(self._start, self.generator.device)

    def hand_on(self, see: Callable[[Rows], Any], use: Callable[[Any], None]) -> None:
        """Let someone who keeps rows in a form of its own know of each buffer that comes.

        Args:
            see: Puts rows into that form, on the thread that reads.
            use: Told of them once batches come from their buffer.
        """
        self._see, self._use = see, use

    def close(self) -> None:
        """Let go of the thread and what it has read."""
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._see = self._use = None

    def _read_from(self, place: tuple[int, int], before: Buffer | None) -> "Future[_Ready]":
        """Begin to read at a buffer of a pass, on the other thread, which alone knows where it reads."""

        def begin() -> _Ready:
            self._left, self._place = before, (place[0], place[1] - 1)
            self._coming = self.stream.buffers(self._seed, *place)
            return self._read()

        return self._reader.submit(begin)

    def _read(self) -> _Ready:
        """Return the next buffer that has a batch, together with the rows left over before."""
        num_read, left_out, ends = 0, LeftOut(), 0
        while ends < 2:
            (number, last), before = self._place, self._left
            buffer = next(self._coming, None)
            if buffer is None:
                ends += 1
                self._place, self._coming = (number + 1, -1), self.stream.buffers(self._seed, number + 1, 0)
                continue
            self._place = (number, last + 1)
            if number == 0:
                num_read += len(buffer.x) + sum(many for many, _ in buffer.left_out.values())
                add_left_out(left_out, buffer.left_out)
            ends = 0 if len(buffer.x) else ends
            both = buffer if before is None else _below_one_another(before, buffer)
            if len(both.x) < self.batch_size:
                self._left = both
                continue
            order = np.random.default_rng((self._seed, *self._place)).permutation(len(both.x))
            rest = order[len(order) // self.batch_size * self.batch_size :]
            self._left = Buffer(both.x[rest], None if both.context is None else both.context[rest])
            rows = Rows.read(both.x, both.context, None, self.form)
            seen = None if self._see is None else self._see(rows)
            in_order = torch.from_numpy(order).to(self.form.device)
            return _Ready(self._place, before, rows, in_order, num_read, left_out, seen)
        raise RunError("data: a whole pass has no row to train on")

    def _shuffle(self) -> None:
        self._turn_to(self._next.result())

    def _turn_to(self, ready: _Ready) -> None:
        """Take batches from a buffer from now on, and begin to read the next one."""
        self._next = self._reader.submit(self._read)
        self._at, self._before, self.rows, self._order = ready.place, ready.before, ready.rows, ready.order
        self.stream.num_read += ready.num_read
        add_left_out(self.stream.left_out, ready.left_out)
        if self._see is not None and self._use is not None:
            self._use(self._see(self.rows) if ready.seen is None else ready.seen)

    def position(self) -> dict[str, Any]:
        """Return what `seek` needs to come back here."""
        before = {} if self._before is None else {"x": torch.from_numpy(self._before.x)}
        if self._before is not None and self._before.context is not None:
            before["context"] = torch.from_numpy(self._before.context)
        return {
            "place": list(self._at), "before": before, "taken": self.taken, "num_read": self.stream.num_read,
            "left_out": self.stream.left_out,
        }  # fmt: skip

    def seek(self, position: dict[str, Any]) -> None:
        """Go to a position: what a pass has before it is passed over, as far as it can be without reading it."""
        if self._at != tuple(position["place"]):
            before = {name: value.numpy() for name, value in position["before"].items()}
            ready = self._read_from(tuple(position["place"]), Buffer(**before) if before else None).result()
            self._turn_to(ready)
        self.taken, self.stream.num_read = position["taken"], position["num_read"]
        self.stream.left_out = dict(position["left_out"])


def _below_one_another(one: Buffer, other: Buffer) -> Buffer:
    x = np.concatenate((one.x, other.x))
    if one.context is None or other.context is None:
        return Buffer(x)
    return Buffer(x, np.concatenate((one.context, other.context)))


def add_left_out(total: LeftOut, more: LeftOut) -> None:
    """Count more rows that were left out."""
    for what, (number, example) in more.items():
        total[what] = [total[what][0] + number, total[what][1]] if what in total else [number, example]
