"""Rows of data in memory, or what stands for them where a loss draws its own samples."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import InputError
from pushforward.flows.dequantization import dequantized
from pushforward.losses import Batch
from pushforward.training.data.form import Form, as_numbers, check_finite


@dataclass(frozen=True)
class Rows:
    """Rows of data in memory, each with its context and weight.

    Attributes:
        x: (N, D) or None. Integers if `form.dequantize`.
        context: (N, C) or None.
        weight: (N,), of mean 1, or None.
        form: The form of the data.
        index: (N,), each row's position in what the user gave.
    """

    x: Tensor | None
    context: Tensor | None
    weight: Tensor | None
    form: Form
    index: Tensor

    @classmethod
    def read(cls, data: Any, context: Any, weight: Any, form: Form, name: str = "data") -> "Rows":
        """Check arrays and put them into `form`.

        Raises:
            InputError: If there are no rows, they do not match, are not finite or have the wrong type.
        """
        x = None if data is None else form.data(data, name)
        seen = None if context is None else form.context(context, "context" if name == "data" else f"{name} context")
        num_rows = len(x) if x is not None else len(seen) if seen is not None else 0
        if num_rows == 0 and not (x is None and seen is None):
            raise InputError(f"{name} has no rows.")
        if x is not None and seen is not None and len(seen) != num_rows:
            raise InputError(f"context has {len(seen)} rows, {name} has {num_rows}: give one row of context for each.")
        rows = cls(x, seen, None, form, torch.arange(num_rows, device=form.device))
        if weight is None:
            return rows
        w = as_numbers(weight, "weight")
        if w.shape != (num_rows,):
            raise InputError(f"weight must have shape ({num_rows},), one number a row of {name}; got {tuple(w.shape)}.")
        check_finite(w, "weight")
        if bool((w < 0).any()) or not bool((w > 0).any()):
            raise InputError(f"weight must not be negative, nor 0 everywhere; its least value is {w.min().item():g}.")
        w = w.to(form.device)
        # A row of weight 0 is left out: 0 x inf would be NaN.
        return replace(rows, weight=w.double().to(form.dtype)).take((w > 0).nonzero().flatten())

    def __len__(self) -> int:
        return len(self.index)

    def take(self, index: Tensor) -> "Rows":
        """Return some of the rows, their weights brought to mean 1 again."""
        weight = None if self.weight is None else self.weight[index]
        return Rows(
            None if self.x is None else self.x[index],
            None if self.context is None else self.context[index],
            None if weight is None else weight / weight.mean(),
            self.form,
            self.index[index],
        )

    def batch(self, index: Tensor | slice, generator: torch.Generator) -> Batch:
        """Return some rows as the loss sees them, integers dequantized by noise from the generator."""
        x = None if self.x is None else self.x[index]
        context = None if self.context is None else self.context[index]
        if x is not None and self.form.dequantize:
            x = dequantized(x, generator, self.form.dtype)
        some = x if x is not None else context
        assert some is not None
        return Batch(x, context, None if self.weight is None else self.weight[index], len(some))

    def pieces(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield all rows in their order, `size` at a time."""
        for first in range(0, len(self), size):
            yield self.batch(slice(first, first + size), generator)

    def digest(self) -> dict[str, str]:
        """Return a short fingerprint of the numbers."""
        parts = {"data": self.x, "context": self.context, "weight": self.weight}
        return {name: _fingerprint(value) for name, value in parts.items() if value is not None}


class OwnSamples:
    """Stands for rows where there are no data: the loss draws its own samples, so many at once.

    Args:
        num_samples: How many stand for the rows.
        device: Where the training runs.
    """

    weight = None

    def __init__(self, num_samples: int, device: torch.device) -> None:
        self.num_samples = num_samples
        self.index = torch.arange(num_samples, device=device)

    def __len__(self) -> int:
        return self.num_samples

    def pieces(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield one batch without data, whatever the size asked for."""
        yield Batch(None, None, None, self.num_samples)


def _fingerprint(x: Tensor) -> str:
    content = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()  # numpy has no bfloat16
    name = str(x.dtype).removeprefix("torch.")
    return f"{name}{list(x.shape)} {hashlib.sha256(content.tobytes()).hexdigest()[:32]}"
