"""Processes that a study starts, watches and kills: commands and functions, with their memory and what they say."""

import importlib
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pushforward.errors import RunError

PRELOADED = (
    "pushforward.cli.app", "pushforward.cli.fit_command", "pushforward.cli.question_commands", "pushforward.scale",
    "torch._dynamo", "polars", "narwhals", "pyarrow.parquet",
)  # fmt: skip
LOOK_SECONDS = 0.005
MOST_SECONDS = 900.0  # of one process, after which it counts as stuck
PROGRESS = re.compile(r"^(step \d+/|[\d,]+ rows, [\d,]+ a second|warning: )")


@dataclass
class Ended:
    """A process that has ended.

    Attributes:
        status: Its exit code; negative, the signal that ended it.
        seconds: From its start to its end.
        memory: The most it held, bytes; 0 of one that was killed.
        said: What it wrote to standard error, but progress and warnings.
        progress: Its last line of progress.
        answer: What the function returned.
    """

    status: int
    seconds: float
    memory: int
    said: list[str]
    progress: str
    answer: Any


class Running:
    """A process at work.

    Args:
        process: Of multiprocessing, not started yet.
        files: Where it writes.
    """

    def __init__(self, process: BaseProcess, files: Path) -> None:
        self._process, self._files = process, files
        self._began = time.monotonic()
        process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self._began

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something holds, and return it; None if the process ends before.

        Raises:
            RunError: If it takes too long.
        """
        while not (found := condition()):
            if not self._process.is_alive():
                return condition() or None
            if self.seconds > MOST_SECONDS:
                self._process.kill()
                raise RunError(f"a process of the study did not end within {MOST_SECONDS:,.0f} s")
            time.sleep(LOOK_SECONDS)
        return found

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._process.is_alive():
            os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> Ended:
        """End it by SIGKILL when what was asked of it is done; its memory is what it held until then."""
        memory = _most_memory(self.pid)
        self.kill()
        ended = self.ended()
        return replace(ended, status=0, memory=memory)

    def limit_files(self, most_bytes: int = 4096) -> None:
        """Let no file that it writes become longer from now on: a write fails as on a full disk."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    def ended(self) -> Ended:
        """Wait for its end."""
        self._process.join(max(MOST_SECONDS - self.seconds, 0))
        seconds = self.seconds
        if self._process.is_alive():
            self._process.kill()
            raise RunError(f"a process of the study did not end within {MOST_SECONDS:,.0f} s")
        report = self._files.with_suffix(".json")
        found = json.loads(report.read_text()) if report.exists() else {}
        errors = self._files.with_suffix(".err")
        lines = [line.split("\r")[-1] for line in errors.read_text().splitlines()] if errors.exists() else []
        told = [line for line in lines if line.strip() and not PROGRESS.match(line)]
        progress = [line for line in lines if PROGRESS.match(line) and not line.startswith("warning")]
        status = self._process.exitcode
        assert status is not None
        return Ended(
            status, seconds, found.get("memory", 0), told, progress[-1] if progress else "", found.get("answer")
        )


class Processes:
    """Starts processes.

    Args:
        scratch: A folder for what they write.
        fresh: Whether each is a Python of its own from the start, as a command is; else a copy of one that has imported
            what a command needs, which costs no second.
    """

    def __init__(self, scratch: Path, *, fresh: bool) -> None:
        self.scratch = scratch
        self._context: Any = multiprocessing.get_context("spawn" if fresh else "forkserver")
        self._started: list[BaseProcess] = []
        if not fresh:
            self._context.set_forkserver_preload(list(PRELOADED))

    def start(self, function: Callable[..., Any], *arguments: Any, threads: int = 1, **environment: str) -> Running:
        """Call a module's function in a process with so many threads; it returns plain values."""
        files = self.scratch / f"process-{len(self._started)}"
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        called = (os.fspath(files), threads, environment, function, [_plain(one) for one in arguments])
        process = self._context.Process(target=_child, args=called)
        self._started.append(process)
        return Running(process, files)

    def command(self, *arguments: Any, threads: int = 1, **environment: str) -> Running:
        """Run `pushforward ARGUMENTS`."""
        return self.start(run_command, *map(str, arguments), threads=threads, **environment)

    def ranks(self, size: int, function: Callable[..., Any], *arguments: Any) -> list[Running]:
        """Call a function in processes of one thread with the environment that torchrun gives them."""
        if size == 1:
            return [self.start(function, *arguments)]
        meeting: Any = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(size)}
        return [
            self.start(function, *arguments, threads=1, RANK=str(rank), LOCAL_RANK=str(rank), **meeting)
            for rank in range(size)
        ]

    def close(self) -> None:
        """End by SIGKILL what is still at work."""
        for process in self._started:
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def processes(scratch: Path, *, fresh: bool) -> Iterator[Processes]:
    """Start processes meanwhile; those that are left in the end are ended."""
    found = Processes(scratch, fresh=fresh)
    try:
        yield found
    finally:
        found.close()


def run_command(*arguments: str) -> None:
    """Run a command as the shell does."""
    sys.exit(importlib.import_module("pushforward.__main__").main(arguments))


def _child(
    files: str, threads: int, environment: dict[str, str], function: Callable[..., Any], arguments: list[Any]
) -> None:
    os.environ.update(environment)
    if "torch" in sys.modules:  # a copy: too late for the environment
        sys.modules["torch"].set_num_threads(threads)
    for stream, suffix in ((1, ".out"), (2, ".err")):
        file = os.open(f"{files}{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    answer = None
    try:
        answer = function(*arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        Path(f"{files}.json").write_text(json.dumps({"memory": _most_memory(), "answer": answer}))


def _most_memory(process: int | str = "self") -> int:
    """Return the most bytes that a process has held, by Linux; rusage might have its parent's; 0 if it is gone."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else 0


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value
