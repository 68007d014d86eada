"""The commands that use a fitted model: sample, score, evaluate, verify."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pushforward.cli.terminal import say, show, warn
from pushforward.cli.where import Where
from pushforward.errors import InputError, RunError
from pushforward.report.wording import number
from pushforward.scale.making import Done, shard_of
from pushforward.scale.over_pieces import checksum, over_pieces
from pushforward.scale.questions import LogProb, Question
from pushforward.scale.samples import Samples
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


def sample_command(
    path: Path, *, num: int, given: str | None, complete: bool, seed: int, temperature: float, where: Where
) -> None:
    """Write samples of a model to a file, or to a folder."""
    if num < 1:
        raise InputError(f"--num must be at least 1; got {num}")
    out, known = where.out or Path("samples.csv"), _read_given(given)
    if not out.is_dir():
        _refuse_existing(out, where.overwrite)
    samples = Samples(path, out, num, known, complete=complete, temperature=temperature, seed=seed)
    if note := note_on_given(samples.model.law, known, "--given"):
        warn(note)
    done = samples.write(shard=shard_of(where.shard), ray=where.ray, overwrite=where.overwrite)
    columns = len(samples.model.schema.modelled)
    say(f"{out}: {done.rows:,} samples of {columns} column{'s' * (columns > 1)}{done.in_words}")


def _refuse_existing(out: Path, overwrite: bool) -> None:
    """Raise InputError if writing would replace a file that nobody has said may go."""
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already (--overwrite replaces it, --out names another file)")


def score_command(path: Path, data: str, *, where: Where) -> None:
    """Write a table with its log_prob appended."""
    out, done = answer_table(LogProb(path), data, where)
    total, outside = sum(one for one, _ in done.told), sum(one for _, one in done.told)
    if outside:
        warn(f"{outside:,} of {done.rows:,} rows are outside the support of the model (log_prob -inf)")
    say(f"{out}: {done.rows:,} rows with log_prob in nats, mean {number(total / max(done.rows, 1))}{done.in_words}")


def answer_table(question: Question, data: str, where: Where) -> tuple[Path, Done]:
    """Write a table with what a model says of each row beside it, whatever its length; return where, and what was done.

    Args:
        question: What is asked.
        data: The table's file, or a built-in name.
        where: Where the answers go, and who answers.
    """
    pieces = Pieces.of_rows(read_cells(rows_to_score(data)[0])) if is_built_in(data) else Pieces(data)
    out = beside(where.out, question.called, data, pieces[0].file, overwrite=where.overwrite)
    model = checksum(model_in(question.path))
    return out, over_pieces(
        pieces, question, out, asked={"asked": question.called, "model": model, "options": question.record},
        shard=shard_of(where.shard), ray=where.ray, overwrite=where.overwrite,
        look=lambda first: say_left_out(first, question.model.schema.columns),
    )  # fmt: skip


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
