"""How exactly a flow computes: maps in the dtype of their numbers, conditioners as exactly as they are told."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import require_choice

__all__ = [
    "PRECISIONS", "float32_products", "in_own_dtype", "layers_as_told", "own_dtype", "precision", "precision_in_force",
    "seen_dtype",
]  # fmt: skip

PRECISIONS = ("highest", "high", "bf16")
_AS_IT_IS = nullcontext()
_told = threading.local()


@contextmanager
def precision(conditioners: str | None) -> Iterator[None]:
    """Let the networks inside flows compute less exactly, on this thread; maps and log_dets stay as they are.

    A rounded network is still a network: the density is that of a slightly different flow, and integrates to one. A
    round trip meets the network at slightly different inputs, and is only as exact as its rounding.

    Args:
        conditioners: "highest": products and convolutions of float32 in float32; "high": in TF32 where a GPU has it,
            which keeps 11 of their 24 bits; "bf16": the layers under autocast, with 8; None: as torch is set.

    Raises:
        InputError: If there is no such precision.

    Example:
        >>> import torch, pushforward as pf
        >>> flow = pf.recipes.realnvp(2)
        >>> with pf.precision("bf16"):
        ...     log_prob = flow.log_prob(torch.zeros(3, 2))
        >>> log_prob.dtype
        torch.float32
    """
    if conditioners is not None:
        require_choice("precision", conditioners, PRECISIONS)
    before = precision_in_force()
    _told.precision = conditioners
    try:
        yield
    finally:
        _told.precision = before


def precision_in_force() -> str | None:
    """Return what `precision` says on this thread."""
    return getattr(_told, "precision", None)


@contextmanager
def float32_products(exact: bool) -> Iterator[None]:
    """Let CUDA's products and convolutions of float32 be computed in float32, or in TF32."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if exact else "high")
    torch.backends.cudnn.allow_tf32 = not exact
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def layers_as_told(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context for the layers of a conditioner of x."""
    told, device = precision_in_force(), x.device.type
    if told == "bf16" and x.dtype != torch.float64:
        return torch.autocast(device, torch.bfloat16, cache_enabled=False)
    if device != "cuda" or torch.compiler.is_compiling():
        return _AS_IT_IS
    # torch's own default rounds convolutions, though not products, to TF32: one rule for both.
    exact = torch.get_float32_matmul_precision() == "highest" if told is None else told != "high"
    return float32_products(exact)


def own_dtype(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context inside which autocast is off on the device of x."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if _rounds(device) else _AS_IT_IS


def _rounds(device: str) -> bool:
    # torch 2.11 compiles no step that asks whether there is autocast: for the usual devices there is.
    return (device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)) and torch.is_autocast_enabled(device)


def seen_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which the layers of a network see x: that of autocast where the user has it on."""
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
