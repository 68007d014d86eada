"""The sessions of a server: a process each, kept while it is watched and for a while after."""

import asyncio
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pushforward.errors import InputError
from pushforward.play.trainer import train

MOST_SESSIONS = 8
KEPT_SECONDS = 600.0  # of a session that no one watches
LOOK_SECONDS = 5.0  # between two looks for such sessions

MOST_UNHEARD = 100  # messages that a process has not heard yet
LAST_COUNTS = ("look", "pause", "leave")  # messages of which, in a row, the last is enough
ENDED, TAKEN = 4500, 4410  # codes with which a page's WebSocket closes: the process has ended; another page has come

Receiver = Callable[[bytes | int], None]


class Session:
    """A training process, and the page that watches it.

    Attributes:
        receiver: Gets every message of the process, and last the code to close with; None while no one watches.
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
        self._ended = False
        self._waiting: list[bytes] = []
        self._unheard: deque[dict[str, Any]] = deque()
        self._news = threading.Condition()
        self._loop = loop
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process runs: one that was killed does not, even before `_read` has found out."""
        return not self._ended and self._process.is_alive()

    def watch(self, receiver: Receiver) -> None:
        """Hand all messages to this receiver, and tell the one before that it is not needed any more."""
        if self.receiver is not None:
            self.receiver(TAKEN)
        self.receiver = receiver
        for message in self._waiting:
            receiver(message)
        self._waiting = []

    def leave(self, receiver: Receiver) -> None:
        """Be watched by no one: the training pauses."""
        if self.receiver is receiver:
            self.receiver, self.left = None, time.monotonic()
            self._queue({"do": "leave"})

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to the process, without waiting for it.

        Raises:
            InputError: If it has not heard many others yet.
        """
        with self._news:
            repeats = self._unheard and self._unheard[-1]["do"] == message["do"] == "look"
            if len(self._unheard) >= MOST_UNHEARD and not repeats:
                raise InputError("the training is busy and has not done yet what it was told before: wait a moment.")
        self._queue(message)

    def _queue(self, message: dict[str, Any]) -> None:
        with self._news:
            if self._unheard and self._unheard[-1]["do"] == message["do"] and message["do"] in LAST_COUNTS:
                self._unheard.pop()
            self._unheard.append(message)
            self._news.notify()

    def end(self) -> None:
        """End the process at once."""
        if self._ended:
            return
        self._ended = True
        self._process.kill()
        self._process.join(1)
        with self._news:
            self._news.notify()
        if self.receiver is not None:
            self.receiver(ENDED)

    def _write(self) -> None:
        """Pass on what the page says, on a thread of its own: a process that is busy does not hold up the server."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._unheard or self._ended)
                if self._ended:
                    return
                message = self._unheard.popleft()
            try:
                self._connection.send(message)
            except OSError:  # it has ended, as `_read` finds out too
                return

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
            InputError: If too many are watched.
        """
        if name in self._named and self._named[name].alive:
            return self._named[name]
        self.end_forgotten()
        if len(self._named) >= MOST_SESSIONS:
            self._end_oldest()
        spare = self._spare if self._spare is not None and self._spare.alive else Session(self._loop)
        self._spare, spare.left = None, time.monotonic()
        self._named[name] = spare
        return spare

    def _end_oldest(self) -> None:
        """End the session that no one has watched for the longest time."""
        unwatched = [name for name, session in self._named.items() if session.receiver is None]
        if not unwatched:
            raise InputError(f"{MOST_SESSIONS} pages are open already: close one of them, this one comes by itself.")
        self._named.pop(min(unwatched, key=lambda name: self._named[name].left)).end()

    def open(self, name: str) -> Session:
        """Return the session of a name that a page watches; InputError if there is none."""
        found = self._named.get(name)
        if found is None or not found.alive or found.receiver is None:
            raise InputError("the page has no session: reload it.")
        return found

    async def end_them_in_time(self) -> None:
        """End forgotten sessions, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.end_forgotten()

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
