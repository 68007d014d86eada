"""Where the batches of a run come from: rows in memory drawn by index, a user's loader, or nothing at all."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import InputError
from pushforward.losses import Batch
from pushforward.training.rows import Form, Rows, is_array, loader_batch, read_loader

LEAST_BATCH, MOST_BATCH = 32, 512
MOST_SPLIT = 20_000  # validation rows taken from the data: more would tell little and cost training rows
LEARNING_ROWS = 100_000  # rows that a model's `initialize` sees at most,
LEARNING_NUMBERS = 10_000_000  # and numbers in them: 12,755 images of 784 pixels
LOADER_ROWS = 16_384  # the same where they have to be taken from a loader


class RowBatches:
    """Batches of one size from rows in memory, shuffled without replacement in each epoch.

    The rows left over at the end of an epoch wait for the next shuffle. The position is the generator's state when the
    epoch was shuffled, and how many batches of it are gone.

    Args:
        rows: The training rows.
        batch_size: Rows a batch; all of them where there are fewer.
        generator: Source of the shuffles and of the dequantization noise.
    """

    resumable = True

    def __init__(self, rows: Rows, batch_size: int, generator: torch.Generator) -> None:
        self.rows, self.generator = rows, generator
        self.batch_size = min(batch_size, len(rows))
        self.steps_per_epoch = len(rows) // self.batch_size
        self.taken = 0
        self._shuffle()

    def _shuffle(self) -> None:
        self.epoch_state = self.generator.get_state()
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

    def position(self) -> tuple[Tensor, int]:
        """Return what `seek` needs to come back here."""
        return self.epoch_state, self.taken

    def seek(self, epoch_state: Tensor, taken: int) -> None:
        """Go to a position; the generator is left where the epoch's shuffle left it."""
        self.generator.set_state(epoch_state)
        self._shuffle()
        self.taken = taken


class NoData:
    """Batches without data, for losses that draw their own samples."""

    resumable = True
    steps_per_epoch = None

    def __init__(self, batch_size: int, generator: torch.Generator) -> None:
        self.batch_size, self._state = batch_size, generator.get_state()

    def next(self) -> Batch:
        """Return an empty batch of the given size."""
        return Batch(None, None, None, self.batch_size)

    peek = next

    def position(self) -> tuple[Tensor, int]:
        """Return a position; there is only one."""
        return self._state, 0

    def seek(self, epoch_state: Tensor, taken: int) -> None:
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
        self._head = self._rows(ahead)
        self._items: Iterator[tuple[Tensor, Tensor | None]] = chain(ahead, items)

    def _rows(self, items: list[tuple[Tensor, Tensor | None]]) -> Rows:
        x = torch.cat([x for x, _ in items])
        context = (
            torch.cat([context for _, context in items if context is not None]) if items[0][1] is not None else None
        )
        return Rows(x, context, None, self.form, torch.arange(len(x), device=x.device))

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
        return self._rows([item]).batch(slice(None), self.generator)

    def peek(self) -> Batch:
        """Return a batch to measure with, which does not count."""
        return self._head.batch(slice(0, self.batch_size), _like(self.generator))

    def head(self) -> Rows:
        """Return the rows read ahead."""
        return self._head


def _like(generator: torch.Generator) -> torch.Generator:
    """Return a generator of its own on the same device, with a fixed seed."""
    return torch.Generator(generator.device).manual_seed(0)


def split(rows: Rows, share: float, generator: torch.Generator) -> tuple[Rows, Rows]:
    """Split rows at random into training and validation rows, at least one of each.

    Raises:
        InputError: If there are fewer than 2 rows.
    """
    if len(rows) < 2:
        raise InputError(f"data has {len(rows)} row, too few to keep some for validation: use validation=None.")
    num_validation = min(max(round(share * len(rows)), 1), len(rows) - 1, MOST_SPLIT)
    order = torch.randperm(len(rows), generator=generator, device=generator.device)
    return rows.take(order[num_validation:]), rows.take(order[:num_validation])


def open_data(
    data: Any,
    context: Any,
    weight: Any,
    validation: Any,
    form: Form,
    generator: torch.Generator,
    batch_size: int | None,
) -> tuple[RowBatches | LoaderBatches | NoData, Rows | None, bool, dict[str, Any]]:
    """Return the batches, the validation rows, whether there is validation, and a digest of it all."""
    if isinstance(data, tuple) and len(data) == 2 and all(is_array(part) for part in data):
        if context is not None:
            raise InputError("context was given twice: as y of data=(x, y) and as context=.")
        data, context = data[0], data[1] if form.takes_context else None
    if isinstance(data, tuple) and hasattr(data, "_fields"):  # its parts would be taken for batches, test rows too
        raise InputError(
            f"data is a {type(data).__name__} of {', '.join(data._fields)}: give the part to train on, such as "
            f"data.{data._fields[0]}."
        )
    if isinstance(data, torch.utils.data.Dataset) and not isinstance(data, torch.utils.data.IterableDataset):
        raise InputError(
            "data is a Dataset, which yields single rows: wrap it in a torch DataLoader, or give its tensors."
        )
    share = 0.0 if validation is None else validation if isinstance(validation, (int, float)) else None
    if share is not None and not 0 <= share < 1:
        raise InputError(f"validation must be a share from 0 up to 1, or rows; got {validation!r}.")
    held = None if share is not None else _read_validation(validation, form)
    digest: dict[str, Any] = {"validation": share if held is None else held.digest()}
    if data is None and context is None:
        return NoData(batch_size or MOST_BATCH, generator), held, held is not None or bool(share), digest
    if data is not None and not is_array(data):
        if context is not None or weight is not None:
            raise InputError("context and weight go with arrays of data; a loader yields (x, y), with y the context.")
        if not isinstance(data, Iterable):
            raise InputError(f"data must be an array, a tensor, a loader or None; got {type(data).__name__}.")
        return LoaderBatches(data, form, generator), held, held is not None, digest
    rows = Rows.read(data, context, weight, form)
    digest.update(rows.digest())
    if share:
        rows, held = split(rows, share, generator)
    size = batch_size or min(max(len(rows) // 10, LEAST_BATCH), MOST_BATCH)
    return RowBatches(rows, size, generator), held, held is not None, digest


def _read_validation(validation: Any, form: Form) -> Rows:
    if isinstance(validation, tuple):
        x, context, weight = (*validation, None, None)[:3]
        return Rows.read(x, context, weight, form, "validation")
    if is_array(validation):
        return Rows.read(validation, None, None, form, "validation")
    return read_loader(validation, form, "validation")
