"""Faults that are really made: what a command says, what stays, and whether the result is the undisturbed one."""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushforward.studies.kit import Record
from pushforward.studies.scale import ray_worker
from pushforward.studies.scale.left import half_written, is_trained, parts, reports, same_weights
from pushforward.studies.scale.processes import Ended, Processes, Running, run_command
from pushforward.studies.scale.rows import write_files

FILES = 8
PART_BYTES = 16_384  # a part is longer than this, and what a process says is shorter


@dataclass
class Fault:
    """What came of a fault.

    Attributes:
        name: What was done.
        said: What the command said.
        status: Its exit code; negative, the signal that ended it.
        seconds: From the fault to the end of the process, or of the others where one was killed.
        left: What was there then.
        after: What the same command led to, started again where it had ended; "" where nothing was to be gained.
        good: Whether all was as it should be.
    """

    name: str
    said: str
    status: int
    seconds: float
    left: str
    after: str
    good: bool


class Faults:
    """Makes faults in a folder.

    Args:
        record: Of the study.
        processes: That start what is disturbed.
        model: A model file.
    """

    def __init__(self, record: Record, processes: Processes, model: Path) -> None:
        self.processes, self.model, self.quick = processes, model, record.quick
        self.folder = processes.scratch / "faults"
        self.folder.mkdir()
        self.rows = write_files(self.folder / "rows", FILES, record.size(40_000, quick=2_500), seed=record.seed)
        self.few = write_files(self.folder / "few", FILES, record.size(10_000, quick=1_000), seed=record.seed)
        self.num_steps, self.num_shared_steps = record.size((3_000, 600), quick=(80, 40))

    def score(self, out: Path, *more: str, rows: Path | None = None) -> Running:
        """Start to score the rows."""
        return self.processes.command("score", self.model, rows or self.rows, "--out", out, *more)

    def words(self, ended: Ended) -> str:
        """Return what a process said, without the folder's name."""
        return " / ".join(ended.said).replace(f"{self.folder}/", "")

    # ---- training ----------------------------------------------------------------------------------------------------

    def fit(self, out: Path, num_steps: int, *more: str, ranks: int = 1, rows: Path | None = None) -> list[Running]:
        """Start to train on a stream, in one process or several ranks."""
        command = ("fit", rows or self.few, "--stream", "--recipe", "realnvp", "--steps", num_steps, "--out", out)
        return self.processes.ranks(ranks, run_command, *map(str, command), *more)

    def trained(self, out: Path, num_steps: int, *more: str, ranks: int = 1) -> Path:
        """Train to the end, and leave out what a fit does then; return the folder."""
        running = self.fit(out, num_steps, *more, ranks=ranks)
        running[0].until(lambda: is_trained(out, num_steps))
        for one in running:
            one.kill()
            one.ended()
        return out

    def trainer_killed(self) -> Fault:
        """Kill a process that trains on a stream; let it go on from its checkpoint."""
        out = self.folder / "killed"
        (process,) = self.fit(out, self.num_steps)
        checkpoint = out / "checkpoint.safetensors"
        process.until(checkpoint.exists)
        first = checkpoint.stat().st_mtime_ns
        process.until(lambda: reports(out) > 85 or (reports(out) > 3 and checkpoint.stat().st_mtime_ns > first))
        began = process.seconds
        process.kill()
        ended, steps = process.ended(), reports(out)
        same = same_weights(
            self.trained(out, self.num_steps, "--resume"), self.trained(self.folder / "whole", self.num_steps)
        )
        return Fault(
            "SIGKILL of a process that trains on a stream", self.words(ended), ended.status, ended.seconds - began,
            f"the checkpoint, whole; {steps} reports", _equal(same, "weights"), same and not ended.said,
        )  # fmt: skip

    def rank_killed(self) -> Fault:
        """Kill one of two ranks; start both again."""
        out, num_steps = self.folder / "rank-killed", self.num_shared_steps
        first, second = self.fit(out, num_steps, ranks=2)
        first.until(lambda: reports(out) > 2)
        began = first.seconds
        second.kill()
        ended = first.ended()
        second.ended()
        same = same_weights(
            self.trained(out, num_steps, "--resume", ranks=2), self.trained(self.folder / "ranks", num_steps, ranks=2)
        )
        return Fault(
            "SIGKILL of one of two ranks", self.words(ended), ended.status, ended.seconds - began,
            "the checkpoint, whole", _equal(same, "weights"), same and len(ended.said) == 1 and ended.status == 1,
        )  # fmt: skip

    def disk_full_in_training(self) -> Fault:
        """Let a training's files not grow any more."""
        out = self.folder / "full-fit"
        (process,) = self.fit(out, self.num_steps)
        process.until(lambda: reports(out) > 3)
        began = process.seconds
        before = (out / "checkpoint.safetensors").stat().st_size
        process.limit_files(PART_BYTES)
        ended = process.ended()
        whole = before == (out / "checkpoint.safetensors").stat().st_size
        good = whole and len(ended.said) == 1 and ended.status == 1 and not half_written(out)
        left = "the checkpoint, whole" if whole and not half_written(out) else "something half-written"
        return Fault(
            "the disk is full (no file grows) while it trains", self.words(ended), ended.status,
            ended.seconds - began, left, "", good,
        )  # fmt: skip

    def row_group_damaged_in_training(self) -> Fault:
        """Train on files of which one is damaged."""
        (process,) = self.fit(self.folder / "damaged-fit", self.num_shared_steps, rows=self.damaged(self.few))
        ended = process.ended()
        good = len(ended.said) == 1 and ended.status == 2 and "row group 1" in ended.said[0]
        return Fault(
            "a damaged row group, to train on", self.words(ended), ended.status, ended.seconds, "", "", good
        )  # fmt: skip

    # ---- scoring -----------------------------------------------------------------------------------------------------

    def shard_killed(self) -> Fault:
        """Kill one of two shards; start the same command again."""
        out = self.folder / "shards"
        first, second = (self.score(out, "--shard", f"{shard}/2") for shard in (1, 2))
        first.until(lambda: parts(out))
        began = first.seconds
        first.kill()
        ended, there = first.ended(), parts(out)
        second.ended()
        self.score(out, "--shard", "1/2").ended()
        return self._scored(
            "SIGKILL of one of two shards that score", ended, ended.seconds - began, out, there, may_say=0
        )

    def disk_full(self) -> Fault:
        """Let the parts of a scoring not grow any more; start it again with room."""
        out = self.folder / "full"
        process = self.score(out)
        process.until(lambda: parts(out))
        began = process.seconds
        process.limit_files(PART_BYTES)
        ended, there = process.ended(), parts(out)
        self.score(out).ended()
        name = "the disk is full (no file grows) while it scores"
        return self._scored(name, ended, ended.seconds - began, out, there)

    def row_group_damaged(self) -> Fault:
        """Score files of which one is damaged."""
        out = self.folder / "damaged-scores"
        ended = self.score(out, rows=self.damaged(self.rows)).ended()
        good = len(ended.said) == 1 and ended.status == 2 and "row group 1" in ended.said[0] and len(parts(out)) == 4
        return Fault(
            "a damaged row group, to score", self.words(ended), ended.status, ended.seconds, self._left(out), "", good
        )

    def file_cut_off(self) -> Fault:
        """Score files of which one ends in the middle."""
        rows = self.folder / "cut-off"
        shutil.copytree(self.rows, rows)
        file = rows / "rows-4.parquet"
        os.truncate(file, file.stat().st_size // 2)
        ended = self.score(self.folder / "cut-scores", rows=rows).ended()
        good = len(ended.said) == 1 and ended.status == 2
        return Fault("a file that is cut off", self.words(ended), ended.status, ended.seconds, "", "", good)

    def file_changed(self) -> Fault:
        """Write to a file while it is scored."""
        rows, out = self.folder / "changing", self.folder / "changed-scores"
        shutil.copytree(self.rows, rows)
        process = self.score(out, rows=rows)
        process.until(lambda: parts(out))
        began = process.seconds
        for number in range(FILES):
            os.utime(rows / f"rows-{number}.parquet", ns=(1, 1))
        ended = process.ended()
        good = len(ended.said) == 1 and ended.status == 1 and not half_written(out)
        return Fault(
            "a file changes while it is scored", self.words(ended), ended.status, ended.seconds - began,
            self._left(out), "", good,
        )  # fmt: skip

    def worker_killed(self) -> Fault | None:
        """Kill a worker of Ray while it scores; None in the short form, and where Ray is not installed."""
        if self.quick or importlib.util.find_spec("ray") is None:
            return None
        out = self.folder / "ray"
        process = self.score(out, "--ray", "local")
        killed = process.until(lambda: parts(out) and ray_worker.kill_one(process.pid))
        began = process.seconds
        ended = process.ended()
        name = "SIGKILL of a Ray worker that scores" if killed else "no Ray worker was found"
        return self._scored(name, ended, ended.seconds - began, out, parts(out), may_say=0)

    # ---- what is there -----------------------------------------------------------------------------------------------

    def damaged(self, rows: Path) -> Path:
        """Return a copy of files of which the fifth has a row group of zeros."""
        import pyarrow.parquet as parquet

        folder = self.folder / f"damaged-{rows.name}"
        shutil.copytree(rows, folder)
        file = folder / "rows-4.parquet"
        column = parquet.ParquetFile(file).metadata.row_group(0).column(1)
        with file.open("r+b") as handle:
            handle.seek(column.data_page_offset)
            handle.write(bytes(column.total_compressed_size))
        return folder

    def _scored(
        self, name: str, ended: Ended, seconds: float, out: Path, there: list[str], *, may_say: int = 1
    ) -> Fault:
        """Return a fault after which the same command led to all parts, compared with an undisturbed one's."""
        whole = self.folder / "scores"
        if not whole.exists():
            self.score(whole).ended()
        same = parts(out) == parts(whole) and all(
            (out / part).read_bytes() == (whole / part).read_bytes() for part in parts(whole)
        )
        good = same and len(ended.said) == may_say and (ended.status < 0 or not half_written(out))
        left = f"{len(there)} of {FILES} parts, whole"
        return Fault(name, self.words(ended), ended.status, seconds, left, _equal(same, "parts"), good)

    def _left(self, out: Path) -> str:
        return f"{len(parts(out))} of {FILES} parts, whole"


def _equal(same: bool, what: str) -> str:
    """Return what became of the same command, started again."""
    return f"{what} equal to the undisturbed" if same else f"{what} differ"


def table(record: Record, faults: list[Fault], missing: list[str]) -> None:
    """Add the table of what happened."""
    record.number("faults", {one.name: vars(one) for one in faults})
    record.table(
        "Each was made, at the moment when the first parts or reports were there.",
        [
            "what was done",
            "exit code",
            "what it said",
            "seconds to its end",
            "what stayed",
            "what came of it, started again where it had ended",
            "as it should be",
        ],
        [_cells(one) for one in faults],
    )
    for text in missing:
        record.text(text)


def _cells(one: Fault) -> list[Any]:
    said = one.said or "(nothing)"
    return [one.name, str(one.status), said, one.seconds, one.left, one.after, one.good]
