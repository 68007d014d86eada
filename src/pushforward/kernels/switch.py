"""Whether the kernels are used: an environment variable, and a context to compare with and without."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_on = os.environ.get("PUSHFORWARD_KERNELS", "on").lower() not in ("off", "0", "false", "no")


def kernels_are_on() -> bool:
    """Return whether kernels may stand in for plain torch."""
    return _on


def runs_in_c(*tensors: Tensor) -> bool:
    """Return whether C, which sees addresses alone, may compute with tensors: on the CPU, numbers and nothing else.

    Not while torch compiles, exports or traces, and not for fake tensors and other subclasses.
    """
    return (
        _on
        and not torch.compiler.is_compiling()
        and all(tensor.device.type == "cpu" and type(tensor) in (Tensor, nn.Parameter) for tensor in tensors)
        and not torch._C._are_functorch_transforms_active()
        and not any(torch._C._functorch.is_legacy_batchedtensor(tensor) for tensor in tensors)
        and forward_ad._current_level < 0
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch.jit.is_tracing()
    )


@contextmanager
def kernels(on: bool) -> Iterator[None]:
    """Let kernels stand in for plain torch, or not, in this process."""
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before
