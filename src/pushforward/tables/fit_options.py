"""How a table is fitted: the arguments of `TableModel.fit` that both laws share, checked once."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pushforward.errors import require_count, require_flag, require_number, require_seed
from pushforward.tables.column_kinds import said_of_left_out
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.in_pieces.judged_rows import in_words
from pushforward.tables.in_pieces.row_stream import RowStream
from pushforward.tables.model_folder import remove_model
from pushforward.training.ranks import Ranks

MAX_SECONDS = 60.0
NOT_HELD_OUT = "no rows are held out (test=0)"


@dataclass
class FitOptions:
    """Arguments of `TableModel.fit`, checked; `max_seconds` is None where `num_steps` alone ends the training."""

    max_seconds: float | None
    num_steps: int | None
    seed: int
    test: float
    out: str | os.PathLike[str] | None
    resume: bool
    device: str | torch.device
    progress: bool
    notify: Callable[[str], None]

    def __post_init__(self) -> None:
        self.resume = require_flag("resume", self.resume)
        self.seed = require_seed(self.seed)
        self.num_steps = None if self.num_steps is None else require_count("num_steps", self.num_steps)
        if self.max_seconds is not None or self.num_steps is None:
            most = MAX_SECONDS if self.max_seconds is None else self.max_seconds
            self.max_seconds = require_number("max_seconds", most, above=0)

    def seconds(self, share: float) -> float | None:
        """Return a share of the time."""
        return None if self.max_seconds is None else share * self.max_seconds

    def training(self, share: float, folder: str = "") -> dict[str, Any]:
        """Return what `pf.fit` takes for a training that has a share of the time, and a folder inside `out`."""
        return {
            "max_seconds": self.seconds(share), "num_steps": self.num_steps, "seed": self.seed,
            "out": None if self.out is None else Path(self.out) / folder,
            "resume": self.resume, "device": self.device, "progress": self.progress,
        }  # fmt: skip

    def begin(self, table: ForFitting, *, held_out: bool, doubts: Sequence[str] = (), called: str) -> list[str]:
        """Say what is doubtful before the training, take the model of an earlier fit away, and return what was said.

        Of several processes that fit the same table the first alone does so.

        Args:
            table: What is fitted.
            held_out: Whether rows are held out.
            doubts: What else is doubtful.
            called: What is fitted, in a word.
        """
        warnings = [*table.notes, *said_of_left_out(table.left_out), *doubts]
        if not held_out:
            few = f"only {table.num_rows} rows: none could be held out" if self.test else NOT_HELD_OUT
            warnings.append(f"{few}, so the figures are those of the training rows and flatter the {called}")
        if not Ranks.here().is_first:
            return warnings
        for warning in warnings:
            self.notify(warning)
        if self.out is not None and not self.resume:
            remove_model(self.out)
        return warnings

    def tell_left_out(self, stream: RowStream | None) -> list[str]:
        """Say which rows were left out of the training, and return what was said."""
        said = [] if stream is None else in_words(stream.left_out, stream.num_read)
        if Ranks.here().is_first:
            for warning in said:
                self.notify(warning)
        return said
