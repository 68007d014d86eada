"""Sources of randomness that a user hands over."""

from typing import Any

import torch

from pushforward.errors import InputError, require_kind


def check_generator(generator: torch.Generator | None, device: torch.device | None = None) -> None:
    """Raise InputError unless it is a generator of torch's, on the device if one is given, or None, the global one."""
    if generator is not None:
        seed = "make one of a seed, torch.Generator().manual_seed(0)"
        require_kind("generator", generator, torch.Generator, "a torch.Generator or None", seed)
        if device is not None and generator.device.type != device.type:
            raise InputError(
                f"generator is on {generator.device}, the flow on {device}: make it with "
                f"torch.Generator({str(device)!r}).manual_seed(0)."
            )


def drawn_from(generator: torch.Generator | None) -> dict[str, Any]:
    """Return the argument that tells torch to draw from a generator, none for the global one.

    `generator=None` beside a size that changes is more than `torch.compile` takes.
    """
    return {} if generator is None else {"generator": generator}
