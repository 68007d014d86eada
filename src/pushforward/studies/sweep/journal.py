"""The journal of the study `sweep`: one file that several processes or machines work through, killed ones included.

`python -m pushforward.studies.sweep.journal FILE` adds a worker, on this machine or another that sees the file.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pushforward.errors import InputError, RunError
from pushforward.studies.sweep.cells import COUNTS, SETTINGS, Cell, measure

try:
    import optuna
except ModuleNotFoundError as error:
    raise InputError("the study sweep needs optuna: pip install 'pushforward[studies]'") from error
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

BEAT_SECONDS, DEAD_SECONDS = 1.0, 20.0  # a worker touches its file so often; it is dead when it has not for so long
POLL_SECONDS = 0.5
MOST_ATTEMPTS = 3


class _Backend(JournalFileBackend):
    """A journal whose last line may have been torn when a process was killed while it wrote."""

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines; what was torn is cut off first, or the next line would go on from it and spoil the file."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with _locked(self._journal), self._journal.open("r+b") as file:
            _cut_torn_line(file)
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())


def _cut_torn_line(file: BinaryIO) -> None:
    """Leave the file at its end, which is the end of a line."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    if file.read(1) in (b"", b"\n"):
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep every other process out, on this machine or another; a lock that a killed one left is broken after 30 s."""
    lock = JournalFileOpenLock(str(path))
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def open_journal(journal: Path) -> optuna.Study:
    """Open the sweep kept in a file, or begin it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(storage=JournalStorage(_Backend(journal)), study_name="sweep", load_if_exists=True)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the runs that came to their end, one a cell, in the order of the plan."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]


def plan(study: optuna.Study, journal: Path, cells: Sequence[Cell]) -> int:
    """Give up the trials of dead workers, queue the cells that have no trial, and return how many have not ended.

    Raises:
        RunError: If a cell has ended its worker too often.
    """
    with _locked(journal.with_name(f"{journal.name}.plan")):
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not _is_alive(journal, trial):
                study.tell(trial.number, state=TrialState.FAIL)
                _beat_file(journal, trial.user_attrs.get("worker", "")).unlink(missing_ok=True)
        trials: dict[str, list[FrozenTrial]] = {}
        for trial in study.get_trials(deepcopy=False):
            trials.setdefault(trial.user_attrs.get("name", ""), []).append(trial)
        unfinished = 0
        for cell in cells:
            attempts = trials.get(cell.name, [])
            if any(_has_ended(trial) for trial in attempts):
                continue
            unfinished += 1
            if all(trial.state == TrialState.FAIL for trial in attempts):
                if len(attempts) >= MOST_ATTEMPTS:
                    raise RunError(f"{journal}: the cell {cell.name!r} ended its worker {len(attempts)} times")
                study.enqueue_trial(dict(cell.settings), user_attrs={**cell.attributes(), "attempt": len(attempts) + 1})
        return unfinished


def _has_ended(trial: FrozenTrial) -> bool:
    """Return whether a run need not be repeated: it is complete, or its training failed with a reason."""
    return trial.state == TrialState.COMPLETE or (trial.state == TrialState.FAIL and "failure" in trial.user_attrs)


def work(journal: Path, name: str = "", *, parent: int | None = None) -> int:
    """Take queued cells and run them until none is left, or the parent process is gone; return how many."""
    name = name or uuid.uuid4().hex
    study, count = open_journal(journal), 0
    with _beating(_beat_file(journal, name)):
        while parent is None or os.getppid() == parent:
            if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                break
            trial = study.ask()
            trial.set_user_attr("worker", name)
            if "name" not in trial.user_attrs:  # another worker took the last cell in between
                study.tell(trial, state=TrialState.PRUNED)
                break
            _run(study, trial)
            count += 1
    return count


def _run(study: optuna.Study, trial: Trial) -> None:
    attributes = trial.user_attrs
    study.sampler = optuna.samplers.TPESampler(seed=attributes["seed"])
    settings = {name: _suggest(trial, name, attributes["kind"], attributes["most"]) for name in SETTINGS}
    options = {name: attributes[name] for name in ("seed", "recipe", "test_points", "compared")}
    try:
        value, measured = measure(settings, **options)
    except RunError as error:
        trial.set_user_attr("failure", str(error))
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        return
    trial.set_user_attr("measured", measured)
    study.tell(trial, value, skip_if_finished=True)


