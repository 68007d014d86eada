"""Work that is the CPU's, whatever torch's default device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Make what is made on the way on the CPU too, where what comes in is there."""
    with torch.device("cpu"):
        yield
