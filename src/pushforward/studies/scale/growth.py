"""Rows against time and memory: reading, training and scoring, on one process and on two, of tables of growing size."""

import json
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pushforward.errors import RunError
from pushforward.studies.kit import Record
from pushforward.studies.scale import scale_figures
from pushforward.studies.scale.cost import Line, fit_line
from pushforward.studies.scale.left import is_trained, reports
from pushforward.studies.scale.processes import Ended, Processes, Running, run_command
from pushforward.studies.scale.rows import COLUMNS, fit_model, read_once, train_on_rows, write_rows
from pushforward.training.data.batches import usual_batch_size

READ, SCORED, SHARDS = "read, 1 process", "scored, 1 process", "scored, 2 shards"
FITTED, IN_MEMORY, RANKS = "fitted, streamed", "fitted, in memory", "fitted, streamed, 2 ranks"
QUICK_STEPS = 4
CORES = 2  # threads of a single process, and processes of one thread


@dataclass
class Growth:
    """What was measured of tables of each size.

    Attributes:
        bytes: Of the file of so many rows.
        rows: Of what was measured, by name; all that follows has these sizes.
        seconds: Of whole processes, from their start.
        memory: The most bytes that one of them held.
        rate: Rows a second while reading, training or scoring; None where that was over before it was told.
        first_step: Seconds from the start to the first training step.
    """

    bytes: dict[int, int] = field(default_factory=dict)
    rows: dict[str, list[int]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[int]] = field(default_factory=dict)
    rate: dict[str, list[float | None]] = field(default_factory=dict)
    first_step: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, rows: int, ended: list[Ended], rate: float | None) -> None:
        """Add what processes took that worked side by side."""
        for one in ended:
            if one.status:
                raise RunError(f"the study's process ({name}) failed: {one.said[-1] if one.said else one.status}")
        self.rows.setdefault(name, []).append(rows)
        self.seconds.setdefault(name, []).append(max(one.seconds for one in ended))
        self.memory.setdefault(name, []).append(max(one.memory for one in ended))
        self.rate.setdefault(name, []).append(rate)


