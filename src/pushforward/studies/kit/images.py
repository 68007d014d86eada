"""Pictures of digits: sheets of images, and codes in the plane with their labels as marks."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pushforward.data.digits import LEVELS
from pushforward.report.plots.canvas import LABEL_COLOURS, Picture
from pushforward.report.plots.sheets import centres, draw_sheet
from pushforward.studies.kit.pictures import circles, tidy

REACH = 4.0  # of the picture of codes, along each axis


def sheet(axes: Axes, images: Tensor, title: str, num_columns: int = 10, levels: int = LEVELS) -> None:
    """Draw square images (n, D) of levels, ink dark, in rows of `num_columns`."""
    side = math.isqrt(images.shape[1])
    draw_sheet(axes, images, title, num_columns, (side, side), 0, levels - 1)


def sheets(panels: dict[str, Tensor], *, num_columns: int = 10, across: int = 2, levels: int = LEVELS) -> Figure:
    """Return a figure of several sheets; each name is a title."""
    num_rows = -(-len(panels) // across)
    heights = max(-(-len(images) // num_columns) for images in panels.values()) / num_columns
    figure = Picture(figsize=(3.6 * across, (3.6 * heights + 0.35) * num_rows), layout="constrained")
    places = list(figure.subplots(num_rows, across, squeeze=False).flat)
    for axes, (title, images) in zip(places, panels.items(), strict=False):
        sheet(axes, images, title, num_columns, levels)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    return figure


def strips(panels: Mapping[str, Tensor], levels: int = LEVELS, *, size: float = 0.42) -> Figure:
    """Return a figure with one row of images (n, D) for each name, which stands before it; `size` inches an image."""
    images = torch.stack(list(panels.values()))
    figure = Picture(layout="constrained")
    # Anchored at the right: the room that is left goes to the names.
    named_rows(figure.add_subplot(anchor="E"), images, list(panels), levels=levels)
    height, width = (size * count for count in images.shape[:2])
    figure.set_size_inches(width + 0.07 * max(map(len, panels)) + 0.4, height + 0.1)  # a letter is 0.07 inches wide
    return figure


def named_rows(axes: Axes, images: Tensor, names: Sequence[str], title: str = "", levels: int = LEVELS) -> None:
    """Draw images (rows, n, D), each row behind its name."""
    sheet(axes, images.flatten(0, 1), title, images.shape[1], levels)
    axes.set_yticks(middles_of_images(images), names, fontsize=8)
    axes.tick_params(length=0)


def middles_of_images(images: Tensor) -> list[float]:
    """Return where the middles of square images (n, ..., D), one after another with a gap of a pixel, lie in pixels."""
    return centres(len(images), math.isqrt(images.shape[-1]))


def draw_codes(axes: Axes, points: Tensor, labels: Tensor, names: tuple[str, str]) -> None:
    """Draw points (n, 2) of the latent, each as its label, over the circles that hold 39 % and 86 % of N(0, I)."""
    circles(axes, (1.0, 2.0), linewidth=0.8, linestyle=":")
    for label in labels.unique().tolist():
        mine, colour = points[labels == label].clamp(-REACH, REACH), LABEL_COLOURS[label % len(LABEL_COLOURS)]
        axes.scatter(mine[:, 0], mine[:, 1], s=22, marker=f"${label}$", color=colour, linewidths=0, rasterized=True)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xlabel=names[0], ylabel=names[1])
    axes.tick_params(labelsize=8)


def bars_by_label(values: Mapping[str, Mapping[int, float]], up: str) -> Figure:
    """Return a figure with one group of bars a label, one bar a name."""
    figure = Picture(figsize=(9, 3.8), layout="constrained")
    axes, width = figure.add_subplot(), 0.8 / len(values)
    for index, (name, heights) in enumerate(values.items()):
        places = np.array(list(heights)) + (index - (len(values) - 1) / 2) * width
        axes.bar(places, list(heights.values()), width, label=name, color=LABEL_COLOURS[index % len(LABEL_COLOURS)])
    axes.set_xticks(list(next(iter(values.values()))))
    tidy(axes, grid="y", xlabel="label", ylabel=up)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(values))
    return figure
