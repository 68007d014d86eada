"""Pairs of columns of any kind, data beside samples; and whether the law of each column is calibrated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pushforward.report.plots.canvas import BLUE, DATA, SAMPLES, Picture, tidy
from pushforward.report.plots.marginals import ACROSS, MOST_BARS, Marginal, short

POINTS = 1_500  # drawn in one panel
PAIRS_ACROSS = 2
BINS = 10  # of a calibration
SLANTED: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}


@dataclass(frozen=True, eq=False)
class Pair:
    """Two columns, data and samples, rows without a missing cell in either.

    Attributes:
        first: On the horizontal axis; its `data` and `samples` stand row by row beside those of the second.
        second: On the vertical axis.
        data: Mutual information of the two in the data, in nats.
        samples: The same in the samples.
    """

    first: Marginal
    second: Marginal
    data: float
    samples: float


def pairs_of_columns(pairs: Sequence[Pair]) -> Picture:
    """Draw two panels a pair, data and samples on the same axes: points, points beside categories, or shares."""
    down = -(-len(pairs) // PAIRS_ACROSS)
    figure = Picture(figsize=(4.9 * PAIRS_ACROSS + 0.3, 2.3 * down + 0.4), layout="constrained")
    panels = figure.subplots(down, 2 * PAIRS_ACROSS, squeeze=False).reshape(-1, 2)
    for (left, right), pair in zip(panels, pairs, strict=False):
        for axes, who, colour in ((left, "data", DATA), (right, "samples", SAMPLES)):
            _panel(axes, pair, who, colour)
            axes.set_title(f"{who}, {getattr(pair, who):.2f} nats", fontsize=8, color=colour)
            axes.set_xlabel(short(pair.first.name), fontsize=8)
            axes.tick_params(labelsize=7)
            tidy(axes)
        left.set_ylabel(short(pair.second.name), fontsize=8)
        right.set_yticklabels([])
    for left, right in panels[len(pairs) :]:
        left.set_axis_off()
        right.set_axis_off()
    return figure


def calibration(transforms: Mapping[str, np.ndarray]) -> Picture:
    """Draw a histogram a column of its probability integral transforms, which are flat where its law is right."""
    names = list(transforms)
    across = min(ACROSS, len(names))
    down = -(-len(names) // across)
    figure = Picture(figsize=(2.5 * across + 0.3, 1.5 * down + 0.3), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for axes, name in zip(panels, names, strict=False):
        values = transforms[name]
        heights = np.histogram(values, BINS, (0, 1))[0] * BINS / max(len(values), 1)
        band = 2 * np.sqrt((BINS - 1) / max(len(values), 1))
        axes.axhspan(1 - band, 1 + band, color="#dddddd", linewidth=0)
        axes.stairs(heights, np.linspace(0, 1, BINS + 1), color=BLUE, fill=True, alpha=0.35)
        axes.stairs(heights, np.linspace(0, 1, BINS + 1), color=BLUE, linewidth=1.1)
        axes.set_title(short(name), fontsize=9)
        axes.set_ylim(0, 2)
        axes.set_xticks([0, 1])
        axes.tick_params(labelsize=7)
        tidy(axes)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    return figure


def _panel(axes: Axes, pair: Pair, who: str, colour: str) -> None:
    first, second = (getattr(one, who) for one in (pair.first, pair.second))
    places = [_places(one) for one in (pair.first, pair.second)]
    if places[0] is not None and places[1] is not None:
        _shares(axes, [first, second], places)
        if who == "samples":
            axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        return
    random = np.random.default_rng(0)
    num = min(len(pair.first.data), len(pair.first.samples), POINTS)  # as many of both
    chosen = random.permutation(len(first))[:num]
    points = []
    for values, place in ((first[chosen], places[0]), (second[chosen], places[1])):
        if place is not None:
            values = np.array([place.get(value, np.nan) for value in values.tolist()], dtype=float)
            values = values + random.uniform(-0.3, 0.3, len(values))
        points.append(values)
    axes.scatter(points[0], points[1], s=4, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    ways: tuple[tuple[Any, Any], ...] = ((axes.set_xlim, axes.set_xticks), (axes.set_ylim, axes.set_yticks))
    for (set_limits, set_ticks), one, place in zip(ways, (pair.first, pair.second), places, strict=True):
        if place is not None:
            set_ticks(range(len(place)), [short(str(value), 10) for value in place])
            set_limits(-0.5, len(place) - 0.5)
        elif len(one.data):
            low, high = np.quantile(one.data, (0.005, 0.995))
            margin = 0.08 * (high - low) or 0.5
            set_limits(low - margin, high + margin)
            if one.labels:
                set_ticks([low, high], one.labels)
    if places[0] is not None:
        axes.set_xticks(axes.get_xticks(), [tick.get_text() for tick in axes.get_xticklabels()], **SLANTED)


def _shares(axes: Axes, values: Sequence[np.ndarray], places: Sequence[Mapping[str, int] | None]) -> None:
    """Draw two columns of categories as bars on one another: shares of the second within each value of the first."""
    first, second = places
    assert first is not None
    assert second is not None
    bottom = np.zeros(len(first))
    totals = np.array([max((values[0] == one).sum(), 1) for one in first])
    for k, other in enumerate(second):
        heights = np.array([((values[0] == one) & (values[1] == other)).sum() for one in first]) / totals
        axes.bar(range(len(first)), heights, 0.85, bottom=bottom, color=f"C{k}", label=short(str(other), 10))
        bottom += heights
    axes.set_xticks(range(len(first)), [short(str(one), 10) for one in first], **SLANTED)
    axes.set_ylim(0, 1)


def _places(column: Marginal) -> dict[str, int] | None:
    """Return where the most frequent categories stand; None for numbers."""
    if column.data.dtype.kind in "fiub":
        return None
    values, counts = np.unique(column.data, return_counts=True)
    return {str(value): place for place, value in enumerate(values[np.argsort(-counts, kind="stable")][:MOST_BARS])}
