"""Where noise comes from: torch's global generator, from which dropout draws, and generators of a fixed seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def fixed_noise(device: torch.device) -> torch.Generator:
    """Return a generator that gives the same noise each time."""
    return torch.Generator(device).manual_seed(0)


def renewed(generator: torch.Generator) -> None:
    """Give a CUDA generator a new state in place of the one it has, with the same numbers to come."""
    fresh = torch.Generator(generator.device)
    fresh.manual_seed(generator.initial_seed())
    fresh.set_offset(generator.get_offset())
    generator.graphsafe_set_state(fresh.graphsafe_get_state())


@contextmanager
def forked(device: torch.device, *, seed: int) -> Iterator[None]:
    """Leave torch's global generators as they were found; inside, they start from a seed."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def global_noise(device: torch.device) -> Tensor:
    """Return the state of the global generator of a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_global_noise(device: torch.device, state: Tensor) -> None:
    """Write back what `global_noise` returned."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
