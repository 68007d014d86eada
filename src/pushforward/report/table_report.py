"""One self-contained HTML page that says what was fitted, how well, and what to doubt."""

import os
import platform
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pushforward import __version__
from pushforward.flows import Flow
from pushforward.report import plots
from pushforward.report.rendering import page
from pushforward.report.wording import seconds
from pushforward.storage.whole_files import replacing
from pushforward.tables.fitting import TableFit
from pushforward.transforms import Transform

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(fitted: TableFit, samples: np.ndarray, path: str | os.PathLike[str], *, command: str = "") -> None:
    """Write the report of a fitted table, whole or not at all.

    Args:
        fitted: What `fit_table` returned.
        samples: (n, D), drawn from the flow at the contexts of held-out rows where there are any.
        path: The HTML file.
        command: The command line that fitted it.

    Raises:
        InputError: If the folder cannot be written to.
        RunError: If writing fails.
    """
    page = render(fitted, samples, command=command)
    with replacing(Path(path)) as file:
        file.write(page.encode())


def render(fitted: TableFit, samples: np.ndarray, *, command: str = "") -> str:
    """Return the report as HTML; the arguments are those of `write_report`."""
    latent = fitted.evaluation.latent
    return page(
        "report.html",
        fitted=fitted,
        command=command,
        likelihoods=likelihoods(fitted),
        facts=facts(fitted),
        curves=plots.learning_curves(
            fitted.history, loss="flow-matching loss" if fitted.recipe == "cnf" else "loss (nats)"
        ),
        comparison=_comparison(fitted, torch.from_numpy(samples)),
        quantiles=None if latent is None else plots.latent_quantiles(latent),
    )


def likelihoods(fitted: TableFit) -> list[dict[str, Any]]:
    """Return the rows of the table of likelihoods: the flow, then the baselines, as name, score and z-scored NLL."""
    scores = {"this flow": fitted.evaluation.nll, **fitted.baselines}
    return [
        {"name": name, "score": score, "standardized": score.mean - fitted.log_scale} for name, score in scores.items()
    ]


def facts(fitted: TableFit) -> dict[str, str]:
    """Return what was fitted, name by name, as text."""
    split, schema = fitted.split, fitted.schema
    modelled = [name for name in schema.columns if name not in schema.context]
    num_parameters = sum(parameter.numel() for parameter in fitted.flow.parameters())
    rows = f"{len(split.train):,} for training"
    rows += f", {len(split.validation):,} for validation" if split.validation else ""
    rows += f", {len(split.test):,} held out" if split.held_out else ""
    return {
        "Data": fitted.source,
        "Rows": rows,
        f"Columns ({len(modelled)})": _listed(modelled),
        **({f"Context ({len(schema.context)})": _listed(schema.context)} if schema.context else {}),
        "Recipe": fitted.recipe,
        "Model": f"{describe(fitted.flow)}; {num_parameters:,} parameters",
        "Training": f"{fitted.history.steps:,} steps; {fitted.history.stopped_because}",
        "Seed": str(fitted.seed),
        "Time": ", ".join(f"{name} {seconds(value)}" for name, value in fitted.seconds.items()),
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


def _comparison(fitted: TableFit, samples: torch.Tensor) -> "Figure":
    schema = fitted.schema
    names = [name for name in schema.columns if name not in schema.context]
    if len(names) == 2:
        return plots.plane(fitted.split.test.x, samples, names, None if schema.context else fitted.flow)
    return plots.pairs(fitted.split.test.x, samples, names)


def _listed(names: list[str] | tuple[str, ...], most: int = 30) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
