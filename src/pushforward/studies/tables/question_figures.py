"""Pictures of the study of questions: areas under curves, shares at levels, errors of imputed cells, quantiles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pushforward.report.plots.canvas import BLACK, LABEL_COLOURS, Picture, board
from pushforward.studies.kit import pictures
from pushforward.studies.tables.proper_scores import LEVELS

DASHED: dict[str, Any] = {"color": BLACK, "linestyle": "--", "linewidth": 0.8}


def areas(found: Mapping[str, Mapping[str, Sequence[float]]]) -> Picture:
    """Picture the areas under the curves of every seed, {table: {score: areas}}, one line of dots a table."""
    figure = Picture(figsize=(8.2, 0.55 * len(found) + 1.4), layout="constrained")
    axes = figure.add_subplot()
    methods = list(dict.fromkeys(method for scores in found.values() for method in scores))
    for index, method in enumerate(methods):
        dots = [(row, one) for row, scores in enumerate(found.values()) for one in scores.get(method, ())]
        heights = [row + 0.5 * (index / max(len(methods) - 1, 1) - 0.5) for row, _ in dots]
        colour = LABEL_COLOURS[index % len(LABEL_COLOURS)]
        axes.plot([one for _, one in dots], heights, "o", color=colour, markersize=6, alpha=0.8, label=method)
    axes.axvline(0.5, **DASHED)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    pictures.tidy(axes, grid="x", xlabel="area under the curve")
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure


def shares_at_levels(curves: Mapping[str, tuple[np.ndarray, Sequence[float]]]) -> Picture:
    """Picture the shares of p-values that are at most a level, {table: (levels, shares)}, both axes logarithmic."""
    figure = Picture(figsize=(6.6, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for colour, (name, (levels, shares)) in zip(LABEL_COLOURS, curves.items(), strict=False):
        there = np.asarray(shares) > 0
        axes.plot(levels[there], np.asarray(shares)[there], color=colour, label=name, linewidth=1.4)
    ends = [min(levels[0] for levels, _ in curves.values()), 1.0]
    axes.plot(ends, ends, **DASHED)
    pictures.tidy(axes, log="xy", xlabel="level", ylabel="share of usual rows with a p-value at or below it")
    axes.legend(frameon=False, fontsize=8)
    return figure


def errors_of_imputation(by_share: Mapping[float, Mapping[str, Any]]) -> Picture:
    """Picture CRPS and RMSE against the share of missing cells, {share: {method: score}}."""
    figure, panels = board(2, size=3.9)
    for axes, (field, called) in zip(panels, (("crps", "CRPS"), ("rmse", "RMSE")), strict=True):
        shares = sorted(by_share)
        lines = {
            method: (shares, [getattr(by_share[share][method], field) for share in shares])
            for method in by_share[shares[0]]
        }
        pictures.curves(axes, lines, "share of cells missing", f"{called} (standard deviations)")
        axes.set_ylim(bottom=0)
    return figure


def shares_below(found: Mapping[str, Mapping[str, Sequence[float]]]) -> Picture:
    """Picture the shares of values at or below the quantiles at `LEVELS`, {column: {method: shares}}, a panel each."""
    figure, panels = board(len(found), size=3.6)
    for axes, (title, methods) in zip(panels, found.items(), strict=True):
        axes.plot([0, 1], [0, 1], **DASHED)
        pictures.curves(
            axes, {method: (LEVELS.tolist(), shares) for method, shares in methods.items()}, "level",
            "share at or below the quantile", title,
        )  # fmt: skip
    return figure
