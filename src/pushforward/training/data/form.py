"""The form in which a model wants its data, and arrays checked and put into it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.errors import InputError
from pushforward.numerics.arrays import as_tensor, is_table_like


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
        x = as_numbers(value, name)
        if x.ndim < 2:
            raise InputError(
                f"{name} must have shape (rows, features); got {tuple(x.shape)}: use x[:, None] for one feature."
            )
        check_finite(x, name)
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
        context = as_numbers(value, name)
        check_finite(context, name)
        context = context[:, None] if context.ndim == 1 else context
        wide = torch.float64 if self.keeps_float64 else self.dtype  # integers beyond 2^24 are not float32's
        return self._float(context if context.is_floating_point() else context.to(wide))

    def _float(self, x: Tensor) -> Tensor:
        keep = self.keeps_float64 and x.dtype == torch.float64
        return x.to(self.device, None if keep else self.dtype)


def is_array(data: Any) -> bool:
    """Return whether `data` is one array of rows: a tensor, array, data frame or list of rows, not of batches."""
    if not isinstance(data, (list, tuple)):
        return is_table_like(data)
    first = data[0] if data else None
    if isinstance(first, (list, tuple)):
        return all(cell is None or isinstance(cell, (int, float, np.number)) for cell in first)
    return isinstance(first, (int, float, np.number)) or getattr(first, "ndim", None) == 1


def as_numbers(value: Any, name: str) -> Tensor:
    """Return what a user hands over as a tensor that nothing has to be learned through."""
    numbers = as_tensor(value, name)
    return numbers.clone() if numbers.is_inference() else numbers.detach()  # the former cannot be learned from


def check_finite(x: Tensor, name: str) -> None:
    """Raise InputError that counts the rows with NaN or infinite values."""
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


def _in_range(x: Tensor, levels: int) -> bool:
    # Python numbers: in a comparison with uint8, 256 would become 0.
    return not x.numel() or (x.min().item() >= 0 and x.max().item() < levels)
