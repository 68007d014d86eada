"""Worker processes of one thread each, which end with the process that started them."""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import IO, Any, NamedTuple, Self

POLL_SECONDS = 0.5
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Ended(NamedTuple):
    """A worker that has ended: its exit status, negative after a signal, and the last line it wrote as an error."""

    name: str
    status: int
    last_words: str


class Workers:
    """Processes at work, by name; leaving its block stops those that are left, which save their checkpoints first.

    Example::

        with Workers() as workers:
            workers.start("a", perform, Path("folder"))
            while workers.running:
                for one in workers.ended(): print(one.name, one.status)
    """

    def __init__(self) -> None:
        self.running: dict[str, tuple[subprocess.Popen[bytes], IO[str]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process, _ in self.running.values():
            process.terminate()
        for name in list(self.running):
            self._end(name)

    def start(
        self, name: str, function: Callable[..., object], *arguments: Any, holding: Sequence[IO[Any]] = ()
    ) -> None:
        """Call a module's function in a new process, in which the files it is `holding` stay open until it ends.

        Its arguments travel as JSON: plain values, lists and tables of them, and paths, which arrive as text.
        """
        errors = tempfile.TemporaryFile("w+")  # closed by `_end`
        with tempfile.TemporaryFile("w+") as call:
            json.dump({"function": place_of(function), "arguments": arguments}, call, default=os.fspath)
            call.seek(0)
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(os.getpid())],
                stdin=call,
                stderr=errors,
                pass_fds=[file.fileno() for file in holding],
                env={**os.environ, **ONE_THREAD},
            )
        self.running[name] = process, errors

    def ended(self, *, wait: bool = True) -> list[Ended]:
        """Wait a moment, if so; return the workers that have ended since the last call."""
        if wait:
            time.sleep(POLL_SECONDS)
        return [self._end(name) for name, (process, _) in list(self.running.items()) if process.poll() is not None]

    def _end(self, name: str) -> Ended:
        process, errors = self.running.pop(name)
        status = process.wait()
        with errors:
            errors.seek(0)
            lines = errors.read().strip().splitlines()
        return Ended(name, status, lines[-1] if lines else "it gave no reason")


def place_of(named: Any) -> str:
    """Return where a module's class or function is found again, "module:name"."""
    return f"{named.__module__}:{named.__qualname__}"


def found_at(place: str) -> Any:
    """Return the class or function whose `place_of` this is."""
    module, _, name = place.partition(":")
    return attrgetter(name)(importlib.import_module(module))


def _end_with(parent: int) -> None:
    """End this process, its checkpoint saved, when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=[int(sys.argv[1])], daemon=True).start()
    call = json.load(sys.stdin)
    try:
        found_at(call["function"])(*call["arguments"])
    except KeyboardInterrupt:  # SIGTERM has come, and the checkpoint is saved: a worker that was stopped has not failed
        os.kill(os.getpid(), signal.SIGTERM)
