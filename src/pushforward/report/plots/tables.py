"""Pictures of a fitted table: its columns beside samples, its latent, and the training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from torch import Tensor

from pushforward.flows import Flow
from pushforward.metrics import LatentNormality
from pushforward.report.plots.canvas import BLACK, BLUE, DATA, DENSITY_MAP, SAMPLES, VERMILION, Picture, limits, tidy
from pushforward.report.plots.marginals import short

if TYPE_CHECKING:
    from pushforward.training import History

_COLOURS, _NAMES = (DATA, SAMPLES), ("data", "samples")
POINTS = 3_000  # drawn in one panel
MOST_LETTERS = 16  # of a column's name
GRID = 200  # steps of a density's grid along each axis
MOST_UNEQUAL = 5.0  # of two columns' ranges: nearer ones are taken to be of one unit, and drawn to one scale


def history(history: "History", *, loss: str = "loss (nats)") -> Picture:
    """Picture training and validation loss against steps, with the step whose weights were kept, and the learning rate.

    Args:
        history: What `pf.fit` returned.
        loss: Name of the loss, and its unit.
    """
    figure = Picture(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    table = history.to_numpy()
    for key, colour, label in (("train_loss", BLUE, "training"), ("validation_loss", VERMILION, "validation")):
        shown = np.isfinite(table[key])
        if shown.any():
            axes.plot(table["step"][shown], table[key][shown], color=colour, label=label, linewidth=1.6)
    # The fall of the first steps would flatten all that follows.
    later = np.concatenate([table[key][len(table["step"]) // 20 :] for key in ("train_loss", "validation_loss")])
    later = later[np.isfinite(later)]
    if len(later) > 2 and later.max() > later.min():
        margin = 0.08 * (later.max() - later.min())
        axes.set_ylim(later.min() - margin, later.max() + margin)
    rates = axes.twinx()
    rates.plot(table["step"], table["learning_rate"], color=BLACK, alpha=0.25, linewidth=1)
    rates.set_ylabel("learning rate", color=BLACK, alpha=0.5)
    rates.set_ylim(bottom=0)
    rates.tick_params(labelsize=8, labelcolor="#888888")
    rates.spines[["top", "left"]].set_visible(False)
    axes.axvline(history.best_step, color=BLACK, linestyle=":", linewidth=1, label="weights kept")
    axes.set_xlabel("step")
    axes.set_ylabel(loss)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def pairs(
    data: Tensor, samples: Tensor, names: Sequence[str], *, most_columns: int = 6, who: tuple[str, str] = _NAMES
) -> Picture:
    """Every pair of columns, data below the diagonal and samples above it; each column alone on the diagonal.

    Args:
        data: (n, D), rows to compare with; those held out where there are any.
        samples: (m, D).
        names: The columns' names.
        most_columns: Columns beyond these are left out.
        who: What the legend calls the two.
    """
    num_columns = min(len(names), most_columns)
    data, samples = data.detach()[:, :num_columns], samples.detach()[:, :num_columns]
    bounds = limits(data)
    size = {1: 4.5, 2: 3.2}.get(num_columns, 2.1)
    figure = Picture(figsize=(size * num_columns + 0.6, (size if num_columns > 1 else 3.2) * num_columns + 0.4))
    figure.set_layout_engine("constrained")
    grid = figure.subplots(num_columns, num_columns, squeeze=False)
    for row in range(num_columns):
        for column in range(num_columns):
            axes = grid[row, column]
            if row == column:
                _histograms(axes, data[:, row], samples[:, row], bounds[row])
            else:
                points, colour = (data, DATA) if row > column else (samples, SAMPLES)
                _scatter(axes, points[:, (column, row)], colour)
                axes.set_ylim(bounds[row])
            axes.set_xlim(bounds[column])
            if row == num_columns - 1:
                axes.set_xlabel(short(names[column], MOST_LETTERS))
            else:
                axes.set_xticklabels([])
            if column == 0 and row:
                axes.set_ylabel(short(names[row], MOST_LETTERS))
            elif row != column:
                axes.set_yticklabels([])
            axes.tick_params(labelsize=8)
            axes.locator_params(nbins=4)
    handles = [Line2D([], [], color=c, marker="o", linestyle="", label=n) for c, n in zip(_COLOURS, who, strict=True)]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


@torch.no_grad()
def plane(data: Tensor, samples: Tensor, names: Sequence[str], flow: Flow | None = None) -> Picture:
    """Two columns side by side on the same axes: data, samples and, given a flow without context, its density.

    Args:
        data: (n, 2), likewise.
        samples: (m, 2).
        names: The two columns' names.
        flow: A flow of two features without context, whose density is drawn too.
    """
    data, samples = data.detach(), samples.detach()
    bounds = limits(data)
    num_panels = 2 if flow is None else 3
    figure = Picture(figsize=(3.3 * num_panels, 3.4), layout="constrained")
    panels = figure.subplots(1, num_panels, sharex=True, sharey=True)
    for axes, points, colour, title in zip(panels, (data, samples), _COLOURS, _NAMES, strict=False):
        _scatter(axes, points, colour)
        axes.set_title(title, fontsize=10)
    if flow is not None:
        across, up = (torch.linspace(low, high, GRID, dtype=torch.float64, device="cpu") for low, high in bounds)
        values = flow.log_prob(torch.stack(torch.meshgrid(across, up, indexing="xy"), -1)).double().exp()
        values = values.nan_to_num(posinf=0.0)
        # A spike must not leave the rest dark.
        top = values[values > 0].quantile(0.999).item() if bool((values > 0).any()) else 1.0
        extent = (*bounds[0], *bounds[1])
        panels[2].imshow(
            values.numpy(), origin="lower", extent=extent, aspect="auto", cmap=DENSITY_MAP, vmin=0, vmax=top
        )
        panels[2].set_title("density of the flow", fontsize=10)
    wide, tall = (high - low for low, high in bounds)
    for axes in panels:
        axes.set(xlim=bounds[0], ylim=bounds[1], xlabel=short(names[0], MOST_LETTERS))
        if max(wide, tall) < MOST_UNEQUAL * min(wide, tall):
            axes.set_aspect("equal")
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel(short(names[1], MOST_LETTERS))
    return figure


def latent_quantiles(latent: LatentNormality, *, most_dimensions: int = 50) -> Picture:
    """Q-Q plot of each latent dimension of the data against the standard normal; the line is perfect."""
    figure = Picture(figsize=(4.2, 4), layout="constrained")
    axes = figure.add_subplot()
    normal, quantiles = latent.normal_quantiles, latent.quantiles[:, :most_dimensions]
    ends = (normal[0].item() * 1.1, normal[-1].item() * 1.1)
    axes.plot(ends, ends, color=BLACK, linewidth=1, linestyle="--", label="standard normal")
    lines = axes.plot(normal, quantiles, color=BLUE, linewidth=1.2, alpha=max(0.15, 1 / quantiles.shape[1] ** 0.5))
    lines[0].set_label("each latent dimension" if quantiles.shape[1] > 1 else "latent")
    axes.set_xlabel("standard normal quantile")
    axes.set_ylabel("quantile of the latent of the data")
    axes.set_xlim(ends)
    axes.set_ylim(ends[0] * 1.3, ends[1] * 1.3)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def _histograms(axes: Axes, data: Tensor, samples: Tensor, bounds: tuple[float, float]) -> None:
    edges = np.linspace(*bounds, 41)
    for values, colour in zip((data, samples), _COLOURS, strict=True):
        counts = np.histogram(values.numpy(), edges)[0] / max(len(values), 1)
        axes.stairs(counts, edges, color=colour, linewidth=1.4, fill=False)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])


def _scatter(axes: Axes, points: Tensor, colour: str) -> None:
    across, up = points[:POINTS].numpy().T
    size = 6.0 if len(across) < 500 else 2.0
    axes.scatter(across, up, s=size, color=colour, alpha=0.5, linewidths=0, rasterized=True)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
