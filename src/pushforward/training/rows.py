"""What the user gives as data, checked once and turned into rows of tensors in memory."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.errors import InputError
from pushforward.flows.dequantization import dequantized
from pushforward.losses import Batch


@dataclass(frozen=True)
class Form:
    """The form in which the model wants its data.

    Attributes:
        dtype: Of the model's parameters.
        device: Where the training runs.
        keeps_float64: Float64 data stay so: the model casts them itself, after its preprocessing.
        takes_context: Whether the y of `(x, y)` is context.
        dequantize: Number of integer levels, or None.
        takes_integers: The model or its loss knows what integers mean: they are handed over as they are.
    """

    dtype: torch.dtype
    device: torch.device
    keeps_float64: bool
    takes_context: bool
    dequantize: int | None
    takes_integers: bool = False

    @classmethod
    def of(cls, model: nn.Module, dequantize: int | None) -> "Form":
        """Read the form off a model; its parameters are where the training runs."""
        takes_integers = bool(getattr(model, "takes_integers", False))
        if dequantize is not None and takes_integers:
            raise InputError(
                f"{type(model).__name__} takes integers as they are, without noise: leave dequantize={dequantize} out."
            )
        trainable = [value for value in model.parameters() if value.requires_grad]
        if not trainable:
            raise InputError("the model has no trainable parameters: there is nothing to fit.")
        kinds = {(str(value.dtype), str(value.device)) for value in trainable}
        if len(kinds) > 1:
            raise InputError(
                f"the trainable parameters must share one dtype and device; got {sorted(kinds)}: call model.float()."
            )
        preprocessing = (getattr(model, name, None) for name in ("preprocessing", "context_preprocessing"))
        return cls(
            dtype=trainable[0].dtype,
            device=trainable[0].device,
            keeps_float64=any(part is not None and len(part) > 0 for part in preprocessing),
            takes_context=bool(getattr(model, "context_features", 0)),
            dequantize=dequantize,
            takes_integers=takes_integers,
        )

    def data(self, value: Any, name: str) -> Tensor:
        """Return data as a tensor (rows, ...) on the device: integers where they are dequantized, floats otherwise."""
        x = _tensor(value, name)
        if x.ndim < 2:
            raise InputError(
                f"{name} must have shape (rows, features); got {tuple(x.shape)}: use x[:, None] for one feature."
            )
        _check_finite(x, name)
        if self.dequantize is not None:
            if bool((x != x.round() if x.is_floating_point() else x < 0).any()) or not _in_range(x, self.dequantize):
                raise InputError(
                    f"{name} must hold the integers 0 to {self.dequantize - 1} for dequantize={self.dequantize}; got "
                    f"values from {x.min().item():g} to {x.max().item():g}: give the number of levels, or leave it out."
                )
            return (x if x.dtype == torch.uint8 else x.to(torch.int32)).to(self.device)
        if not x.is_floating_point() and self.takes_integers:
            return x.to(self.device)
        if not x.is_floating_point():
            raise InputError(
                f"{name} holds integers ({str(x.dtype).removeprefix('torch.')}), whose density would grow without end: "
                "give dequantize=256 (the number of levels) for pixels or counts, or convert continuous values with "
                "x.float()."
            )
        return self._float(x)

    def context(self, value: Any, name: str) -> Tensor:
        """Return context as a tensor (rows, C) of floats on the device; a vector becomes one column."""
        context = _tensor(value, name)
        _check_finite(context, name)
        context = context[:, None] if context.ndim == 1 else context
        return self._float(context if context.is_floating_point() else context.to(self.dtype))

    def _float(self, x: Tensor) -> Tensor:
        keep = self.keeps_float64 and x.dtype == torch.float64
        return x.to(self.device, None if keep else self.dtype)


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
        w = _tensor(weight, "weight")
        if w.shape != (num_rows,):
            raise InputError(f"weight must have shape ({num_rows},), one number a row of {name}; got {tuple(w.shape)}.")
        _check_finite(w, "weight")
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


def is_array(data: Any) -> bool:
    """Return whether `data` is one array: a tensor, a numpy array, or what numpy can read (a data frame)."""
    return isinstance(data, Tensor) or hasattr(data, "__array__")


def read_loader(loader: Iterable[Any], form: Form, name: str) -> Rows:
    """Read a whole loader into memory."""
    pieces = [loader_batch(item, form, name) for item in loader]
    if not pieces:
        raise InputError(f"{name} has no batches.")
    return joined(pieces, form)


def joined(pieces: Sequence[tuple[Tensor, Tensor | None]], form: Form) -> Rows:
    """Return batches of a loader as rows; all of them have context, or none has."""
    x = torch.cat([x for x, _ in pieces])
    contexts = [context for _, context in pieces if context is not None]
    return Rows(x, torch.cat(contexts) if contexts else None, None, form, torch.arange(len(x), device=form.device))


def loader_batch(item: Any, form: Form, name: str) -> tuple[Tensor, Tensor | None]:
    """Return what a loader yields as (x, context): y of `(x, y)` is context where the model takes one, else ignored."""
    y = None
    if isinstance(item, (tuple, list)) and 1 <= len(item) <= 2:
        item, y = (*item, None)[:2]
    if not is_array(item):
        raise InputError(f"{name} must yield batches x or (x, y) of tensors or arrays; got {type(item).__name__}.")
    x = form.data(item, name)
    return x, form.context(y, f"{name} context") if form.takes_context and y is not None else None


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold numbers; got an array of {array.dtype}.")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)  # torch computes with few unsigned types
    return torch.tensor(np.ascontiguousarray(array))


def _in_range(x: Tensor, levels: int) -> bool:
    # Python numbers: in a comparison with uint8, 256 would become 0.
    return not x.numel() or (x.min().item() >= 0 and x.max().item() < levels)


def _check_finite(x: Tensor, name: str) -> None:
    if not x.is_floating_point() or bool(torch.isfinite(x.sum())):
        return
    bad = (~torch.isfinite(x.reshape(len(x), -1)).all(-1)).nonzero().flatten()
    if len(bad):  # a sum may overflow though every number is finite
        raise InputError(
            f"{name}: {list_rows(bad, len(x))} NaN or infinite values: leave those rows out or fill them in."
        )


def list_rows(bad: Tensor, total: int) -> str:
    """Return "3 of 100 rows (first: 5, 7, 9) have" for a message."""
    first = ", ".join(str(int(index)) for index in bad[:5])
    return f"{len(bad)} of {total} rows (first: {first}) {'has' if len(bad) == 1 else 'have'}"


def _fingerprint(x: Tensor) -> str:
    array = x.detach().cpu().contiguous().numpy()
    return f"{array.dtype}{list(array.shape)} {hashlib.sha256(array.tobytes()).hexdigest()[:32]}"
