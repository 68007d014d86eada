"""One self-contained HTML page about a law of mixed rows: what was read, what was left out, how well it fits."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pushforward import __version__
from pushforward.metrics import Score
from pushforward.numerics.threads import threads
from pushforward.report import plots
from pushforward.report.findings import Findings
from pushforward.report.rendering import page
from pushforward.report.wording import seconds
from pushforward.storage.atomic_files import replacing

if TYPE_CHECKING:
    from pushforward.training import History


@dataclass(frozen=True)
class ColumnFacts:
    """What the page says of a column: name, role, kind and why, range, share missing, its part of the NLL."""

    name: str
    role: str
    kind: str
    why: str
    range: str
    missing: float
    nll: float | None


@dataclass(frozen=True)
class RowReport:
    """All that the page says about a fitted table of mixed columns.

    Attributes:
        source: Where the table came from.
        columns: What is known of each column.
        left_out: Columns that are not used, and why.
        num_rows: Number of rows by what they are for, such as {"training": 80}.
        seed: Seed of the fit.
        command: The command line that fitted it; may be empty.
        num_parameters: Of the joint, and of the questions.
        histories: How the trainings went, by name.
        warnings: What is doubtful, in plain words.
        held_out: Whether the rows that the figures are about were held out; else they are training rows.
        scores: NLL of these rows under the model, first, and simple laws, by name.
        verdict: How the model does beside the best of them, in one sentence.
        seconds: Time of each part of the job, by name.
        findings: What was found about samples and single rows.
    """

    source: str
    columns: Sequence[ColumnFacts]
    left_out: Mapping[str, str]
    num_rows: Mapping[str, int]
    seed: int
    command: str
    num_parameters: tuple[int, int]
    histories: Mapping[str, "History"]
    warnings: Sequence[str]
    held_out: bool
    scores: Mapping[str, Score]
    verdict: str
    seconds: Mapping[str, float]
    findings: Findings


@threads(1)
def write(report: RowReport, path: str | os.PathLike[str]) -> None:
    """Write the page, whole or not at all.

    Raises:
        InputError: If the folder cannot be written to.
        RunError: If writing fails.
    """
    html = page(
        "rows.html",
        report=report,
        facts=facts(report),
        found=report.findings,
        pictures=report.findings.pictures(),
        curves={name: plots.history(history) for name, history in report.histories.items()},
    )
    with replacing(Path(path)) as file:
        file.write(html.encode())


def facts(report: RowReport) -> dict[str, str]:
    """Return what was fitted, name by name, as text."""
    rows = [f"{num:,} {'' if what == 'held out' else 'for '}{what}" for what, num in report.num_rows.items() if num]
    joint, questions = report.num_parameters
    steps = "; ".join(f"{name}: {one.steps:,} steps, {one.stopped_because}" for name, one in report.histories.items())
    return {
        "Data": report.source,
        "Rows": ", ".join(rows),
        "Model": f"a masked network for the joint, {joint:,} parameters; one for questions, {questions:,}",
        "Training": steps,
        "Seed": str(report.seed),
        "Time": ", ".join(f"{name} {seconds(value)}" for name, value in report.seconds.items()),
        "Versions": f"pushforward {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "Machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
