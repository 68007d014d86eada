"""Where the batches of a run come from: rows in memory drawn by index, a user's loader, or nothing at all."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor

from pushforward.errors import InputError
from pushforward.losses import Batch
from pushforward.training.rows import Form, OwnSamples, Rows, joined, loader_batch

LEAST_BATCH, MOST_BATCH = 32, 512
LEARNING_ROWS = 100_000  # rows that a model's `initialize` sees at most,
LEARNING_NUMBERS = 10_000_000  # and numbers in them: 12,755 images of 784 pixels
LOADER_ROWS = 16_384  # the same where they have to be taken from a loader
EVALUATED_SAMPLES = 2048  # that a loss without data is evaluated on
NOT_RESUMABLE = "a run on a loader or generator cannot be resumed: give tensors or arrays as data."


class Batches(Protocol):
    """What a run asks of any source of batches.

    Attributes:
        batch_size: Rows in a batch.
        rows: Those in memory, whose losses are checked before the first step.
        resumable: Whether the source can go to a position.
    """

    batch_size: int
    resumable: bool

    @property
    def rows(self) -> Rows | OwnSamples: ...  # noqa: D102

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches in a pass through the data, or None where there is no end or none that is known."""

    def next(self) -> Batch:
        """Return the next batch."""

    def peek(self) -> Batch:
        """Return a batch to measure with, which does not count."""

    def head(self) -> Rows | None:
        """Return the rows that a model learns its start from, or None without data."""

    def position(self) -> dict[str, Any]:
        """Return what `seek` needs to come back here."""

    def seek(self, position: dict[str, Any]) -> None:
        """Go to a position. The generator is moved, too, and has to be put right afterwards."""


class RowBatches:
    """Batches of one size from rows in memory, shuffled without replacement in each epoch.

    The rows left over at the end of an epoch wait for the next shuffle. The position is the generator's state when the
    epoch was shuffled, and how many batches of it are gone.

    Args:
        rows: The training rows.
        batch_size: Rows a batch, all of them where there are fewer; None for a tenth of them, from 32 to 512.
        generator: Source of the shuffles and of the dequantization noise.
    """

    resumable = True

    def __init__(self, rows: Rows, batch_size: int | None, generator: torch.Generator) -> None:
        self.rows, self.generator = rows, generator
        self.batch_size = min(batch_size or min(max(len(rows) // 10, LEAST_BATCH), MOST_BATCH), len(rows))
        self.steps_per_epoch = len(rows) // self.batch_size
        self.taken = 0
        self._shuffle()

    def _shuffle(self) -> None:
        self.before_shuffle = self.generator.get_state()
        order = torch.randperm(len(self.rows), generator=self.generator, device=self.generator.device)
        self._parts = order.split(self.batch_size)

    def next(self) -> Batch:
        """Return the next batch."""
        if self.taken == self.steps_per_epoch:
            self.taken = 0
            self._shuffle()
        self.taken += 1
        return self.rows.batch(self._parts[self.taken - 1], self.generator)

    def peek(self) -> Batch:
        """Return a batch to measure with, which does not count."""
        return self.rows.batch(slice(0, self.batch_size), _like(self.generator))

    def head(self) -> Rows:
        """Return the rows that a model learns its start from."""
        numbers = 1 if self.rows.x is None else max(self.rows.x[0].numel(), 1)
        most = min(LEARNING_ROWS, max(LEARNING_NUMBERS // numbers, 2))
        if len(self.rows) <= most:
            return self.rows
        order = torch.randperm(len(self.rows), generator=_like(self.generator), device=self.generator.device)
        return self.rows.take(order[:most])

    def position(self) -> dict[str, Any]:
        """Return what `seek` needs to come back here."""
        return {"before_shuffle": self.before_shuffle, "taken": self.taken}

    def seek(self, position: dict[str, Any]) -> None:
        """Go to a position; the generator is left where the epoch's shuffle left it."""
        self.generator.set_state(position["before_shuffle"])
        self._shuffle()
        self.taken = position["taken"]


class EmptyBatches:
    """Batches without data, for losses that draw their own samples."""

    resumable = True
    steps_per_epoch = None

    def __init__(self, batch_size: int | None, device: torch.device) -> None:
        self.batch_size = batch_size or MOST_BATCH
        self.rows = OwnSamples(EVALUATED_SAMPLES, device)

    def next(self) -> Batch:
        """Return an empty batch of the given size."""
        return Batch(None, None, None, self.batch_size)

    peek = next

    def head(self) -> None:
        """Return None: there are no rows to learn a start from."""

    def position(self) -> dict[str, Any]:
        """Return a position; there is only one."""
        return {}

    def seek(self, position: dict[str, Any]) -> None:
        """Go nowhere."""


class LoaderBatches:
    """Batches from a user's loader of `x` or `(x, y)`, gone through again and again.

    The first batches are read ahead, for the model's `initialize` and the check of the initial losses, and then used.
    """

    resumable = False

    def __init__(self, loader: Iterable[Any], form: Form, generator: torch.Generator) -> None:
        self.loader, self.form, self.generator = loader, form, generator
        try:
            self.steps_per_epoch: int | None = len(loader)  # type: ignore[arg-type]
        except TypeError:  # a generator, or a loader that cannot know
            self.steps_per_epoch = None
        iterator = iter(loader)
        self._once = iterator is loader
        items = (loader_batch(item, form, "data") for item in iterator)
        ahead: list[tuple[Tensor, Tensor | None]] = []
        while sum(len(x) for x, _ in ahead) < LOADER_ROWS and (item := next(items, None)) is not None:
            ahead.append(item)
        if not ahead:
            raise InputError("data has no batches.")
        self.batch_size = len(ahead[0][0])
        self.rows = joined(ahead, form)
        self._items: Iterator[tuple[Tensor, Tensor | None]] = chain(ahead, items)

    def next(self) -> Batch:
        """Return the next batch, from the loader's beginning again after its end."""
        item = next(self._items, None)
        if item is None:
            if self._once:
                raise InputError(
                    "data is a generator and has ended before num_steps: give a loader that can start again."
                )
            self._items = (loader_batch(item, self.form, "data") for item in self.loader)
            item = next(self._items, None)
            if item is None:
                raise InputError("data has no batches the second time: give a loader that can start again.")
        return joined([item], self.form).batch(slice(None), self.generator)

    def peek(self) -> Batch:
        """Return a batch to measure with, which does not count."""
        return self.rows.batch(slice(0, self.batch_size), _like(self.generator))

    def head(self) -> Rows:
        """Return the rows read ahead."""
        return self.rows

    def position(self) -> dict[str, Any]:
        """Refuse: a loader cannot say where it is."""
        raise InputError(NOT_RESUMABLE)

    def seek(self, position: dict[str, Any]) -> None:
        """Refuse: a loader cannot go to a position."""
        raise InputError(NOT_RESUMABLE)


def _like(generator: torch.Generator) -> torch.Generator:
    """Return a generator of its own on the same device, with a fixed seed."""
    return torch.Generator(generator.device).manual_seed(0)
