"""The commands, their options and their help texts; the work is done in the modules beside this one."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from pushforward import __version__
from pushforward.cli.where import HERE, Flag, Where

app = App(
    name="pushforward",
    help="Fit normalizing flows to tables; sample, score and check them.",
    version=__version__,
    help_format="plaintext",
    help_formatter="plain",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)


@app.command
def fit(
    data: str = "two-moons",
    /,
    *,
    recipe: str = "auto",
    context: Annotated[str, Parameter(show_default=False)] = "",
    columns: Annotated[str, Parameter(show_default=False)] = "",
    drop: Annotated[str, Parameter(show_default=False)] = "",
    missing: Annotated[str, Parameter(show_default=False)] = "",
    strict: Flag = False,
    stream: Annotated[bool | None, Parameter(negative="--no-stream", show_default=False)] = None,
    max_seconds: Annotated[float | None, Parameter(show_default=False)] = None,
    steps: Annotated[int | None, Parameter(show_default=False)] = None,
    seed: int = 0,
    device: str = "auto",
    out: Path = Path("pushforward-out"),
    resume: Flag = False,
    overwrite: Flag = False,
) -> None:
    """Fit the law of a table's rows and write model, samples and report.

    Args:
        data: File (csv, tsv, txt, dat, jsonl, xlsx, parquet, arrow, npy, npz) or built-in name.
        recipe: auto; or flow, nice, realnvp, maf, iaf, nsf, planar, cnf: all real.
        context: Columns to condition on, separated by commas.
        columns: Columns to fit besides, all by default; or kinds (zip=category, hour=periodic:24).
        drop: Columns to leave out.
        missing: Words that stand for missing cells (-999), besides NA, ?, ...
        strict: Leave no column out: refuse the table instead; nor a row that is read piece by piece.
        stream: Read the table piece by piece, in little memory; by default where it has over 20 million cells.
        max_seconds: Training time, 60 by default; the report takes up to 30 s more.
        steps: Training steps instead: seed and steps alone decide the result.
        seed: Decides split, weights, batches and samples.
        device: auto (cuda where there is a GPU), cpu or cuda.
        out: Folder for the results.
        resume: Go on with the run in this folder.
        overwrite: Replace the run in this folder.
    """
    from pushforward.cli.fit_command import fit_command

    fit_command(
        data, recipe=recipe, context=context, columns=columns, drop=drop, missing=missing, strict=strict, stream=stream,
        max_seconds=max_seconds, steps=steps,
        seed=seed, device=device, out=out, resume=resume, overwrite=overwrite,
    )  # fmt: skip


@app.command
def sample(
    model: Path,
    /,
    *,
    num: int,
    given: Annotated[str | None, Parameter(name=("--given", "--context"))] = None,
    complete: Flag = False,
    seed: int = 0,
    temperature: float = 1,
    where: Where = HERE,
) -> None:
    """Draw samples from a fitted model.

    Args:
        model: File (.safetensors) or folder of a fit.
        num: Number of samples, for each row that is given.
        given: Cells of some columns (label=1,x3=0.5), or a file of rows.
        complete: Leave no cell missing, though the table has such.
        seed: Decides the samples.
        temperature: Below 1, samples lie nearer the mode.
        where: Where the result goes, and who makes it.
    """
    from pushforward.cli.model_commands import sample_command

    sample_command(model, num=num, given=given, complete=complete, seed=seed, temperature=temperature, where=where)


@app.command
def score(
    model: Path,
    data: str,
    /,
    *,
    where: Where = HERE,
) -> None:
    """Append the column log_prob (nats) to a table.

    Args:
        model: File (.safetensors) or folder of a fit.
        data: File with the columns of the model, in any order.
        where: Where the result goes, and who makes it.
    """
    from pushforward.cli.model_commands import score_command

    score_command(model, data, where=where)


@app.command
def anomalies(
    model: Path,
    data: str,
    /,
    *,
    level: float = 0.01,
    columns: Annotated[str, Parameter(show_default=False)] = "",
    reference: Annotated[str | None, Parameter(show_default=False)] = None,
    where: Where = HERE,
) -> None:
    """Append how unusual each row is, and which column is responsible.

    Args:
        model: File (.safetensors) or folder of a fit.
        data: File with the columns of the model, in any order.
        level: Of p-values up to which a row is an anomaly.
        columns: Those whose cells may be to blame, all by default.
        reference: File of rows to compare with; by default those held out.
        where: Where the result goes, and who makes it.
    """
    from pushforward.cli.question_commands import anomalies_command

    anomalies_command(model, data, level=level, columns=columns, reference=reference, where=where)


@app.command
def impute(
    model: Path,
    data: str,
    /,
    *,
    num: int = 1,
    mean: Flag = False,
    seed: int = 0,
    where: Where = HERE,
) -> None:
    """Draw the missing cells of a table given the others.

    Args:
        model: File (.safetensors) or folder of a fit.
        data: File with the columns of the model, in any order.
        num: Draws of each row, which follow one another.
        mean: Fill in means and most probable values instead, with quantiles.
        seed: Decides the draws.
        where: Where the result goes, and who makes it.
    """
    from pushforward.cli.question_commands import impute_command

    impute_command(model, data, num=num, mean=mean, seed=seed, where=where)


@app.command
def predict(
    model: Path,
    data: str,
    /,
    *,
    column: str,
    where: Where = HERE,
) -> None:
    """Append the law of one column given all others: quantiles, or probabilities.

    Args:
        model: File (.safetensors) or folder of a fit.
        data: File with the columns of the model; the one asked may be missing.
        column: The column.
        where: Where the result goes, and who makes it.
    """
    from pushforward.cli.question_commands import predict_command

    predict_command(model, data, column=column, where=where)


@app.command
def evaluate(model: Path, data: str, /) -> None:
    """Measure a fitted flow on rows that it has not seen.

    Args:
        model: File (.safetensors) or folder of a fit.
        data: File with the columns of the model, or built-in name.
    """
    from pushforward.cli.model_commands import evaluate_command

    evaluate_command(model, data)


@app.command
def verify(model: Path, /, *, seed: int = 0) -> None:
    """Check that a fitted flow is invertible, on points of its own.

    Args:
        model: File (.safetensors) or folder of a fit.
        seed: Decides the points.
    """
    from pushforward.cli.model_commands import verify_command

    verify_command(model, seed=seed)


@app.command
def study(
    name: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    quick: Flag = False,
    minutes: Annotated[float | None, Parameter(show_default=False)] = None,
    seed: int = 0,
    out: Annotated[Path | None, Parameter(show_default=False)] = None,
) -> None:
    """Run an experiment and write its numbers, pictures and report.

    Args:
        name: The experiment; without it they are listed.
        quick: The short form: everything runs, nothing is measured.
        minutes: A run of about so long: shorter trainings, one seed.
        seed: First seed.
        out: Folder for the results; by default pushforward-study/NAME.
    """
    from pushforward.cli.studies import study_command

    study_command(name, quick=quick, minutes=minutes, seed=seed, out=out)


@app.command
def play(
    *,
    port: int = 0,
    no_browser: Flag = False,
    lesson: Annotated[str, Parameter(show_default=False)] = "",
    state: Annotated[str, Parameter(show_default=False)] = "",
    export: Annotated[Path | None, Parameter(show_default=False)] = None,
    overwrite: Flag = False,
) -> None:
    """Open a page that trains a flow on points of the plane and shows every layer.

    Args:
        port: Of the server on this machine; any that is free by default.
        no_browser: Print the address, open nothing.
        lesson: Name of a lesson to open.
        state: A page's state: what stands behind the ? of its address.
        export: Write the run to this HTML file instead, a page without a server.
        overwrite: Replace that file.
    """
    from pushforward.cli.play_command import play_command

    play_command(
        port=port, browser=not no_browser, lesson=lesson, state=state, export=export, overwrite=overwrite,
    )  # fmt: skip