class Measuring:
    """Measures tables of growing size.

    Args:
        record: Of the study.
        processes: In which all is done.
    """

    def __init__(self, record: Record, processes: Processes) -> None:
        self.record, self.processes, self.folder = record, processes, processes.scratch
        self.sizes = record.size((100_000, 1_000_000, 10_000_000), quick=(5_000, 20_000))
        self.fit_options = record.size(["--max-seconds", "12"], quick=["--steps", str(QUICK_STEPS)])
        self.model = self.folder / "model.safetensors"
        self.found = Growth()

    def all_sizes(self) -> Growth:
        """Measure every size, add table and picture."""
        self.record.heading("Rows against time and memory")
        for size in self.sizes:
            file = write_rows(self._file(size), size, seed=self.record.seed)
            self.found.bytes[size] = file.stat().st_size
            self.record.say(f"  {size:,} rows: {file.stat().st_size / 1e9:.3f} GB written")
            if not self.model.exists():
                self.processes.start(fit_model, file, self.model, self.record.size(150, quick=4)).ended()
            self._read(size)
            self._fit(size, FITTED, ["--stream"], ranks=1)
            if size == self.sizes[-2]:
                self._fit(size, IN_MEMORY, ["--no-stream"], ranks=1)
            self._score(size, SCORED, 1)
            if size == self.sizes[-1]:
                self._fit(size, RANKS, ["--stream"], ranks=2)
                self._score(size, SHARDS, 2)
            self.record.say(f"  {size:,} rows: read, fitted, scored")
        self.record.number("growth", self.found)
        self._report()
        return self.found

    def _file(self, size: int) -> Path:
        return self.folder / f"rows-{size}.parquet"

    def _read(self, size: int) -> None:
        ended = self.processes.start(read_once, self._file(size), threads=CORES).ended()
        self.found.add(READ, size, [ended], ended.answer["rows"] / ended.answer["seconds"] if ended.answer else None)

    def _fit(self, size: int, name: str, how: list[str], *, ranks: int) -> None:
        out = self.folder / "fit"
        (out / "history.jsonl").unlink(missing_ok=True)
        arguments = ("fit", self._file(size), *how, "--recipe", "flow", *self.fit_options, "--overwrite", "--out", out)
        running = self.processes.ranks(ranks, run_command, *map(str, arguments))
        first = running[0].until(lambda: reports(out) and running[0].seconds)
        if self.record.quick:  # evaluation and report take longer than all the rest
            running[0].until(lambda: is_trained(out, QUICK_STEPS))
            ended = [one.stop() for one in running]
        else:
            ended = [one.ended() for one in running]
        self.found.first_step.setdefault(name, []).append(first or 0.0)
        self.found.add(name, size, ended, rows_trained_a_second(out, size))

    def _score(self, size: int, name: str, shards: int) -> None:
        out = self.folder / f"scores-{shards}{'' if shards > 1 else '.parquet'}"
        more = [["--shard", f"{one + 1}/{shards}"] if shards > 1 else ["--overwrite"] for one in range(shards)]
        running: list[Running] = [
            self.processes.command("score", self.model, self._file(size), "--out", out, *one, threads=CORES // shards)
            for one in more
        ]
        ended = [one.ended() for one in running]
        told = [told_rate(one.progress) for one in ended]
        self.found.add(name, size, ended, None if None in told else sum(one or 0.0 for one in told))
        if out.is_file():
            out.unlink()

    def _report(self) -> None:
        found = self.found
        lines = {name: fit_line(found.rows[name], found.seconds[name]) for name in (READ, SCORED)}
        self.record.number("lines", {name: line._asdict() for name, line in lines.items()})
        self.record.text(
            f"Tables of {COLUMNS} float64 columns in Parquet, row groups of 100,000 rows, on a disk whose pages are in "
            f"memory once they were written. Every number is of a process of its own, its start included; {CORES} "
            "threads where it is alone and scores or reads, one where it trains. Fits are `pushforward fit --recipe "
            f"flow {' '.join(self.fit_options)}`, evaluation and report included in seconds and memory; scores go to "
            "one file, those of two shards to a folder of parts."
        )
        self.record.table(
            "Seconds and memory are of the whole process, the rate of the work alone; first step: seconds from the "
            "start of the process to its first training step.",
            ["what", "rows", "file, GB", "seconds", "first step", "rows a second", "most memory, GB"],
            [row for name in found.seconds for row in self._rows_of(name)],
        )
        self._answer(lines)
        self.record.picture(
            "growth",
            scale_figures.growth(found.rows, found.seconds | found.first_step, found.memory),
            "Seconds and most memory of whole processes against rows; of fits, which end after the seconds that they "
            "are given, the seconds to the first step. The broken line grows as the rows do.",
        )

    def _rows_of(self, name: str) -> list[list[Any]]:
        found = self.found
        steps = found.first_step.get(name, [None] * len(found.rows[name]))
        measured = zip(found.rows[name], found.seconds[name], steps, found.rate[name], found.memory[name], strict=True)
        return [
            [name, rows, found.bytes[rows] / 1e9, seconds, step, None if rate is None else round(rate), memory / 1e9]
            for rows, seconds, step, rate, memory in measured
        ]

    def _answer(self, lines: dict[str, Line]) -> None:
        """Answer what was promised of the largest table."""
        found, rows = self.found, self.sizes[-1]
        self.record.answer(
            f"What does the fit of {rows:,} rows need, piece by piece? (Asked: less than 2 GB, a step within 10 s)",
            f"{found.memory[FITTED][-1] / 1e9:.2f} GB at most, and {found.first_step[FITTED][-1]:.1f} s from the start "
            "of the process to the first step.",
        )
        rates = {name: found.rate[name][-1] for name in (SCORED, SHARDS)}
        self.record.answer(
            "How many rows are scored in a second? (Asked: 100,000)",
            "; ".join(f"{rate:,.0f} ({name})" for name, rate in rates.items() if rate is not None) + ".",
        )
        said = [
            f"{name}: {line.start:.1f} s and {1e6 / line.rate:.3g} s a million rows (largest error {line.worst:.0%})"
            for name, line in lines.items()
        ]
        self.record.answer(
            "Does time grow in proportion to rows?", f"A line through all sizes, by relative error. {'; '.join(said)}."
        )

    def streamed_against_memory(self) -> None:
        """Compare training piece by piece with training in memory, turn by turn."""
        size, repeats = self.record.size((1_000_000, 3), quick=(20_000, 1))
        num_steps = self.record.size(2_000, quick=8)
        found: dict[str, list[float]] = {}
        memory: dict[str, int] = {}
        for turn in range(repeats):
            for streamed in (True, False) if turn % 2 else (False, True):
                name = "streamed" if streamed else "in memory"
                ended = self.processes.start(train_on_rows, self._file(size), streamed, num_steps).ended()
                found.setdefault(name, []).append(steps_a_second(ended.answer))
                memory[name] = max(memory.get(name, 0), ended.memory)
        medians = {name: statistics.median(rates) for name, rates in found.items()}
        ratio = medians["streamed"] / medians["in memory"]
        self.record.number("streamed", {"rows": size, "steps_a_second": found, "ratio": ratio, "memory": memory})
        self.record.table(
            f"`pf.fit` on {size:,} rows, a spline flow, {num_steps:,} steps of 512 rows, one thread, validation on the "
            "same rows, start left out: steps a second, turn by turn.",
            ["rows", "median", "of each turn", "most memory, GB"],
            [
                [name, medians[name], ", ".join(f"{one:.1f}" for one in found[name]), memory[name] / 1e9]
                for name in medians
            ],
        )
        self.record.answer(
            "How fast is training piece by piece, beside the same in memory? (Asked: 95 %)",
            f"{ratio:.0%} of the steps a second.",
        )


def rows_trained_a_second(out: Path, num_rows: int) -> float | None:
    """Return how many rows a second went into the steps that a history tells of, its first report left out."""
    reports = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    if len(reports) < 3:
        return None
    first, last = reports[1], reports[-1]
    return usual_batch_size(num_rows) * (last["step"] - first["step"]) / (last["seconds"] - first["seconds"])


def steps_a_second(reports: list[list[float]]) -> float:
    """Return steps a second between the second report and the last: the first has the start in it."""
    (first, began), (last, ended) = reports[1], reports[-1]
    return (last - first) / (ended - began)


def told_rate(progress: str) -> float | None:
    """Return the rows a second of a line of progress."""
    found = re.search(r"([\d,]+) a second", progress)
    return float(found[1].replace(",", "")) if found else None
