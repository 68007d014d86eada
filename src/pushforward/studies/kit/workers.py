"""Worker processes of one thread each, which end with the process that started them.

`python -m pushforward.studies.kit.workers PARENT MODULE FUNCTION ARGUMENT...` is what a worker runs.
"""

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Ended:
    """A worker that has ended: its exit status, negative after a signal, and the last line it wrote as an error."""

    name: str
    status: int
    last_words: str


class Workers:
    """Processes at work; leaving its block stops those that are left, which save their checkpoints first.

    Example:
        >>> with Workers() as workers:
        ...     workers.start("a", perform, "folder")
        ...     while workers:
        ...         for one in workers.ended(): print(one.name, one.status)
    """

    def __init__(self) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], IO[str]]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, _ in self._running.values():
            process.terminate()
        for name in list(self._running):
            self._end(name)

    def start(self, name: str, function: Callable[..., object], *arguments: str) -> None:
        """Call a function, one of a module's own, with text arguments in a new process."""
        errors = tempfile.TemporaryFile("w+")  # closed by `_end`
        call = [str(os.getpid()), function.__module__, function.__name__, *arguments]
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, *call],
            stderr=errors,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._running[name] = process, errors

    def ended(self) -> list[Ended]:
        """Wait a moment; return the workers that have ended since the last call."""
        time.sleep(POLL_SECONDS)
        return [self._end(name) for name, (process, _) in list(self._running.items()) if process.poll() is not None]

    def _end(self, name: str) -> Ended:
        process, errors = self._running.pop(name)
        status = process.wait()
        with errors:
            errors.seek(0)
            lines = errors.read().strip().splitlines()
        return Ended(name, status, lines[-1] if lines else "it gave no reason")


def _end_with(parent: int) -> None:
    """End this process, its checkpoint saved, when its parent is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    started_by, module, function_name, *texts = sys.argv[1:]
    _end_with(int(started_by))
    import torch

    torch.set_num_threads(1)
    getattr(importlib.import_module(module), function_name)(*texts)
