"""The command `fit`: from a table to model, samples and report in one folder."""

import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pushforward.cli.processes import part, processes
from pushforward.cli.terminal import say, show, warn
from pushforward.errors import InputError, require_count
from pushforward.report.wording import number, seconds
from pushforward.storage.folders import folder_for_results
from pushforward.tables.built_in_data import table_to_fit
from pushforward.tables.column_kinds import said_of
from pushforward.tables.columns import as_text, names_in
from pushforward.tables.flow_for_table import check_recipe
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.model_folder import MODEL
from pushforward.tables.problems import TableProblems
from pushforward.tables.table_model import TableModel
from pushforward.tables.writers import write_rows

CHECKPOINT = "checkpoint.safetensors"
SAMPLES, REPORT, HISTORY = "samples.csv", "report.html", "history.jsonl"


def fit_command(
    data: str,
    *,
    recipe: str,
    context: str,
    columns: str,
    drop: str,
    missing: str,
    strict: bool,
    stream: bool | None,
    max_seconds: float | None,
    steps: int | None,
    seed: int,
    device: str,
    out: Path,
    resume: bool,
    overwrite: bool,
) -> None:
    """Fit a flow to a table and write model, history, samples and report to the folder `out`."""
    command = ["pushforward", "fit", data]
    for option, value, default in (
        ("--recipe", recipe, "auto"), ("--context", context, ""), ("--columns", columns, ""),
        ("--drop", drop, ""), ("--missing", missing, ""),
        ("--max-seconds", "" if max_seconds is None else f"{max_seconds:.15g}", ""),
        ("--steps", "" if steps is None else str(steps), ""), ("--seed", str(seed), "0"),
        ("--device", device, "auto"), ("--out", str(out), "pushforward-out"),
    ):  # fmt: skip
        command += [option, value] if value != default else []
    command += ["--strict"] if strict else []
    command += [] if stream is None else ["--stream" if stream else "--no-stream"]

    with processes(device) as (ranks, device):
        _check_options(recipe, max_seconds, steps, seed, resume=resume, overwrite=overwrite)
        ranks.from_first(lambda: _check_out(data, out, keep=not (resume or overwrite)))
        with _what_to_drop(command, drop):
            table, truth = table_to_fit(
                data, context=context, columns=columns, drop=drop, missing=missing, strict=strict, stream=stream,
                recipe=recipe, seed=seed,
            )  # fmt: skip
        if ranks.is_first:
            given = f" (context: {context})" if context else ""
            show_table(table, f"{given}; results go to {out}")
        with ExitStack() as folder, _how_to_go_on(out, [*command, "--resume"]):
            results = folder_for_results(out, remedy="name another folder with --out")
            ranks.from_first(lambda: folder.enter_context(results))  # which alone writes there
            model = TableModel.fit(
                table, recipe=recipe, max_seconds=max_seconds, num_steps=steps, seed=seed,
                truth=truth, out=out, resume=resume, device=device, notify=warn,
            )  # fmt: skip
            part()
            if not ranks.is_first:
                return
            model.summary["command"] = shlex.join(command)
            model.evaluate()
            model.save(out / MODEL)
            names = (*model.schema.modelled, *model.schema.context)
            write_rows(out / SAMPLES, model.law.preview(model.fitted).select(names), model.law.written)  # type: ignore[arg-type]
            model.report(out / REPORT)
    _show(model, out)


MOST_SHOWN = 40  # columns


def show_table(table: ForFitting, end: str) -> None:
    """Print how large a table is, before the end of the line, and what its columns were read as."""
    width = len(table.columns)
    say(f"{table.source}: {table.num_rows_in_all:,} rows, {width} column{'s' * (width > 1)}{end}")
    if table.numbers is None:
        show_columns(table)


def show_columns(table: ForFitting) -> None:
    """Print what each column was read as, and why."""
    lines = said_of(table.columns)
    for line in lines[:MOST_SHOWN]:
        say(f"  {line}")
    if len(lines) > MOST_SHOWN:
        say(f"  and {len(lines) - MOST_SHOWN} more (the report has all)")


def _check_options(
    recipe: str, max_seconds: float | None, steps: int | None, seed: int, *, resume: bool, overwrite: bool
) -> None:
    """Raise InputError if an option is out of range."""
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other (choose one)")
    if max_seconds is not None and not 0 < max_seconds < float("inf"):
        raise InputError(f"--max-seconds must be positive; got {max_seconds}")
    if steps is not None:
        require_count("--steps", steps)
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed must be at least 0; got {seed}")
    check_recipe(recipe)


def _check_out(data: str, out: Path, *, keep: bool) -> None:
    """Raise InputError if the results would replace the table, or, to be kept, a model, a run or other files there."""
    if os.path.exists(data) and any(file.exists() and file.samefile(data) for file in (out / SAMPLES, out / REPORT)):
        raise InputError(
            f"{data}: is the table itself, and the results would replace it (name another folder with --out)"
        )
    if not keep:
        return
    for name, what in ((MODEL, "a model"), (CHECKPOINT, "an unfinished run")):
        if (out / name).exists():
            raise InputError(
                f"{out}: holds {what} already (--resume goes on with it, --overwrite replaces it, --out names another"
                " folder)"
            )
    for name in (SAMPLES, REPORT, HISTORY):
        if (out / name).exists():
            raise InputError(f"{out}: holds {name} already (--overwrite replaces it, --out names another folder)")


@contextmanager
def _what_to_drop(command: list[str], dropped: str) -> Iterator[None]:
    """Say after an error about some columns with which command the others are fitted."""
    try:
        yield
    except TableProblems as error:
        if error.usable is None:
            raise
        if "--drop" in command:
            place = command.index("--drop")
            command = command[:place] + command[place + 2 :]
        names = dict.fromkeys([*names_in(dropped, ()), *error.columns])
        rest = shlex.join([*command, "--drop", as_text(names)])
        gap = "\n" if len(error.problems) > 1 else "; "
        raise InputError(f"{error}{gap}to fit the others: {rest}") from error


@contextmanager
def _how_to_go_on(out: Path, command: list[str]) -> Iterator[None]:
    """Say after Ctrl-C how the run is taken up again."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not (out / CHECKPOINT).exists():
            raise KeyboardInterrupt("interrupted before the first checkpoint; nothing is kept") from error
        raise KeyboardInterrupt(f"interrupted; go on with: {shlex.join(command)}") from error


def _show(model: TableModel, out: Path) -> None:
    """Print the table of likelihoods, the excess and the files."""
    fitted = model.fitted
    assert fitted is not None
    evaluation = fitted.evaluation
    which = "held-out" if fitted.split.held_out else "training"
    figures = fitted.figures()
    heading = [f"{evaluation.nll.num_rows:,} {which} rows, nats", "NLL", "trimmed", "z-scored"]
    show(heading[: len(figures[0])], figures)
    say(fitted.verdict)
    if evaluation.excess is not None:
        error = number(evaluation.excess.standard_error, 4)
        say(f"excess over the exact density: {number(evaluation.excess.mean, 4)} ± {error} nats")
    epochs = fitted.history.rows[-1]["epoch"]
    taken = f"{fitted.history.steps:,} steps, {epochs:.3g} epochs of {fitted.num_training:,} rows"
    say(f"training took {seconds(fitted.training_seconds)}, {taken}")
    for name in (MODEL, SAMPLES, REPORT):
        say(f"  {out / name}")
    command = ["pushforward", "sample", str(out), "--num", "1000"]
    if example := model.law.example_of_context(fitted):  # type: ignore[arg-type]
        command += ["--given", example]
    say(f"next: {shlex.join(command)}")
