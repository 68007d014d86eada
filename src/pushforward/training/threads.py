"""Small steps run on one thread."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

# Parameters times rows a step. Below it a second thread saves less than handing the work over costs, and while another
# program keeps a core busy every step waits for that thread.
LEAST_SHARED_WORK = 30_000_000


@contextmanager
def threads_for(model: nn.Module, batch_size: int) -> Iterator[None]:
    """Use one thread for a small model, and leave torch's number of threads as found; sizes alone decide."""
    before = torch.get_num_threads()
    if batch_size * sum(parameter.numel() for parameter in model.parameters()) < LEAST_SHARED_WORK:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
