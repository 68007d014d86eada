"""Small work runs on one of torch's threads.

Each operator shared between threads waits for the last of them. Where the work is small that wait outweighs what the
other threads take over, and where another program keeps a core busy, each wait is for that program's turn: small
steps then take 6 to 23 times as long as on one thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_found: list[int] = []  # what the outermost `threads` in force has found


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Use so many of torch's threads, and leave their number as found; does nothing while torch compiles.

    Also a decorator: `@threads(1)`.
    """
    if torch.compiler.is_compiling():
        yield
        return
    before = torch.get_num_threads()
    _found.append(before)
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _found.pop()


@contextmanager
def one_thread_everywhere() -> Iterator[None]:
    """Use one thread of torch, of BLAS and of OpenMP, for work of scikit-learn and numpy; leave all as found."""
    import threadpoolctl

    with threads(1), threadpoolctl.threadpool_limits(1):
        yield


def available() -> int:
    """Return how many threads torch may use: what it was set to outside of `threads`."""
    return _found[0] if _found else torch.get_num_threads()
