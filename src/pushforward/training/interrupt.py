"""Ctrl-C and SIGTERM: the step in hand is finished, the run saved, and the user told how to go on."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
ECHO_SECONDS = 2.0


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal after saving what could be saved; the message says how to go on."""


class Flag:
    """Set by the first signal; a second one interrupts at once.

    Args:
        shared: Whether several processes stop together: then `name` is set once all of them know, and a signal shortly
            after the first is the same one, handed on by what started the processes.

    Attributes:
        came: "Ctrl-C" or "SIGTERM" once one has come to this process, else None.
        name: The same once the run is to stop, else None.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self.shared = shared
        self.came: str | None = None
        self._came_at = 0.0
        self.name: str | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.came is not None:
            if self.shared and time.monotonic() < self._came_at + ECHO_SECONDS:
                return
            raise KeyboardInterrupt
        self.came, self._came_at = SIGNALS[number], time.monotonic()
        if not self.shared:
            self.name = self.came


@contextmanager
def signals_caught(flag: Flag) -> Iterator[None]:
    """Let SIGINT and SIGTERM set the flag inside, in the main thread; the handlers found are put back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {number: signal.signal(number, flag) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in found.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
