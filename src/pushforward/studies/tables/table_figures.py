"""Pictures of the study of tables: detection score against seconds of fit, and columns beside samples."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from pushforward.report.plots.canvas import BLACK, DATA, LABEL_COLOURS, SAMPLES, Picture
from pushforward.report.plots.marginals import short
from pushforward.studies.kit import pictures

if TYPE_CHECKING:
    import polars as pl

MOST_LEVELS, BINS = 8, 40
WHO = (("rows", DATA, -0.2), ("samples", SAMPLES, 0.2))


def score_against_seconds(
    ours: Mapping[float, Sequence[float]],
    peers: Mapping[str, tuple[float, float]],
    levels: Mapping[str, float],
) -> Picture:
    """Picture detection scores.

    Args:
        ours: Seconds of fit -> the score of each seed.
        peers: Name -> seconds of fit, score.
        levels: Name -> a score without seconds, a line across.
    """
    figure = Picture(figsize=(7.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    seconds = sorted(ours)
    axes.plot(seconds, [float(np.mean(ours[one])) for one in seconds], color=DATA, label="ours", linewidth=1.6)
    for one in seconds:
        axes.plot([one] * len(ours[one]), ours[one], "o", color=DATA, markersize=5, alpha=0.7)
    for colour, (name, (one, score)) in zip(LABEL_COLOURS[1:], peers.items(), strict=False):
        axes.plot([one], [score], "s", color=colour, markersize=7, label=name)
    for score in levels.values():
        axes.axhline(score, color=BLACK, linestyle="--", linewidth=0.8, alpha=0.6)
    for (name, score), height in zip(levels.items(), _apart(list(levels.values()), 0.045), strict=True):
        axes.annotate(
            f"{name} {score:.3f}", (1.01, height), xycoords=axes.get_yaxis_transform(), fontsize=8, va="center"
        )
    every = [*seconds, *(one for one, _ in peers.values())]
    pictures.tidy(
        axes, log="x", xlabel="seconds of fit", ylabel="detection score, 2 (1 - AUC)", ylim=(-0.03, 1.03),
        xlim=(min(every) / 2, max(every) * 2),
    )  # fmt: skip
    axes.legend(frameon=False, fontsize=9)
    return figure


def columns(real: "pl.DataFrame", drawn: "pl.DataFrame", *, across: int = 4) -> Picture:
    """Picture every column of rows beside the same of samples."""
    down = -(-real.width // across)
    figure = Picture(figsize=(2.6 * across, 2.1 * down + 0.4), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[real.width :]:
        axes.set_axis_off()
    for axes, name in zip(panels, real.columns, strict=False):
        draw = _numbers if real[name].dtype.is_numeric() else _categories
        draw(axes, [real[name], drawn[name]])
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def _numbers(axes: Axes, both: Sequence[Any]) -> None:
    values = [one.drop_nulls().to_numpy() for one in both]
    low, high = np.quantile(values[0], (0.005, 0.995))
    distinct = np.unique(values[0])
    few = distinct[(distinct >= low) & (distinct <= high)]
    if len(few) <= BINS:  # a bin for each value
        edges = np.concatenate([few[:1] - 0.5, (few[1:] + few[:-1]) / 2, few[-1:] + 0.5])
    elif both[0].dtype.is_integer():  # bins of equally many values each
        width = int(np.ceil((high - low + 1) / BINS))
        edges = np.arange(low - 0.5, high + width, width)
    else:
        edges = np.linspace(low, high, BINS + 1)
    for (label, colour, _), one in zip(WHO, values, strict=True):
        heights = np.histogram(one, edges)[0] / max(len(one), 1)
        axes.stairs(heights, edges, color=colour, label=label, linewidth=1.2)
    axes.locator_params(axis="x", nbins=4)


def _categories(axes: Axes, both: Sequence[Any]) -> None:
    texts = [one.cast(str).fill_null("(missing)") for one in both]
    counts = texts[0].value_counts(sort=True).sort("count", texts[0].name, descending=[True, False])
    names = counts[texts[0].name].to_list()[:MOST_LEVELS]
    for (label, colour, offset), one in zip(WHO, texts, strict=True):
        shares = [float((one == name).mean()) for name in names]
        axes.bar(np.arange(len(names)) + offset, shares, width=0.4, color=colour, alpha=0.8, label=label)
    axes.set_xticks(range(len(names)), [short(name, 13) for name in names], rotation=60 if len(names) > 3 else 0)


def _apart(heights: list[float], least: float) -> list[float]:
    """Return heights moved up as little as lets labels stand apart."""
    moved = dict.fromkeys(range(len(heights)), 0.0)
    last = -1.0
    for place in sorted(moved, key=heights.__getitem__):
        last = moved[place] = max(heights[place], last + least)
    return list(moved.values())
