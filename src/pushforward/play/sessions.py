"""The sessions of a server: a process each, kept while it is watched and for a while after."""

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pushforward.errors import InputError
from pushforward.play.trainer import train

MOST_SESSIONS = 8
KEPT_SECONDS = 600.0  # of a session that no one watches

Receiver = Callable[[bytes | None], None]


class Session:
    """A training process, and the page that watches it.

    Attributes:
        receiver: Gets every message of the process, and None once it has ended; None while no one watches.
        left: When the last page went.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=train, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.receiver: Receiver | None = None
        self.left = time.monotonic()
        self.alive = True
        self._waiting: list[bytes] = []
        self._loop = loop
        threading.Thread(target=self._read, daemon=True).start()

    def watch(self, receiver: Receiver) -> None:
        """Hand all messages to this receiver, and tell the one before that it is not needed any more."""
        self.receiver = receiver
        for message in self._waiting:
            receiver(message)
        self._waiting = []

    def leave(self, receiver: Receiver) -> None:
        """Be watched by no one: the training pauses."""
        if self.receiver is receiver:
            self.receiver, self.left = None, time.monotonic()
            self.tell({"do": "pause"})

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to the process."""
        try:
            self._connection.send(message)
        except OSError:
            self.end()

    def end(self) -> None:
        """End the process at once."""
        if not self.alive:
            return
        self.alive = False
        self._process.kill()
        self._process.join(1)
        if self.receiver is not None:
            self.receiver(None)

    def _read(self) -> None:
        """Hand on what the process says, on a thread of its own, until it has ended."""
        with suppress(RuntimeError):  # the loop has been closed
            while True:
                try:
                    message = self._connection.recv_bytes()
                except (EOFError, OSError):
                    self._loop.call_soon_threadsafe(self.end)
                    return
                self._loop.call_soon_threadsafe(self._got, message)

    def _got(self, message: bytes) -> None:
        if self.receiver is None:
            self._waiting = [*self._waiting, message][-2:]
        else:
            self.receiver(message)


class Sessions:
    """All sessions by their names; a spare process is started before it is needed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._named: dict[str, Session] = {}
        self._spare: Session | None = Session(loop)

    def named(self, name: str) -> Session:
        """Return the session of a name, a new one if there is none.

        Raises:
            InputError: If there are too many.
        """
        found = self._named.get(name)
        if found is not None and found.alive:
            return found
        self.end_forgotten()
        if len(self._named) >= MOST_SESSIONS:
            raise InputError(f"{MOST_SESSIONS} pages are open already: close one, or wait ten minutes.")
        spare = self._spare if self._spare is not None and self._spare.alive else Session(self._loop)
        self._spare = None
        self._named[name] = spare
        return spare

    def prepare(self) -> None:
        """Start the process of the next session."""
        if self._spare is None and len(self._named) < MOST_SESSIONS:
            self._spare = Session(self._loop)

    def end_forgotten(self) -> None:
        """End the sessions that no one has watched for long."""
        now = time.monotonic()
        for name, session in list(self._named.items()):
            if session.receiver is None and now - session.left > KEPT_SECONDS:
                session.end()
            if not session.alive:
                del self._named[name]

    def end_all(self) -> None:
        """End every process."""
        for session in [*self._named.values(), *([self._spare] if self._spare else [])]:
            session.end()
