"""Pictures of the study `vae-prior`: images from priors, reconstructions, latents of two laws, gains and curves."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pushforward.report.plots import BLACK, BLUE, LABEL_COLOURS, VERMILION
from pushforward.studies.kit.images import sheet, sheets
from pushforward.studies.kit.pictures import board, curves, frame, window

SIDE = 28
LEVELS = 16
POINTS = 1_500  # of each law in a panel


def _inked(images: Tensor) -> Tensor:
    """Return probabilities as levels of ink; more levels would be seen by nobody and make large files."""
    return (images * (LEVELS - 1)).round()


def samples(panels: Mapping[str, Tensor]) -> Figure:
    """Return one sheet of 6 x 6 images for each title, three side by side, or two where four then make two rows."""
    inked = {title: _inked(images[:36]) for title, images in panels.items()}
    return sheets(inked, num_columns=6, across=2 if len(panels) == 4 else 3, levels=LEVELS)


def reconstructions(rows: Mapping[str, Tensor]) -> Figure:
    """Return one row of images for each name, which stands before it."""
    num_columns = len(next(iter(rows.values())))
    figure = Figure(figsize=(0.5 * num_columns + 2.3, 0.5 * len(rows) + 0.2), layout="constrained")
    axes = figure.add_subplot()
    sheet(axes, _inked(torch.cat(list(rows.values()))), "", num_columns, LEVELS)
    axes.set_yticks([row * (SIDE + 1) + SIDE / 2 for row in range(len(rows))], list(rows), fontsize=8)
    axes.tick_params(length=0)
    return figure


def latents(panels: Mapping[str, tuple[Tensor, Tensor, str]]) -> Figure:
    """Return the aggregate posterior over the prior, a panel each: title -> (posterior, prior, name of the axes)."""
    across = min(3, len(panels))
    figure, places = board(across, -(-len(panels) // across), size=3.4)
    for axes, (title, (posterior, prior, name)) in zip(places, panels.items(), strict=False):
        for points, colour, label in ((prior, VERMILION, "prior"), (posterior, BLUE, "aggregate posterior")):
            across_points, up = points[:POINTS].numpy().T
            axes.scatter(
                across_points, up, s=3, c=colour, alpha=0.45, linewidths=0, rasterized=True, label=label, zorder=2
            )
        both = torch.cat([posterior[:POINTS], prior[:POINTS]])
        low, high = both.quantile(0.002, 0), both.quantile(0.998, 0)
        frame(axes, title, window(torch.stack([low, high])), (f"{name} 1", f"{name} 2"))
    places[0].legend(frameon=True, fontsize=7, markerscale=3, loc="upper right")
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    return figure


def gains(axes: Axes, names: Sequence[str], values: Sequence[Sequence[float]], errors: Sequence[float]) -> None:
    """Draw each prior's gain over the normal one: a bar for the mean, a dot with its standard error for each seed."""
    for row, (mine, error) in enumerate(zip(values, errors, strict=True)):
        axes.barh(row, float(np.mean(mine)), color=LABEL_COLOURS[(row + 1) % len(LABEL_COLOURS)], alpha=0.6)
        axes.errorbar(mine, [row] * len(mine), xerr=error, linestyle="", marker="o", color=BLACK, markersize=3.5)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_xlabel("test ELBO above the normal prior's (nats)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, axis="x")


def training(
    lines: dict[str, tuple[Sequence[float], Sequence[float]]],
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    errors: Sequence[float],
) -> Figure:
    """Return validation curves beside the gains on test images."""
    figure, (left, right) = board(2, size=4.2)
    curves(left, lines, "epoch", "negative ELBO on validation images (nats)")
    last = [line[1][-1] for line in lines.values()]
    left.set_ylim(min(last) - 1, max(last) + 20)
    gains(right, names, values, errors)
    return figure
