"""One self-contained HTML page that says what was fitted to a table, how well, and what to doubt."""

import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward import __version__
from pushforward.flows import Flow
from pushforward.flows.in_words import num_parameters
from pushforward.metrics import LatentNormality, Score
from pushforward.numerics.threads import threads
from pushforward.report import plots
from pushforward.report.findings import Findings
from pushforward.report.plots.marginals import marginals
from pushforward.report.rendering import page
from pushforward.report.wording import seconds
from pushforward.storage.atomic_files import replacing
from pushforward.transforms import Transform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pushforward.training import History


MOST_IN_PAIRS = 6  # columns that are all drawn against one another


@dataclass(frozen=True)
class TableReport:
    """All that the page says about a fitted table.

    Attributes:
        source: Where the table came from.
        columns: Names of the modelled columns.
        context: Names of the context columns.
        num_rows: Number of rows by what they are for, such as {"training": 80}.
        recipe: The recipe asked for.
        seed: Seed of the fit.
        command: The command line that fitted it; may be empty.
        flow: The flow.
        history: How the training went.
        warnings: What makes the density doubtful, in plain words.
        held_out: Whether the rows that the figures are about were held out; else they are training rows.
        x: These rows, (n, D).
        samples: (m, D), drawn at the contexts of these rows where there are any.
        nll: NLL of these rows under the flow.
        baselines: NLL of these rows under simple densities, by name.
        verdict: How the flow does beside the best of them, in one sentence.
        log_scale: NLL - log_scale is in z-scored units.
        latent: How normal the latents of these rows are; None where not measured.
        round_trip: |x' - x| of these rows: `median`, `high`, `worst` and the flow's `dtype`.
        entropy: Of the true density, where it is known.
        excess: Over the true density, where it is known.
        seconds: Time of each part of the job, by name.
        findings: What was found about samples and single rows.
    """

    source: str
    columns: Sequence[str]
    context: Sequence[str]
    num_rows: Mapping[str, int]
    recipe: str
    seed: int
    command: str
    flow: Flow
    history: "History"
    warnings: Sequence[str]
    held_out: bool
    x: Tensor
    samples: Tensor
    nll: Score
    baselines: Mapping[str, Score]
    verdict: str
    log_scale: float
    latent: LatentNormality | None
    round_trip: Any
    entropy: float | None
    excess: Score | None
    seconds: Mapping[str, float]
    findings: Findings


@threads(1)
def write_report(report: TableReport, path: str | os.PathLike[str]) -> None:
    """Write the page, whole or not at all.

    Raises:
        InputError: If the folder cannot be written to.
        RunError: If writing fails.
    """
    page = render(report)
    with replacing(Path(path)) as file:
        file.write(page.encode())


def render(report: TableReport) -> str:
    """Return the page as HTML."""
    loss = "flow-matching loss" if report.recipe == "cnf" else "loss (nats)"
    return page(
        "report.html",
        report=report,
        scores={"this flow": report.nll, **report.baselines},
        facts=facts(report),
        curves=plots.history(report.history, loss=loss),
        comparison=_comparison(report),
        found=report.findings,
        pictures=report.findings.pictures(),
        quantiles=None if report.latent is None else plots.latent_quantiles(report.latent),
    )


def facts(report: TableReport) -> dict[str, str]:
    """Return what was fitted, name by name, as text."""
    rows = [f"{num:,} {'' if what == 'held out' else 'for '}{what}" for what, num in report.num_rows.items() if num]
    return {
        "Data": report.source,
        "Rows": ", ".join(rows),
        f"Columns ({len(report.columns)})": _listed(report.columns),
        **({f"Context ({len(report.context)})": _listed(report.context)} if report.context else {}),
        "Recipe": report.recipe,
        "Model": f"{describe(report.flow)}; {num_parameters(report.flow):,} parameters",
        "Training": f"{report.history.steps:,} steps; {report.history.stopped_because}",
        "Seed": str(report.seed),
        "Time": ", ".join(f"{name} {seconds(value)}" for name, value in report.seconds.items()),
        "Versions": f"pushforward {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "Machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def describe(flow: Flow) -> str:
    """Return the kinds of layers of a flow in a few words, "4 x Coupling of RationalQuadratic, 4 x LULinear"."""
    counts = Counter(_layers(flow.transform))
    before = " + ".join(type(part).__name__ for part in flow.preprocessing)
    layers = ", ".join(f"{count} × {name}" for name, count in counts.items())
    return (f"{before}, then " if before else "") + (layers or "no layers") + f"; base {type(flow.base).__name__}"


def _layers(transform: Transform) -> Iterator[str]:
    parts = transform.parts()
    for part in parts:
        yield from _layers(part)
    if parts:
        return
    family = getattr(transform, "univariate", None)
    yield type(transform).__name__ + (f" of {type(family).__name__}" if family is not None else "")


def _comparison(report: TableReport) -> "Figure":
    if len(report.columns) == 2:
        return plots.plane(report.x, report.samples, report.columns, None if report.context else report.flow)
    if len(report.columns) > MOST_IN_PAIRS:
        return marginals(report.findings.columns)
    return plots.pairs(report.x, report.samples, report.columns)


def _listed(names: Sequence[str], most: int = 30) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
