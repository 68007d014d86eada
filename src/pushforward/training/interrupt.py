"""Ctrl-C and SIGTERM: the step in hand is finished, the run saved, and the user told how to go on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal after saving what could be saved; the message says how to go on."""


class Flag:
    """Set by the first signal; a second one interrupts at once.

    Attributes:
        name: "Ctrl-C" or "SIGTERM" once one has come, else None.
    """

    name: str | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.name is not None:
            raise KeyboardInterrupt
        self.name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"


@contextmanager
def signals_caught() -> Iterator[Flag]:
    """Catch SIGINT and SIGTERM inside, in the main thread; the handlers found are put back afterwards."""
    flag = Flag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    found = {number: signal.signal(number, flag) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in found.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
