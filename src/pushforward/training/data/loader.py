"""Batches from a user's loader, taken one by one or all read into memory."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import InputError
from pushforward.losses import Batch
from pushforward.training.data.form import Form, is_array
from pushforward.training.data.rows import Rows
from pushforward.training.random_states import fixed_noise

LOADER_ROWS = 16_384  # read ahead, for a model to learn its start from
NOT_SHARED = "several processes cannot share the batches of a loader: give tensors or arrays as data, to all of them."
NOT_RESUMABLE = "a run on a loader or generator cannot be resumed: give tensors or arrays as data."


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
        items = (_read_batch(item, form, "data") for item in iterator)
        ahead: list[tuple[Tensor, Tensor | None]] = []
        while sum(len(x) for x, _ in ahead) < LOADER_ROWS and (item := next(items, None)) is not None:
            ahead.append(item)
        if not ahead:
            raise InputError("data has no batches.")
        self.batch_size = len(ahead[0][0])
        self.checked = _joined(ahead, form)
        self._items: Iterator[tuple[Tensor, Tensor | None]] = chain(ahead, items)

    def next(self) -> Batch:
        """Return the next batch, from the loader's beginning again after its end."""
        item = next(self._items, None)
        if item is None:
            if self._once:
                raise InputError(
                    "data is a generator and has ended before num_steps: give a loader that can start again."
                )
            self._items = (_read_batch(item, self.form, "data") for item in self.loader)
            item = next(self._items, None)
            if item is None:
                raise InputError("data has no batches the second time: give a loader that can start again.")
        return _joined([item], self.form).batch(slice(None), self.generator)

    def peek(self) -> Batch:
        """Return a batch to measure with, which does not count."""
        return self.checked.batch(slice(0, self.batch_size), fixed_noise(self.generator.device))

    def head(self) -> Rows:
        """Return the rows read ahead."""
        return self.checked

    def position(self) -> dict[str, Any]:
        """Refuse: a loader cannot say where it is."""
        raise InputError(NOT_RESUMABLE)

    def seek(self, position: dict[str, Any]) -> None:
        """Refuse: a loader cannot go to a position."""
        raise InputError(NOT_RESUMABLE)


def read_loader(loader: Iterable[Any], form: Form, name: str) -> Rows:
    """Read a whole loader into memory."""
    pieces = [_read_batch(item, form, name) for item in loader]
    if not pieces:
        raise InputError(f"{name} has no batches.")
    return _joined(pieces, form)


def _joined(pieces: Sequence[tuple[Tensor, Tensor | None]], form: Form) -> Rows:
    """Return batches of a loader as rows; all of them have context, or none has."""
    x = torch.cat([x for x, _ in pieces])
    contexts = [context for _, context in pieces if context is not None]
    return Rows(x, torch.cat(contexts) if contexts else None, None, form, torch.arange(len(x), device=form.device))


def _read_batch(item: Any, form: Form, name: str) -> tuple[Tensor, Tensor | None]:
    """Return what a loader yields as (x, context): y of `(x, y)` is context where the model takes one, else ignored."""
    y = None
    if isinstance(item, (tuple, list)) and 1 <= len(item) <= 2:
        item, y = (*item, None)[:2]
    if not is_array(item):
        raise InputError(f"{name} must yield batches x or (x, y) of tensors or arrays; got {type(item).__name__}.")
    x = form.data(item, name)
    return x, form.context(y, f"{name} context") if form.takes_context and y is not None else None
