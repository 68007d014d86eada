"""Sources of randomness that a user hands over."""

import torch

from pushforward.errors import require_kind


def check_generator(generator: torch.Generator | None) -> None:
    """Raise InputError unless it is a generator of torch's, or None for the global one."""
    if generator is not None:
        seed = "make one of a seed, torch.Generator().manual_seed(0)"
        require_kind("generator", generator, torch.Generator, "a torch.Generator or None", seed)
