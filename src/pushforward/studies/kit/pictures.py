"""Panels that the studies draw in: points and log densities in the plane, curves over training, bars over seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor

from pushforward.report.plots import canvas
from pushforward.report.plots.canvas import (
    BLACK,
    DENSITY_MAP,
    LABEL_COLOURS,
    X_NAMES,
    Window,
    board,
    draw_points,
    frame,
    label_colours,
)
from pushforward.training import History

FLOOR = -10.0  # log density below which a picture shows no difference, nats

LogDensity = Callable[..., Tensor]  # in nats, of points (*batch, 2)
SOURCE_WINDOW: Window = (-2.5, 2.5, -2.5, 2.5)  # of the source's pictures of standardized points


@dataclass(frozen=True)
class Points:
    """Points (N, 2) in a panel, one colour a label where labels are given."""

    x: Tensor
    colour: str = BLACK
    labels: Tensor | None = None
    size: float = 1.5


Content = Points | Sequence[Points] | LogDensity | None  # of a panel: the caller fills one with nothing


def window(x: Tensor, margin: float = 0.1) -> Window:
    """Return a square window around points, (left, right, bottom, top)."""
    low, high = x.min(0).values, x.max(0).values
    centre, half = (low + high) / 2, (high - low).max() * (0.5 + margin)
    left, right, bottom, top = torch.stack([centre - half, centre + half], 1).flatten().tolist()
    return left, right, bottom, top


def points(axes: Axes, drawn: Points, title: str, area: Window, names: tuple[str, str] = X_NAMES) -> None:
    """Draw points, at most as many as one panel holds."""
    x = drawn.x.detach().cpu()
    draw_points(axes, x, drawn.colour if drawn.labels is None else label_colours(drawn.labels), drawn.size)
    frame(axes, title, area, names)


def panels(
    contents: Mapping[str, Content],
    area: Window,
    *,
    grid: int = 0,
    across: int | None = None,
    size: float = 3.1,
    names: tuple[str, str] = X_NAMES,
    outer: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a square panel for each title, and its axes.

    Args:
        contents: Title -> points, several sets of them, a log density, or None for a panel that the caller fills.
        area: What every panel shows.
        grid: Steps along each axis of log densities; they share one scale, cut at the floor, and one colour bar.
        across: Panels in a row; by default all.
        size: Of a panel, inches.
        names: Of the axes.
        outer: Whether the panels share their axes, with numbers at the edges alone.
    """
    num_columns = across or len(contents)
    figure, places = board(num_columns, -(-len(contents) // num_columns), size=size, sharex=outer, sharey=outer)
    densities = {}
    for axes in places[len(contents) :]:
        axes.set_axis_off()
    for axes, (title, content) in zip(places, contents.items(), strict=False):
        if callable(content):
            densities[axes] = on_grid(content, area, grid).numpy()
        else:
            for one in [content] if isinstance(content, Points) else content or ():
                points(axes, one, title, area, names)
        frame(axes, title, area, names)
        if outer:
            axes.label_outer()
    if densities:
        top = max(value.max() for value in densities.values())
        for axes, value in densities.items():
            image = axes.imshow(value, origin="lower", extent=area, cmap=DENSITY_MAP, vmin=FLOOR, vmax=top)
        figure.colorbar(image, ax=list(densities), shrink=0.75, label="log density (nats)", extend="min", aspect=25)
    return figure, places


def on_grid(log_prob: LogDensity, area: Window, grid: int) -> Tensor:
    """Return log densities on a grid of the window, (grid, grid), rows from bottom to top, not below the floor."""
    return canvas.on_grid(log_prob, area, grid, FLOOR, torch.float32)


def circles(axes: Axes, radii: Sequence[float], **line: Any) -> None:
    """Draw circles about the origin, where a standard normal has its contours."""
    turn = torch.linspace(0, 2 * torch.pi, 200)
    for radius in radii:
        axes.plot(radius * turn.cos(), radius * turn.sin(), color=BLACK, **line)


def curves(
    axes: Axes, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], across: str, up: str, title: str = ""
) -> None:
    """Draw named curves; a name is its legend."""
    for index, (name, (x, y)) in enumerate(lines.items()):
        axes.plot(
            x, y, color=LABEL_COLOURS[index % len(LABEL_COLOURS)], label=name, linewidth=1.6, marker="o", markersize=3
        )
    axes.set_title(title, fontsize=10)
    tidy(axes, xlabel=across, ylabel=up)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8)


def curves_over_minutes(
    histories: Mapping[str, History], up: str, *, of: Callable[[np.ndarray], np.ndarray] = lambda nll: nll
) -> Figure:
    """Return losses of training and of validation data against minutes, one panel a run, at most two side by side.

    Args:
        histories: Title -> run.
        up: Name of the vertical axis.
        of: From losses, nats a row, to what is drawn.
    """
    across = min(len(histories), 2)
    figure, panels = board(across, -(-len(histories) // across), size=3.9)
    for axes in panels[len(histories) :]:
        axes.set_axis_off()
    for axes, (title, history) in zip(panels, histories.items(), strict=False):
        table = history.to_numpy()
        later = table["step"] > 0
        lines = {
            name: ((table["seconds"][later] / 60).tolist(), of(table[column][later]).tolist())
            for name, column in (("training", "train_loss"), ("validation", "validation_loss"))
        }
        curves(axes, lines, "minutes", up, title)
        axes.locator_params(axis="x", nbins=4)  # numbers of a short run are long
        # What the first steps gain would flatten all that follows.
        late = [value for _, values in lines.values() for value in values[len(values) // 10 :]]
        low, high = min(late), max(late)
        if high > low:
            axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    return figure


def spread_bars(
    axes: Axes, names: Sequence[str], values: Sequence[Sequence[float]], across: str, title: str = ""
) -> None:
    """Draw one horizontal bar a name, as long as the mean, and a dot for each seed."""
    for row, (name, seeds) in enumerate(zip(names, values, strict=True)):
        axes.barh(row, float(np.mean(seeds)), color=LABEL_COLOURS[row % len(LABEL_COLOURS)], alpha=0.6, label=name)
        axes.plot(seeds, [row] * len(seeds), linestyle="", marker="o", color=BLACK, markersize=3.5)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    tidy(axes, grid="x", xlabel=across)


def tidy(axes: Axes, *, log: str = "", grid: Literal["x", "y", "both"] = "both", **properties: object) -> None:
    """Give a panel a grid, no frame at the top and right, and numbers that do not overlap on axes in `log`."""
    axes.set(**properties)
    for name in log:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axes.set(**{f"{name}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, axis=grid)
