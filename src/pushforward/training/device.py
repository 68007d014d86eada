"""Where a run takes place: the model is moved there, and afterwards back to where it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pushforward.errors import InputError


@contextmanager
def on_device(model: nn.Module, device: str | torch.device) -> Iterator[None]:
    """Move a model to a device; leave it where it was, and in eval().

    Raises:
        InputError: If there is no such device.
    """
    home = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    try:
        model.to(_choose(device, home))
        yield
    finally:
        model.to(home)
        model.eval()


def _choose(device: str | torch.device, home: torch.device) -> torch.device:
    """Return the device meant: "auto" is where the model is, or CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda") if home.type == "cpu" and torch.cuda.is_available() else home
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}") from error
