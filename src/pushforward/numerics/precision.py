"""Computation in the dtype of the numbers themselves, where autocast would round them to half precision."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["in_own_dtype", "own_dtype", "seen_dtype"]

_AS_IT_IS = nullcontext()


def own_dtype(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context inside which autocast is off on the device of x."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if _rounds(device) else _AS_IT_IS


def _rounds(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def seen_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which the layers of a network see x: that of autocast where it is on."""
    device = x.device.type
    on = _rounds(device) and x.dtype != torch.float64
    return torch.get_autocast_dtype(device) if on else x.dtype


def in_own_dtype(kind: type, *names: str, unless: Callable[[Any], bool] | None = None) -> None:
    """Let methods that a class defines compute in their own dtype under autocast.

    Args:
        kind: The class, just made.
        names: Of its methods, each called with a tensor first; those that it does not define itself are left out.
        unless: Tells of an object that its methods see to it themselves.
    """
    for name in names:
        if name in vars(kind):
            setattr(kind, name, _whole(vars(kind)[name], unless))


def _whole(method: Callable[..., Any], unless: Callable[[Any], bool] | None) -> Callable[..., Any]:
    @functools.wraps(method)
    def whole(self: Any, x: Tensor, *others: Any, **named: Any) -> Any:
        if not _rounds(x.device.type) or (unless is not None and unless(self)):
            return method(self, x, *others, **named)
        with torch.autocast(x.device.type, enabled=False):
            return method(self, x, *others, **named)

    return whole
