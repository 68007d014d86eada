"""The commands that use a fitted model: sample, score, evaluate, verify."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.cli.terminal import say, show, warn
from pushforward.errors import InputError, RunError
from pushforward.report.wording import number
from pushforward.tables import Table, write_table
from pushforward.tables.built_in_data import rows_to_score
from pushforward.tables.cells import Cells
from pushforward.tables.columns import cells_of
from pushforward.tables.file_reader import WRITTEN
from pushforward.tables.improbable import note_on_given
from pushforward.tables.model_folder import model_in
from pushforward.tables.table_model import TableModel
from pushforward.tables.writers import write_rows


def sample_command(
    path: Path,
    *,
    num: int,
    given: str | None,
    complete: bool,
    out: Path,
    seed: int,
    temperature: float,
    overwrite: bool,
) -> None:
    """Write samples of a model to a file."""
    if num < 1:
        raise InputError(f"--num must be at least 1; got {num}")
    _refuse_existing(out, overwrite)
    path = model_in(path)
    model = TableModel.load(path)
    known = _read_given(given)
    samples = model.law.sample(num, known, complete=complete, temperature=temperature, seed=seed, called="--given")
    if note := note_on_given(model.law, known, "--given"):
        warn(note)
    modelled = model.schema.modelled
    write_rows(out, samples.select(*modelled, *model.schema.context), model.law.written)
    say(f"{out}: {len(samples):,} samples of {len(modelled)} column{'s' * (len(modelled) > 1)}")


def _refuse_existing(out: Path, overwrite: bool) -> None:
    """Raise InputError if writing would replace a file that nobody has said may go."""
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already (--overwrite replaces it, --out names another file)")


def score_command(path: Path, data: str, *, out: Path | None, overwrite: bool) -> None:
    """Write a table with its log_prob appended."""
    model = TableModel.load(path)
    table = model.law.table_of(rows_to_score(data)[0])
    out = beside(out, "scores", data, overwrite)
    say_left_out(table, model.schema.columns)
    log_prob = model.log_prob(table)
    write_table(out, ["log_prob"], log_prob[:, None], like=table)
    outside = int(np.isneginf(log_prob).sum())
    if outside:
        warn(f"{outside:,} of {len(log_prob):,} rows are outside the support of the model (log_prob -inf)")
    say(f"{out}: {len(log_prob):,} rows with log_prob in nats, mean {number(log_prob.mean())}")


def beside(out: Path | None, called: str, data: str, overwrite: bool) -> Path:
    """Return the file to write about a table, by default in the table's own format.

    Raises:
        InputError: If that is the table itself, or a file that nobody has said may go.
    """
    if out is None:
        out = Path(called + next((suffix for suffix in WRITTEN if data.lower().endswith(suffix)), ".csv"))
    if out.exists() and Path(data).exists() and out.samefile(data):
        raise InputError(f"{out}: is the table itself (name another file with --out)")
    _refuse_existing(out, overwrite)
    return out


def evaluate_command(path: Path, data: str) -> None:
    """Print how a model does on rows it has not seen."""
    model = TableModel.load(path)
    cells, truth = rows_to_score(data)
    table = model.law.table_of(cells)
    say_left_out(table, model.schema.columns)
    evaluation = model.evaluate(table, truth=truth)
    show(["", f"{evaluation.nll.num_rows:,} rows", "±"], evaluation.figures())
    if evaluation.nll.num_outside:
        warn(f"{evaluation.nll.num_outside:,} rows are outside the support of the model")


def verify_command(path: Path, *, seed: int) -> None:
    """Print whether a model is invertible and its log-determinants are true."""
    path = model_in(path)
    report = TableModel.load(path).verify(seed=seed)
    say(str(report))
    if not report.ok:
        raise RunError(f"{path}: {len(report.problems)} check{'s' * (len(report.problems) > 1)} failed")


def _read_given(text: str | None) -> Any:
    """Return what `label=1,x3=0.5` gives as a mapping, and the name of a file as it is."""
    if text is None or os.path.exists(text) or "=" not in text:
        return text
    return {name.strip(): value.strip() for name, _, value in (item.rpartition("=") for item in cells_of(text))}


def say_left_out(table: Table | Cells, columns: Sequence[str]) -> None:
    """Say what was doubtful about a table that was read, and which of its columns a model does not know."""
    for note in table.notes:
        warn(f"{table.source}: {note}")
    there = table.frame.columns if isinstance(table, Cells) else table.all_columns
    left_out = [name for name in there if name not in columns]
    if left_out and len(left_out) + len(columns) == len(there):
        some = ", ".join(left_out[:10]) + (" and more" if len(left_out) > 10 else "")
        say(f"columns that the model does not know are ignored: {some}")
