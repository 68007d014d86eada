"""Pictures of the study `sweep`: effects, importances, MMD against the density's error, samples and codes."""

import math
from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pushforward.report.plots.canvas import BLACK, DATA, LABEL_COLOURS, SAMPLES, Picture
from pushforward.studies.kit import pictures
from pushforward.studies.kit.cells import Found
from pushforward.studies.kit.tables import mean, shown, values
from pushforward.studies.sweep.moons_run import Settings
from pushforward.studies.sweep.plan import SETTINGS

Z_NAMES = ("$z_1$", "$z_2$")
KINDS = {
    "one setting changed": ("effect",),
    "random settings": ("random",),
    "guided search": ("guided",),
    "repeated": ("first", "centre", "best", "ours"),
}


def effects(levels: Mapping[str, Mapping[float, Sequence[Found]]], centre: Settings) -> Figure:
    """Excess against each setting, the others as in the centre: a dot a seed, a line through the means."""
    figure = Picture(figsize=(3.1 * 3, 2.9 * 2), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True).flat
    for axes, (name, found) in zip(panels, levels.items(), strict=False):
        for level, runs in found.items():
            axes.plot([level] * len(runs), values(runs, "excess"), "o", color=DATA, markersize=4, alpha=0.7)
        axes.plot(list(found), [mean(runs, "excess") for runs in found.values()], color=DATA, linewidth=1.4)
        axes.axvline(centre[name], color=BLACK, linestyle=":", linewidth=1)
        pictures.tidy(axes, log="xy", xlabel=SETTINGS[name].name, xlim=(min(found) / 1.5, max(found) * 1.5))
        axes.set_xticks(list(found), [f"{level:g}" for level in found])
        axes.minorticks_off()
    for axes in (panels[0], panels[3]):
        axes.set_ylabel("excess (nats)")
    every = [run for found in levels.values() for runs in found.values() for run in runs]
    panels[5].plot(values(every, "seconds"), values(every, "excess"), "o", color=SAMPLES, markersize=4, alpha=0.7)
    pictures.tidy(panels[5], log="x", xlabel="seconds of training")
    return figure


def importance_bars(shares: Mapping[str, float]) -> Figure:
    """The share of the variance of log excess that each setting explains, the largest first."""
    figure = Picture(figsize=(5.4, 2.6), layout="constrained")
    names, bars = [SETTINGS[name].name for name in shares], [[share] for share in shares.values()]
    pictures.spread_bars(figure.add_subplot(), names, bars, "share of the variance of log excess (fANOVA)")
    return figure


def mmd_against_excess(runs: Sequence[Found], limits: Mapping[str, float]) -> Figure:
    """MMD^2 against excess, one dot a run, with the 95 % limit for two samples of the truth; one panel a kernel."""
    figure = Picture(figsize=(9.6, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    for axes, (key, limit), title in zip(panels, limits.items(), ("usual kernel", "finer kernel"), strict=True):
        floor = limit / 30
        for colour, (label, kinds) in zip(LABEL_COLOURS, KINDS.items(), strict=False):
            chosen = [run for run in runs if run.cell.kind in kinds]
            heights = [max(value, floor) for value in values(chosen, key)]
            axes.plot(values(chosen, "excess"), heights, "o", color=colour, markersize=5, alpha=0.7, label=label)
        axes.axhline(limit, color=BLACK, linestyle="--", linewidth=1, label="95 % limit, two real samples")
        axes.set_title(title, fontsize=10)
        pictures.tidy(axes, log="xy", xlabel="excess (nats)", ylabel=f"MMD² (smaller ones drawn at {floor:.0e})")
    legend = panels[0].get_legend_handles_labels()
    figure.legend(*legend, frameon=False, loc="outside upper center", ncols=5, fontsize=9)
    return figure


def samples_by_excess(chosen: Sequence[Found], fresh: Tensor) -> Figure:
    """Samples of runs from bad to good, each with its MMD and excess, and fresh points of the truth."""
    area = pictures.window(fresh, margin=0.2)
    contents = {}
    for run in chosen:
        title = f"excess {shown(run.excess)}\nMMD² {shown(run.mmd)}, finer {shown(run.mmd_fine)}"
        contents[title] = pictures.Points(run.samples, SAMPLES, size=5)
    contents["fresh points of the truth"] = pictures.Points(fresh[: len(chosen[0].samples)], DATA, size=5)
    return pictures.panels(contents, area, across=(len(chosen) + 2) // 2, size=2.7, outer=True)[0]


def codes_and_quantiles(runs: Mapping[str, Found]) -> Figure:
    """Codes of test points with the circles that hold half and 95 % of a normal's, and their quantiles below."""
    figure, panels = pictures.board(len(runs), 2, size=3.0)
    area = (-4.0, 4.0, -4.0, 4.0)
    radii = [math.sqrt(-2 * math.log(1 - share)) for share in (0.5, 0.95)]
    for axes, below, (name, run) in zip(panels, panels[len(runs) :], runs.items(), strict=False):
        pictures.points(axes, pictures.Points(run.codes, DATA, size=5), name, area, Z_NAMES)
        pictures.circles(axes, radii, linewidth=0.9, linestyle="--")
        _quantiles(below, run.codes)
    return figure


def _quantiles(axes: Axes, z: Tensor) -> None:
    levels = torch.linspace(0, 1, 101)[1:-1]
    normal = torch.special.ndtri(levels)
    axes.plot((-3, 3), (-3, 3), color=BLACK, linewidth=0.9, linestyle="--", label="standard normal")
    for colour, name, column in zip(LABEL_COLOURS, Z_NAMES, z.T, strict=False):
        axes.plot(normal, column.quantile(levels), color=colour, linewidth=1.5, label=name)
    axes.set(xlim=(-3, 3), ylim=(-3.6, 3.6))
    pictures.tidy(axes, xlabel="standard normal quantile", ylabel="quantile of the codes")
    axes.legend(frameon=False, fontsize=8)
