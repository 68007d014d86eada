"""The dtype of numbers in the units of the data: what is learned from float64 data keeps their digits, both ways."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from pushforward.errors import InputError

DATA_DTYPES = {"float32": torch.float32, "float64": torch.float64}
HALVES = (torch.float16, torch.bfloat16)


def parameters_in(module: nn.Module) -> Iterator[Tensor]:
    """Yield what `module.parameters()` does, shared ones again; the first comes several times faster."""
    for value in module._parameters.values():
        if value is not None:
            yield value
    for part in module._modules.values():
        if part is not None:
            yield from parameters_in(part)


def latent_dtype(transform: nn.Module, base: nn.Module) -> torch.dtype:
    """Return the dtype of the transform's and the base's numbers, in which maps and densities are computed.

    Raises:
        InputError: If it is a half precision, which no density survives.
    """
    numbers = chain(parameters_in(transform), parameters_in(base), base.buffers())
    dtype = next((tensor.dtype for tensor in numbers if tensor.is_floating_point()), torch.get_default_dtype())
    if dtype in HALVES:
        raise InputError(
            f"the flow's numbers are {str(dtype).removeprefix('torch.')}, too coarse for its maps and their log_dets: "
            "use flow.float(), and torch.autocast to run the networks inside it in half precision."
        )
    return dtype


def widest(dtype: torch.dtype, *modules: nn.Module) -> torch.dtype:
    """Return the dtype that holds the numbers of a dtype and of modules."""
    for tensor in (tensor for module in modules for tensor in chain(module.parameters(), module.buffers())):
        if tensor.is_floating_point():
            dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def in_data_dtype(z: Tensor, preprocessing: nn.ModuleList, learned: str | None) -> Tensor:
    """Return what the transform gives back in the dtype in which the preprocessing is undone.

    Args:
        z: (*batch, D), in the flow's dtype, which is the least.
        preprocessing: What stands between the transform and the data; without it nothing has more digits.
        learned: The dtype of the data that the flow was initialized from, None if it was not: then the preprocessing's.
    """
    if not len(preprocessing):
        return z
    if learned is None:
        return z.to(widest(z.dtype, preprocessing))
    return z.to(torch.promote_types(z.dtype, DATA_DTYPES[learned]))


def prepared(context: Tensor, preprocessing: nn.ModuleList, dtype: torch.dtype, *, initialize: bool = False) -> Tensor:
    """Return context, (*batch, C), preprocessed and then in the flow's dtype; integers keep their digits until then.

    Args:
        context: In the user's units.
        preprocessing: The context's transforms.
        dtype: The flow's.
        initialize: Whether each transform learns first from what reaches it.
    """
    if not context.is_floating_point():
        context = context.to(widest(dtype, preprocessing))
    for part in preprocessing:
        if initialize:
            part.initialize(context)  # type: ignore[operator]
        context, _ = part(context)
    return context.to(dtype)


@contextmanager
def digits_kept(*modules: nn.Module) -> Iterator[None]:
    """Let the floating-point buffers of modules be moved and raised inside, but not rounded.

    A mean of 2460000.7 is 2460000.75 in float32 and infinite in float16.
    """
    held = [
        (part, name, buffer)
        for module in modules
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
        if buffer.is_floating_point()
    ]
    yield
    for part, name, before in held:
        now = getattr(part, name)
        if torch.promote_types(now.dtype, before.dtype) != now.dtype:
            setattr(part, name, before.to(now.device))
