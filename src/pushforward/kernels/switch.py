"""Whether the kernels are used: an environment variable, and a context to compare with and without."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_on = os.environ.get("PUSHFORWARD_KERNELS", "on").lower() not in ("off", "0", "false", "no")


def kernels_are_on() -> bool:
    """Return whether kernels may stand in for plain torch."""
    return _on


@contextmanager
def kernels(on: bool) -> Iterator[None]:
    """Let kernels stand in for plain torch, or not, in this process."""
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before