def _suggest(trial: Trial, name: str, kind: str, most: dict[str, float]) -> float:
    low, high = SETTINGS[name]
    if kind == "guided":
        high = most[name]
    if name in COUNTS:
        return trial.suggest_int(name, int(low), int(high), log=True)
    return trial.suggest_float(name, low, high, log=True)


def run_cells(journal: Path, cells: Sequence[Cell], num_workers: int, say: Callable[[str], None]) -> None:
    """Bring every cell to its end with worker processes; what is finished in the journal is not repeated.

    A worker that is killed loses the run it was at, which is queued anew. Workers elsewhere may share the journal.

    Args:
        journal: The file.
        cells: All cells, finished ones included.
        num_workers: Number of processes; 0 works in this one.
        say: Called with lines of progress.

    Raises:
        RunError: If a worker fails, or a cell ends its worker too often.
    """
    study = open_journal(journal)
    workers: dict[str, _Worker] = {}
    reported = plan(study, journal, cells)
    say(f"  {len(cells) - reported} of {len(cells)} runs are in the journal")
    try:
        while unfinished := plan(study, journal, cells):
            for name in [name for name, worker in workers.items() if worker.process.poll() is not None]:
                worker = workers.pop(name)
                worker.close(journal)
                if worker.process.returncode > 0:
                    raise RunError(f"a worker of the sweep failed: {worker.last_words()}")
                if worker.process.returncode < 0:
                    say(f"  a worker was ended by signal {-worker.process.returncode}; its run is queued anew")
            waiting = len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
            if num_workers == 0 and waiting:
                work(journal)
            while len(workers) < num_workers and waiting > 0:
                worker = _Worker(journal)
                workers[worker.name] = worker
                waiting -= 1
            if unfinished <= reported - 10:
                say(f"  {len(cells) - unfinished} of {len(cells)} runs")
                reported = unfinished
            time.sleep(POLL_SECONDS)
    finally:
        for worker in workers.values():
            worker.process.terminate()
            worker.process.wait()
            worker.close(journal)


class _Worker:
    """A worker process, and the file that takes what it says on standard error."""

    def __init__(self, journal: Path) -> None:
        self.name = uuid.uuid4().hex
        self._errors = tempfile.TemporaryFile("w+")  # closed by `close`
        self._last_words = ""
        command = [sys.executable, "-m", __name__, str(journal), self.name, str(os.getpid())]
        self.process = subprocess.Popen(command, stderr=self._errors, stdin=subprocess.DEVNULL)

    def close(self, journal: Path) -> None:
        """Say that the process, which has ended, is no longer at work."""
        _beat_file(journal, self.name).unlink(missing_ok=True)
        self._errors.seek(0)
        self._last_words = self._errors.read()
        self._errors.close()

    def last_words(self) -> str:
        """Return the last line that it wrote."""
        return (self._last_words.strip().splitlines() or ["it gave no reason"])[-1]


def _beat_file(journal: Path, name: str) -> Path:
    return journal.with_name(f"{journal.name}.{name}.alive")


@contextmanager
def _beating(path: Path) -> Iterator[None]:
    """Touch a file again and again, so that others see that this process lives."""
    stop = threading.Event()
    path.write_text(f"{os.getpid()}\n")

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            path.touch()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True)


def _is_alive(journal: Path, trial: FrozenTrial) -> bool:
    """Return whether the worker of a running trial still touches its file.

    Both times are the file system's, since the clocks of two machines need not agree.
    """
    name = trial.user_attrs.get("worker")
    if name is None:  # just taken, or its worker was killed in that instant
        assert trial.datetime_start is not None
        return time.time() - trial.datetime_start.timestamp() < DEAD_SECONDS
    try:
        last = _beat_file(journal, name).stat().st_mtime
    except FileNotFoundError:
        return False
    with tempfile.NamedTemporaryFile(dir=journal.parent) as clock:
        return os.fstat(clock.fileno()).st_mtime - last < DEAD_SECONDS


if __name__ == "__main__":
    torch.set_num_threads(1)
    journal_file, *identity = sys.argv[1:]
    work(Path(journal_file), *identity[:1], parent=int(identity[1]) if len(identity) > 1 else None)
