"""Pictures of the study `vae-prior`: curves and gains, latents of two laws, images decoded from them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pushforward.report.plots import BLACK, BLUE, LABEL_COLOURS, VERMILION
from pushforward.studies.kit.cells import Found
from pushforward.studies.kit.images import sheets, strips
from pushforward.studies.kit.pictures import board, curves, frame, window

LEVELS = 16  # of ink; more would be seen by nobody and make large files
POINTS = 1_500  # of each law in a panel


def _inked(images: Tensor) -> Tensor:
    """Return probabilities as levels of ink."""
    return (images * (LEVELS - 1)).round()


def samples(found: Mapping[str, Found]) -> Figure:
    """Return one sheet of 6 x 6 images for each title, three side by side, or two where four then make two rows."""
    inked = {title: _inked(one.samples) for title, one in found.items()}
    return sheets(inked, num_columns=6, across=2 if len(found) == 4 else 3, levels=LEVELS)


def reconstructions(rows: Mapping[str, Tensor]) -> Figure:
    """Return one row of images for each name, which stands before it."""
    return strips({name: _inked(images) for name, images in rows.items()}, LEVELS, size=0.5)


def latents(found: Mapping[str, Found]) -> Figure:
    """Return the aggregate posterior over the prior, a panel for each title."""
    across = min(3, len(found))
    figure, places = board(across, -(-len(found) // across), size=3.4)
    for axes, (title, one) in zip(places, found.items(), strict=False):
        laws = one.drawn[:POINTS], one.latents[:POINTS]
        for points, colour, label in zip(laws, (VERMILION, BLUE), ("prior", "aggregate posterior"), strict=True):
            x, y = points.T
            axes.scatter(x, y, s=3, c=colour, alpha=0.45, linewidths=0, rasterized=True, label=label, zorder=2)
        both = torch.cat(laws)
        area = window(torch.stack([both.quantile(0.002, 0), both.quantile(0.998, 0)]))
        name = "z" if one.cell.latent == 2 else "component"
        frame(axes, title, area, (f"{name} 1", f"{name} 2"))
    places[0].legend(frameon=True, fontsize=7, markerscale=3, loc="upper right")
    for axes in places[len(found) :]:
        axes.set_axis_off()
    return figure


def training(found: Mapping[str, Found], gains: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Return validation curves beside the gains on test images, by name: (gain, standard error) of each seed."""
    figure, (left, right) = board(2, size=4.2)
    lines = {name: ([epoch for epoch, _ in one.curve], [loss for _, loss in one.curve]) for name, one in found.items()}
    curves(left, lines, "epoch", "negative ELBO on validation images (nats)")
    last = [losses[-1] for _, losses in lines.values()]
    left.set_ylim(min(last) - 1, max(last) + 20)
    _gains(right, gains)
    return figure


def _gains(axes: Axes, gains: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Draw each prior's gain over the normal one: a bar for the mean, a dot with its standard error for each seed."""
    for row, by_seed in enumerate(gains.values()):
        values, errors = zip(*by_seed, strict=True)
        axes.barh(row, float(np.mean(values)), color=LABEL_COLOURS[row + 1], alpha=0.6)
        axes.errorbar(values, [row] * len(values), xerr=errors, linestyle="", marker="o", color=BLACK, markersize=3.5)
    axes.set_yticks(range(len(gains)), list(gains))
    axes.invert_yaxis()
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_xlabel("test ELBO above the normal prior's (nats)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, axis="x")
