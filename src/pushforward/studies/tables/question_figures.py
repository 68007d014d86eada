"""Pictures of the study of questions: areas under curves, p-values, and what is told of missing cells and columns."""

from collections.abc import Mapping, Sequence

import numpy as np

from pushforward.report.plots.canvas import BLACK, LABEL_COLOURS, Picture
from pushforward.studies.kit import pictures


def areas(found: Mapping[str, Mapping[str, Sequence[float]]]) -> Picture:
    """Picture the area under the curve of each method on each table, a point a seed."""
    methods = list(dict.fromkeys(method for scores in found.values() for method in scores))
    figure = Picture(figsize=(8.2, 0.55 * len(found) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    for k, method in enumerate(methods):
        points = [(area, place) for place, one in enumerate(found.values()) for area in one.get(method, ())]
        x, y = np.array(points).T if points else (np.empty(0), np.empty(0))
        axes.plot(
            x, y - 0.3 + 0.6 * k / max(len(methods) - 1, 1), "o", color=LABEL_COLOURS[k], markersize=6, label=method
        )
    axes.axvline(0.5, color=BLACK, linestyle="--", linewidth=0.8, alpha=0.6)
    axes.set_yticks(range(len(found)), list(found))
    pictures.tidy(axes, xlabel="AUC", ylim=(len(found) - 0.5, -0.5))
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def shares_at_levels(curves: Mapping[str, tuple[np.ndarray, Sequence[float]]]) -> Picture:
    """Picture the share of usual rows whose p-value is at most a level, against the level."""
    figure = Picture(figsize=(5.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for colour, (name, (levels, shares)) in zip(LABEL_COLOURS, curves.items(), strict=False):
        axes.plot(levels, shares, color=colour, linewidth=1.4, label=name)
    axes.plot([1e-3, 1], [1e-3, 1], color=BLACK, linestyle="--", linewidth=0.8, alpha=0.6)
    pictures.tidy(
        axes, log="xy", xlabel="level", ylabel="share of usual rows at or below it", xlim=(1e-3, 1), ylim=(3e-4, 1.2)
    )
    axes.legend(frameon=False, fontsize=8)
    return figure
