"""The commands that use a fitted model: sample, score, evaluate, verify."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.cli.terminal import say, show, warn
from pushforward.errors import InputError, RunError
from pushforward.report.wording import number
from pushforward.scale.over_pieces import Answer, Done, Place, checksum, over_pieces, shard_of
from pushforward.tables import Table
from pushforward.tables.built_in_data import is_built_in, rows_to_score
from pushforward.tables.cells import Cells
from pushforward.tables.columns import cells_of
from pushforward.tables.file_reader import WRITTEN
from pushforward.tables.from_anything import read_cells
from pushforward.tables.improbable import note_on_given
from pushforward.tables.in_pieces.pieces import Pieces
from pushforward.tables.model_folder import model_in
from pushforward.tables.table_model import TableModel
from pushforward.tables.writers import write_rows

if TYPE_CHECKING:
    import polars as pl


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


def score_command(path: Path, data: str, *, out: Path | None, shard: str, overwrite: bool) -> None:
    """Write a table with its log_prob appended."""
    model, total, outside = TableModel.load(path), 0.0, 0

    def answer(cells: Cells, place: Place) -> "tuple[pl.DataFrame, Table | Cells]":
        import polars as pl

        nonlocal total, outside
        table = model.law.table_of(cells)
        log_prob = model.log_prob(table)
        total, outside = total + float(log_prob.sum()), outside + int(np.isneginf(log_prob).sum())
        return pl.DataFrame({"log_prob": log_prob}), table

    out, done = answer_table(model, path, data, answer, called="scores", out=out, shard=shard, overwrite=overwrite)
    if outside:
        warn(f"{outside:,} of {done.rows:,} rows are outside the support of the model (log_prob -inf)")
    say(f"{out}: {done.rows:,} rows with log_prob in nats, mean {number(total / max(done.rows, 1))}{done.in_words}")


def answer_table(
    model: TableModel,
    path: Path,
    data: str,
    answer: Answer,
    *,
    called: str,
    out: Path | None,
    shard: str,
    overwrite: bool,
    **options: Any,
) -> tuple[Path, Done]:
    """Write a table with what a model says of each row beside it, whatever its length; return where, and what was done.

    Args:
        model: The model.
        path: Its file, or the folder of its fit.
        data: The table's file, or a built-in name.
        answer: Cells and their place -> new columns, and the table to write them beside.
        called: What is asked, which is also the file's name.
        out: File to write, or folder; None for the name in the table's own format.
        shard: "2/4", or "" for all rows.
        overwrite: Replace what is there.
        **options: What decides the answers besides.
    """
    pieces = Pieces.of_rows(read_cells(rows_to_score(data)[0])) if is_built_in(data) else Pieces(data)
    out = beside(out, called, data, next(iter(pieces)).file, overwrite=overwrite)
    said = False

    def told(cells: Cells, place: Place) -> "tuple[pl.DataFrame, Table | Cells]":
        nonlocal said
        if not said:
            say_left_out(cells, model.schema.columns)
            said = True
        return answer(cells, place)

    asked = {"asked": called, "model": checksum(model_in(path)), "options": options}
    return out, over_pieces(pieces, told, out, asked=asked, shard=shard_of(shard), overwrite=overwrite)


def beside(out: Path | None, called: str, data: str, first: Path, *, overwrite: bool) -> Path:
    """Return the file to write about a table, by default in the format of its first file.

    Raises:
        InputError: If that is the table itself, or a file that nobody has said may go.
    """
    if out is None:
        out = Path(called + next((suffix for suffix in WRITTEN if first.name.lower().endswith(suffix)), ".csv"))
    if out.exists() and Path(data).exists() and out.samefile(data):
        raise InputError(f"{out}: is the table itself (name another file with --out)")
    if not out.is_dir():
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
