"""What `fit` returns: the run as a table, and how it ended."""

import json
import math
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from pushforward.display import curves, table

COLUMNS = ("step", "epoch", "seconds", "train_loss", "train_error", "validation_loss", "learning_rate")


@dataclass(repr=False)
class History:
    """A training run as a table with one row a report (about a hundred a run), and its summary. Losses are in nats.

    Attributes:
        rows: Dicts of step, epoch, seconds, train_loss (mean over the steps since the row before, or the last 20),
            train_error (its standard error), validation_loss (None without validation) and learning_rate.
        plan: [(step, num_steps), ...]: the number of steps planned at step 0 and every change. Given as `num_steps` it
            repeats a run that was limited by `max_seconds`.
        steps: Steps taken.
        seconds: Wall-clock seconds since the call, those before a resume included, compiling left out.
        steps_by: What took the steps: "plain torch", "torch.compile", "a CUDA graph" or "C".
        num_ranks: Processes that shared the steps, the last time it was started.
        compile_seconds: Seconds spent on compiling the step.
        best_step: Step of the weights that the model was left with.
        best_validation: Their validation loss, or None.
        rollbacks: Steps at which the run was rolled back and the learning rate halved.
        stopped_because: "finished", "time is up", "no improvement" or "running".
        notes: Remarks a user should see.
    """

    rows: list[dict[str, Any]] = field(default_factory=list, repr=False)
    plan: list[tuple[int, int]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    steps_by: str = "plain torch"
    num_ranks: int = 1
    compile_seconds: float = 0.0
    best_step: int = 0
    best_validation: float | None = None
    rollbacks: list[int] = field(default_factory=list)
    stopped_because: str = "running"
    notes: list[str] = field(default_factory=list)

    @property
    def num_steps(self) -> int:
        """The number of steps last planned."""
        return self.plan[-1][1] if self.plan else 0

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"History({self._in_words()})"

    def _in_words(self) -> str:
        """Return how the run ended, and its last losses in nats, in one line."""
        steps = f"{self.steps:,} of {self.num_steps:,} steps by {self.steps_by}"
        steps += f" on {self.num_ranks} processes" * (self.num_ranks > 1)
        words = [f"{steps} in {self.seconds:.1f} s, {self.stopped_because}"]
        if self.rows:
            words.append(f"train {self.rows[-1]['train_loss']:.4f}")
        if self.best_validation is not None:
            words.append(f"validation {self.best_validation:.4f} at step {self.best_step:,}")
        words += [f"{len(self.rollbacks)} rollbacks"] * bool(self.rollbacks)
        words += [f"{len(self.notes)} note{'s' * (len(self.notes) > 1)}"] * bool(self.notes)
        return "; ".join(words)

    def _repr_html_(self) -> str:
        columns = self.to_numpy()
        later = columns["step"] > 0
        lines = {
            name: (columns["step"][later].tolist(), columns[f"{name}_loss"][later].tolist())
            for name in ("train", "validation")
        }
        shown = self.rows[:: max(len(self.rows) // 4, 1)][:4] + self.rows[-1:]
        cells = [[f"{row['step']:,}", *(_cell(row.get(name)) for name in COLUMNS[2:])] for row in shown]
        notes = "".join(f"<div>{escape(note)}</div>" for note in self.notes)
        below = curves(lines, "step", "loss (nats)") + notes
        return table(self._in_words(), cells, ("step", *(name.replace("_", " ") for name in COLUMNS[2:])), below=below)

    def to_numpy(self) -> dict[str, np.ndarray]:
        """Return the table as one array a column; a missing value is NaN."""
        return {
            name: np.array([math.nan if row.get(name) is None else row[name] for row in self.rows], dtype=float)
            for name in COLUMNS
        }

    def to_jsonl(self) -> str:
        """Return the table as JSON lines; a value that is not finite is null."""
        return "".join(f"{json_line(row)}\n" for row in self.rows)

    def summary(self) -> dict[str, Any]:
        """Return everything but the table, as plain values."""
        return {name: value for name, value in vars(self).items() if name != "rows"}


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def json_line(row: dict[str, Any]) -> str:
    """Return a row of the table as one line of strict JSON."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
    return json.dumps(finite)
