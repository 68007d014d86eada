"""The command `fit`: from a table to model, samples and report in one folder."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pushforward import model_file
from pushforward.cli.inputs import MODEL, read_data
from pushforward.cli.models import draw
from pushforward.cli.screen import say, show, warn
from pushforward.errors import InputError, RunError
from pushforward.report.table_report import likelihoods, write_report
from pushforward.report.wording import number, seconds
from pushforward.tables import check_for_fitting, write_table
from pushforward.tables.fitting import TableFit, check_recipe, fit_table

CHECKPOINT = "checkpoint.safetensors"
SAMPLES, REPORT = "samples.csv", "report.html"
NUM_SAMPLES = 10_000
SAMPLE_CELLS = 1_000_000  # wide tables get fewer samples


def fit_command(
    data: str,
    *,
    recipe: str,
    context: str,
    max_seconds: float,
    seed: int,
    out: Path,
    resume: bool,
    overwrite: bool,
) -> None:
    """Fit a flow to a table and write model, history, samples and report to the folder `out`."""
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other (choose one)")
    if not 0 < max_seconds < float("inf"):
        raise InputError(f"--max-seconds must be positive; got {max_seconds}")
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed must be at least 0; got {seed}")
    check_recipe(recipe)
    if not (resume or overwrite):
        check_unused(out)
    command = ["pushforward", "fit", data]
    for option, value, default in (
        ("--recipe", recipe, "auto"), ("--context", context, ""), ("--max-seconds", f"{max_seconds:.15g}", "60"),
        ("--seed", str(seed), "0"), ("--out", str(out), "pushforward-out"),
    ):  # fmt: skip
        command += [option, value] if value != default else []

    table, truth = read_data(data, seed=seed, context=context)
    check_for_fitting(table)
    rows, columns = table.values.shape
    given = f" (context: {context})" if context else ""
    say(f"{table.source}: {rows:,} rows, {columns} column{'s' * (columns > 1)}{given}; results go to {out}")
    with folder(out), how_to_go_on(out, [*command, "--resume"]):
        fitted = fit_table(
            table, context=context, recipe=recipe, max_seconds=max_seconds, seed=seed, truth=truth, out=out,
            resume=resume, notify=warn,
        )  # fmt: skip
        save_results(fitted, out, command=shlex.join(command))
    show_results(fitted, out)


def check_unused(out: Path) -> None:
    """Raise InputError if the folder holds a model or a run already."""
    for name, what in ((MODEL, "a model"), (CHECKPOINT, "an unfinished run")):
        if (out / name).exists():
            raise InputError(
                f"{out}: holds {what} already (--resume goes on with it, --overwrite replaces it, --out names another"
                " folder)"
            )


@contextmanager
def folder(out: Path) -> Iterator[None]:
    """Make the folder, see that it can be written to, and take an empty one away again if the input proves bad."""
    missing = [path for path in (out, *out.parents) if not path.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{out}: cannot be written to: {error.strerror} (name another folder with --out)") from error
    try:
        yield
    except (InputError, RunError):
        for path in missing:
            if any(path.iterdir()):
                break
            path.rmdir()
        raise


@contextmanager
def how_to_go_on(out: Path, command: list[str]) -> Iterator[None]:
    """Say after Ctrl-C how the run is taken up again."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not (out / CHECKPOINT).exists():
            raise KeyboardInterrupt("interrupted before the first checkpoint; nothing is kept") from error
        raise KeyboardInterrupt(f"interrupted; go on with: {shlex.join(command)}") from error


def save_results(fitted: TableFit, out: Path, *, command: str) -> None:
    """Write model, samples and report."""
    nll = fitted.evaluation.nll
    summary = {
        "command": command,
        "source": fitted.source,
        "recipe": fitted.recipe,
        "rows": {"train": len(fitted.split.train), "test": len(fitted.split.test) if fitted.split.held_out else 0},
        "nll": finite(nll.mean),
        "nll_standard_error": finite(nll.standard_error),
        "log_scale": fitted.log_scale,
        "seconds": fitted.history.seconds,
        "warnings": fitted.warnings,
    }
    plan = {"num_steps": fitted.history.num_steps, "changes": [list(change) for change in fitted.history.plan]}
    model_file.save(
        fitted.flow, out / MODEL, schema=fitted.schema.to_dict(), seed=fitted.seed, plan=plan, summary=summary
    )
    names = [name for name in fitted.schema.columns if name not in fitted.schema.context]
    num = max(min(NUM_SAMPLES, SAMPLE_CELLS // len(fitted.schema.columns)), 1)
    test = fitted.split.test
    given = None if test.context is None else test.context[:num].numpy()
    samples = draw(fitted.flow, num if given is None else 1, given, seed=fitted.seed)
    write_table(out / SAMPLES, [*names, *fitted.schema.context], samples)
    write_report(fitted, samples[:, : len(names)], out / REPORT, command=command)


def finite(value: float) -> float | None:
    """Return what JSON can hold."""
    return value if torch.isfinite(torch.tensor(value)) else None


def show_results(fitted: TableFit, out: Path) -> None:
    """Print the table of likelihoods, the excess and the files."""
    score = fitted.evaluation.nll
    rows = [
        [
            row["name"], f"{number(row['score'].mean)} ± {number(row['score'].standard_error)}",
            number(row["score"].trimmed_mean), number(row["standardized"]),
        ]
        for row in likelihoods(fitted)
    ]  # fmt: skip
    if fitted.entropy is not None:
        rows.append(["exact entropy", number(fitted.entropy, 4), "", number(fitted.entropy - fitted.log_scale)])
    which = "held-out" if fitted.split.held_out else "training"
    show([f"{score.num_rows:,} {which} rows, nats", "NLL", "trimmed", "z-scored"], rows)
    if fitted.excess is not None:
        error = number(fitted.excess.standard_error, 4)
        say(f"excess over the exact density: {number(fitted.excess.mean, 4)} ± {error} nats")
    say(f"training took {seconds(fitted.history.seconds)}, {fitted.history.steps:,} steps")
    for name in (MODEL, SAMPLES, REPORT):
        say(f"  {out / name}")
    say(
        f"next: pushforward sample {shlex.quote(str(out))} --num 1000"
        + (" --context " + ",".join(f"{name}=0" for name in fitted.schema.context) if fitted.schema.context else "")
    )
