"""Pictures of the study `sweep`: effects, importances, MMD against the density's error, samples and codes."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor

from pushforward.report.plots import BLACK, DATA, LABEL_COLOURS, SAMPLES
from pushforward.studies.kit import pictures
from pushforward.studies.kit.tables import shown
from pushforward.studies.sweep.cells import SETTINGS, truth
from pushforward.studies.sweep.results import NAMES, Run

KINDS = {"effect": "one setting changed", "random": "random settings", "guided": "guided search", "other": "repeated"}


def effects(levels: Mapping[str, Mapping[float, Sequence[Run]]], centre: Mapping[str, float]) -> Figure:
    """Excess against each setting, the others as in the centre: a dot a seed, a line through the means."""
    figure = Figure(figsize=(3.1 * 3, 2.9 * 2), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True).flat
    for axes, (setting, found) in zip(panels, levels.items(), strict=False):
        values = sorted(found)
        for value in values:
            excesses = [run.excess for run in found[value]]
            axes.plot([value] * len(excesses), excesses, "o", color=DATA, markersize=4, alpha=0.7)
        axes.plot(values, [fmean(run.excess for run in found[value]) for value in values], color=DATA, linewidth=1.4)
        axes.axvline(centre[setting], color=BLACK, linestyle=":", linewidth=1)
        axes.set_xlim(values[0] / 1.5, values[-1] * 1.5)
        axes.set(xscale="log", yscale="log", xlabel=NAMES[setting])
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        _tidy(axes)
    for axes in (panels[0], panels[3]):
        axes.set_ylabel("excess (nats)")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
    seconds = [(run.seconds, run.excess) for found in levels.values() for runs in found.values() for run in runs]
    panels[5].plot(*zip(*seconds, strict=True), "o", color=SAMPLES, markersize=4, alpha=0.7)
    panels[5].set(xscale="log", xlabel="seconds of training")
    _tidy(panels[5])
    return figure


def importances(shares: Mapping[str, float]) -> Figure:
    """The share of the variance of log excess that each setting explains."""
    figure = Figure(figsize=(5.4, 2.6), layout="constrained")
    axes = figure.add_subplot()
    names = sorted(SETTINGS, key=lambda name: -shares[name])
    axes.barh([NAMES[name] for name in names], [shares[name] for name in names], color=DATA, alpha=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("share of the variance of log excess (fANOVA)")
    _tidy(axes)
    return figure


def mmd_against_excess(runs: Sequence[Run], limits: Mapping[str, float]) -> Figure:
    """MMD^2 against excess, one dot a run, with the 95 % limit for two samples of the truth; one panel a kernel."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    for axes, (key, title) in zip(panels, (("mmd", "usual kernel"), ("mmd_fine", "finer kernel")), strict=True):
        floor = limits[key] / 30
        for index, (kind, label) in enumerate(KINDS.items()):
            chosen = [run for run in runs if (run.kind if run.kind in KINDS else "other") == kind]
            heights = [max(getattr(run, key), floor) for run in chosen]
            colour = LABEL_COLOURS[index]
            axes.plot([run.excess for run in chosen], heights, "o", color=colour, markersize=5, alpha=0.7, label=label)
        axes.axhline(limits[key], color=BLACK, linestyle="--", linewidth=1, label="95 % limit, two real samples")
        axes.set(xscale="log", yscale="log", xlabel="excess (nats)", ylabel=f"MMD² (smaller ones drawn at {floor:.0e})")
        axes.set_title(title, fontsize=10)
        _tidy(axes)
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=5, fontsize=9
    )
    return figure


def samples(chosen: Sequence[Run], compared: int) -> Figure:
    """Samples of runs from bad to good, each with its MMD and excess, and the truth."""
    fresh, _, _ = truth(compared)
    area = pictures.window(fresh, margin=0.2)
    num_columns = (len(chosen) + 2) // 2
    figure, panels = pictures.board(num_columns, 2, size=2.7, sharex=True, sharey=True)
    for axes, run in zip(panels, chosen, strict=False):
        assert run.mmd is not None
        assert run.mmd_fine is not None
        title = f"excess {shown(run.excess)}\nMMD² {shown(run.mmd)}, finer {shown(run.mmd_fine)}"
        pictures.points(axes, torch.tensor(run.samples), title, area, colour=SAMPLES, size=5)
    kept = len(chosen[0].samples) if chosen else 0
    pictures.points(panels[len(chosen)], fresh[:kept], "fresh points of the truth", area, colour=DATA, size=5)
    for axes in panels[len(chosen) + 1 :]:
        axes.remove()
    for axes in panels[: len(chosen) + 1]:
        axes.label_outer()
    return figure


def codes(runs: Mapping[str, Run]) -> Figure:
    """Codes of test points with the circles that hold half and 95 % of a normal's, and their quantiles below."""
    figure, panels = pictures.board(len(runs), 2, size=3.0)
    area = (-4.0, 4.0, -4.0, 4.0)
    turn = torch.linspace(0, 2 * torch.pi, 200)
    for column, (name, run) in enumerate(runs.items()):
        z = torch.tensor(run.codes)
        axes = panels[column]
        pictures.points(axes, z, name, area, colour=DATA, size=5)
        pictures.frame(axes, name, area, ("$z_1$", "$z_2$"))
        for share in (0.5, 0.95):
            radius = (-2 * torch.log(torch.tensor(1 - share))).sqrt()
            axes.plot(radius * turn.cos(), radius * turn.sin(), color=BLACK, linewidth=0.9, linestyle="--")
        _quantiles(panels[column + len(runs)], z)
    return figure


def _quantiles(axes: Axes, z: Tensor) -> None:
    levels = torch.linspace(0, 1, 101)[1:-1]
    normal = torch.special.ndtri(levels)
    axes.plot((-3, 3), (-3, 3), color=BLACK, linewidth=0.9, linestyle="--", label="standard normal")
    for column in range(z.shape[1]):
        axes.plot(
            normal, z[:, column].quantile(levels), color=LABEL_COLOURS[column], linewidth=1.5, label=f"$z_{column + 1}$"
        )
    axes.set(xlim=(-3, 3), ylim=(-3.6, 3.6), xlabel="standard normal quantile", ylabel="quantile of the codes")
    axes.legend(frameon=False, fontsize=8)
    _tidy(axes)


def spread_over(values: Sequence[float], count: int) -> list[int]:
    """Return the positions of `count` values spread evenly in rank, the largest first."""
    order = np.argsort(values)[::-1]
    return [
        int(order[position])
        for position in np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    ]


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)
