"""What a run asks of any source of batches; batches of rows in memory, and batches without data."""

from typing import Any, Protocol

import torch
from torch import Tensor

from pushforward.losses import Batch
from pushforward.training.data.rows import OwnSamples, Rows
from pushforward.training.random_states import fixed_noise

LEAST_BATCH, MOST_BATCH = 32, 512
LEARNING_ROWS = 100_000  # rows that a model's `initialize` sees at most,
LEARNING_NUMBERS = 10_000_000  # and numbers in them: 12,755 images of 784 pixels
EVALUATED_SAMPLES = 2048  # that a loss without data is evaluated on


class Batches(Protocol):
    """What a run asks of any source of batches.

    Attributes:
        batch_size: Rows in a batch.
        checked: Rows whose losses are checked before the first step.
        resumable: Whether the source can go to a position.
    """

    batch_size: int
    resumable: bool

    @property
    def checked(self) -> Rows | OwnSamples: ...  # noqa: D102

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
        self.batch_size = min(batch_size or usual_batch_size(len(rows)), len(rows))
        self.steps_per_epoch = len(rows) // self.batch_size
        self.taken = 0
        self._shuffle()

    @property
    def checked(self) -> Rows:
        """The rows whose losses are checked before the first step."""
        return self.rows

    def _shuffle(self) -> None:
        self.before_shuffle = self.generator.get_state()
        self._order = torch.randperm(len(self.rows), generator=self.generator, device=self.generator.device)

    def next(self) -> Batch:
        """Return the next batch."""
        return self.batch(self.next_index())

    def next_index(self) -> Tensor:
        """Return the numbers of the rows of the next batch, (batch_size,)."""
        return self.next_indices(1)[0]

    def next_indices(self, most: int) -> Tensor:
        """Return those of as many batches, but no more than are left of the epoch: (number, batch_size)."""
        if self.taken == len(self._order) // self.batch_size:
            self.taken = 0
            self._shuffle()
        first, self.taken = self.taken, min(self.taken + most, len(self._order) // self.batch_size)
        return self._order[first * self.batch_size : self.taken * self.batch_size].view(-1, self.batch_size)

    def batch(self, index: Tensor) -> Batch:
        """Return rows as the loss sees them, with fresh noise."""
        return self.rows.batch(index, self.generator)

    def peek(self) -> Batch:
        """Return a batch to measure with, which does not count."""
        return self.rows.batch(slice(0, self.batch_size), fixed_noise(self.generator.device))

    def first_index(self) -> Tensor:
        """Return the numbers of the rows of that batch."""
        return torch.arange(self.batch_size, device=self.generator.device)

    def head(self) -> Rows:
        """Return the rows that a model learns its start from."""
        return learned_from(self.rows, self.generator.device)

    def position(self) -> dict[str, Any]:
        """Return what `seek` needs to come back here."""
        return {"before_shuffle": self.before_shuffle, "taken": self.taken}

    def seek(self, position: dict[str, Any]) -> None:
        """Go to a position; the generator is left where the epoch's shuffle left it."""
        self.generator.set_state(position["before_shuffle"])
        self._shuffle()
        self.taken = position["taken"]


def learned_from(rows: Rows, device: torch.device) -> Rows:
    """Return the rows that a model learns its start from: some of them where they are many."""
    numbers = 1 if rows.x is None else max(rows.x[0].numel(), 1)
    most = min(LEARNING_ROWS, max(LEARNING_NUMBERS // numbers, 2))
    if len(rows) <= most:
        return rows
    order = torch.randperm(len(rows), generator=fixed_noise(device), device=device)
    return rows.take(order[:most])


def usual_batch_size(num_rows: int) -> int:
    """Return how many rows a batch has unless told: a tenth of them, from 32 to 512."""
    return min(max(num_rows // 10, LEAST_BATCH), MOST_BATCH)


class EmptyBatches:
    """Batches without data, for losses that draw their own samples."""

    resumable = True
    steps_per_epoch = None

    def __init__(self, batch_size: int | None, device: torch.device) -> None:
        self.batch_size = batch_size or MOST_BATCH
        self.checked = OwnSamples(EVALUATED_SAMPLES, device)

    def next(self) -> Batch:
        """Return an empty batch of the given size."""
        return Batch(None, None, None, self.batch_size)

    peek = next

    def next_index(self) -> Tensor:
        """Return no numbers: there are no rows."""
        return self.checked.index[:0]

    first_index = next_index

    def batch(self, index: Tensor) -> Batch:
        """Return an empty batch of the given size."""
        return self.next()

    def head(self) -> None:
        """Return None: there are no rows to learn a start from."""

    def position(self) -> dict[str, Any]:
        """Return a position; there is only one."""
        return {}

    def seek(self, position: dict[str, Any]) -> None:
        """Go nowhere."""
