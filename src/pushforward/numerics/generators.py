"""Sources of randomness that a user hands over."""

from typing import Any

import torch

from pushforward.errors import require_kind


def check_generator(generator: torch.Generator | None) -> None:
    """Raise InputError unless it is a generator of torch's, or None for the global one."""
    if generator is not None:
        seed = "make one of a seed, torch.Generator().manual_seed(0)"
        require_kind("generator", generator, torch.Generator, "a torch.Generator or None", seed)


def drawn_from(generator: torch.Generator | None) -> dict[str, Any]:
    """Return the argument that tells torch to draw from a generator, none for the global one.

    `generator=None` beside a size that changes is more than `torch.compile` takes.
    """
    return {} if generator is None else {"generator": generator}
