"""Cells of a study: trained and measured once each, by processes that share a folder, here or on other machines."""

import fcntl
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Protocol

from torch import Tensor

from pushforward.errors import RunError
from pushforward.storage import json_and_tensors
from pushforward.studies.kit.record import Record, file_name
from pushforward.studies.kit.workers import Workers, found_at, place_of

TOOK = ("parameters", "steps", "seconds")
MOST_KILLS = 3  # of a cell's workers, before the cell is taken to be the cause
CELL_FILE = json_and_tensors.FileKind(
    key="cell",
    format_version=1,
    name="finished cell",
    copy_again="delete it to have the cell done again",
    right_file="delete it to have the cell done again",
)

Found = SimpleNamespace  # a cell that has ended: `cell`, and what was measured of it, each under its name


class Cell(Protocol):
    """A frozen dataclass of plain values, which describe one training and what is measured of it."""

    @property
    def name(self) -> str:
        """What tells it from all other cells of the study."""

    def perform(self, scratch: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Train, with checkpoints in `scratch`; return what is measured by name, plain values and tensors.

        What was trained has "parameters", "steps" and "seconds" among the values.
        """


def complete(record: Record, cells: Sequence[Cell], *, num_workers: int = 2) -> list[Found]:
    """Bring every cell to its end, and return what was found of each; those that the folder holds are not repeated.

    Several calls, also on other machines, may share the folder: a cell belongs to the process that holds its claim, a
    locked file. The lock ends with the process, so that the cell of one that was killed is free again.

    Args:
        record: Its folder keeps the cells; its quick form works in this process.
        cells: In the order in which they are begun.
        num_workers: Number of processes of one thread each; 0 works in this one.

    Raises:
        RunError: If a worker fails, or a cell ends its workers again and again.
    """
    folder, num_workers = record.out / record.size("runs", quick="quick-runs"), record.size(num_workers, quick=0)
    folder.mkdir(exist_ok=True)
    found = {cell.name: one for cell in cells if (one := _read(folder, cell)) is not None}
    record.say(f"  {len(found)} of {len(cells)} runs are in {folder}")
    kills: Counter[str] = Counter()
    with Workers() as workers:
        while left := [cell for cell in cells if cell.name not in found]:
            wait = True
            for cell in left:
                if cell.name in workers.running or len(workers.running) >= max(num_workers, 1):
                    continue
                if claim := _claim(folder, cell):
                    with claim:
                        if num_workers:
                            described = place_of(type(cell)), asdict(cell)  # type: ignore[call-overload]
                            workers.start(cell.name, _perform_described, folder, *described, holding=[claim])
                        else:
                            _perform(folder, cell)
                            wait = False
            for name, status, last_words in workers.ended(wait=wait):
                if status > 0:
                    raise RunError(f"the run {name} failed: {last_words}")
                if status < 0:
                    kills[name] += 1
                    record.say(f"  {name}: its worker was ended by signal {-status}; it is queued anew")
                if kills[name] == MOST_KILLS:
                    raise RunError(f"the run {name} failed: its worker was ended {MOST_KILLS} times")
            for cell in left:
                if (one := _read(folder, cell)) is not None:
                    found[cell.name] = one
                    record.say(f"  {cell.name} ({len(found)} of {len(cells)})")
    ended = [found[cell.name] for cell in cells]
    measured = [vars(one) for one in ended if "steps" in vars(one)]
    record.runs += [{"label": one["cell"].name, **{key: one[key] for key in TOOK}} for one in measured]
    return ended


def _path(folder: Path, cell: Cell, suffix: str) -> Path:
    return folder / f"{file_name(cell.name)}{suffix}"


def _read(folder: Path, cell: Any) -> Found | None:
    """Return what the folder holds of exactly this cell."""
    path = _path(folder, cell, ".safetensors")
    if not path.exists():
        return None
    document, tensors = json_and_tensors.read(path, CELL_FILE)
    return Found(cell=cell, **document["measured"], **tensors) if document["cell"] == asdict(cell) else None


def _claim(folder: Path, cell: Cell) -> IO[str] | None:
    """Return a file that is locked as long as it is open, here or in a worker; None if another process has it."""
    file = _path(folder, cell, ".claim").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _perform_described(folder: str, kind: str, values: dict[str, Any]) -> None:
    """Perform a claimed cell in a worker, which is told its class and fields."""
    _perform(Path(folder), found_at(kind)(**values))


def _perform(folder: Path, cell: Any) -> None:
    """Train and measure a claimed cell, unless another process has done so in the meantime."""
    if _read(folder, cell) is None:
        scratch = _path(folder, cell, "")
        scratch.mkdir(exist_ok=True)
        measured, tensors = cell.perform(scratch)
        document = {"cell": asdict(cell), "measured": measured}
        json_and_tensors.write(_path(folder, cell, ".safetensors"), document, tensors, CELL_FILE)
        shutil.rmtree(scratch)
    _path(folder, cell, ".claim").unlink(missing_ok=True)
