"""Pictures of the study `vae-prior`: validation curves beside gains, and the latents of two laws."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure

from pushforward.report.plots.canvas import BLACK, BLUE, LABEL_COLOURS, VERMILION
from pushforward.studies.kit.cells import Found
from pushforward.studies.kit.pictures import board, curves, frame, tidy, window
from pushforward.studies.kit.tables import mean, values

POINTS = 1_500  # of each law in a panel


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


def training(by_prior: Mapping[str, Sequence[Found]]) -> Figure:
    """Return validation curves beside gains over the first, normal prior: bars of means, dots of seeds with errors."""
    figure, (left, right) = board(2, size=4.2)
    first = {name: found[0].curve for name, found in by_prior.items()}
    lines = {name: ([epoch for epoch, _ in of], [loss for _, loss in of]) for name, of in first.items()}
    curves(left, lines, "epoch", "negative ELBO on validation images (nats)")
    last = [losses[-1] for _, losses in lines.values()]
    left.set_ylim(min(last) - 1, max(last) + 20)
    _, *others = by_prior
    for row, name in enumerate(others):
        gains, errors = values(by_prior[name], "gain"), values(by_prior[name], "gain_error")
        right.barh(row, mean(by_prior[name], "gain"), color=LABEL_COLOURS[row + 1], alpha=0.6)
        right.errorbar(gains, [row] * len(gains), xerr=errors, linestyle="", marker="o", color=BLACK, markersize=3.5)
    right.set_yticks(range(len(others)), others)
    right.invert_yaxis()
    right.axvline(0, color=BLACK, linewidth=0.8)
    tidy(right, grid="x", xlabel="test ELBO above the normal prior's (nats)")
    return figure
