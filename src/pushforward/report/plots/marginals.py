"""Each column of a mixed table alone, data beside samples: bars of categories, histograms of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pushforward.report.plots.canvas import DATA, SAMPLES, Picture, tidy

ACROSS = 4
MOST_BARS = 8
MOST_BINS = 40


@dataclass(frozen=True, eq=False)
class Marginal:
    """A column of data and of samples, missing cells left out.

    Attributes:
        name: Its name.
        data: (n,): numbers, or text.
        samples: (m,).
        step: Between neighbouring values of recorded numbers; 0 where they have a density.
        labels: What two ends of the axis are called, where the numbers stand for dates or times; else ().
    """

    name: str
    data: np.ndarray
    samples: np.ndarray
    step: float = 0.0
    labels: tuple[str, str] | tuple[()] = ()

    @property
    def difference(self) -> float:
        """Largest difference of the two distribution functions (Kolmogorov), or total variation of categories."""
        if not (len(self.data) and len(self.samples)):
            return float("nan")
        values = np.unique(np.concatenate((self.data, self.samples)))
        shares = [np.bincount(np.searchsorted(values, part), minlength=len(values)) / len(part) for part in self._both]
        if self.data.dtype.kind in "fiub":
            return float(np.abs(np.cumsum(shares[0] - shares[1])).max())
        return float(np.abs(shares[0] - shares[1]).sum() / 2)

    @property
    def _both(self) -> tuple[np.ndarray, np.ndarray]:
        return self.data, self.samples


def marginals(columns: Sequence[Marginal]) -> Picture:
    """Draw a panel a column, data and samples on the same axes."""
    across = min(ACROSS, len(columns))
    down = -(-len(columns) // across)
    figure = Picture(figsize=(2.5 * across + 0.3, 1.9 * down + 0.5), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, column in zip(panels, columns, strict=False):
        numbers = column.data.dtype.kind in "fiub"
        (_histogram if numbers else _bars)(axes, column)
        axes.set_title(short(column.name), fontsize=9)
        axes.tick_params(labelsize=7)
        if numbers:
            axes.set_yticks([])
        tidy(axes)
    for axes in panels[len(columns) :]:
        axes.set_axis_off()
    handles = [Line2D([], [], color=c, linewidth=3, label=n) for c, n in ((DATA, "data"), (SAMPLES, "samples"))]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def _histogram(axes: Axes, column: Marginal) -> None:
    low, high = np.quantile(column.data, (0.005, 0.995)) if len(column.data) else (0.0, 1.0)
    if column.step:  # edges between the values, or false gaps appear
        width = column.step * max(1, -(-int((high - low) / column.step + 1) // MOST_BINS))
        edges = np.arange(low - column.step / 2, high + width + column.step / 2, width)
    else:
        edges = np.linspace(low, high if high > low else low + 1, MOST_BINS + 1)
    for values, colour, filled in ((column.data, DATA, True), (column.samples, SAMPLES, False)):
        counts, _ = np.histogram(values, edges)
        shares = counts / max(len(values), 1)
        if filled:
            axes.stairs(shares, edges, color=colour, fill=True, alpha=0.35)
        axes.stairs(shares, edges, color=colour, linewidth=1.1)
    axes.locator_params(axis="x", nbins=4)
    if column.labels:
        axes.set_xticks([edges[0], edges[-1]], column.labels)


def _bars(axes: Axes, column: Marginal) -> None:
    values, counts = np.unique(column.data, return_counts=True)
    shown = values[np.argsort(-counts, kind="stable")][:MOST_BARS]
    places = np.arange(len(shown))
    for values, colour, side in ((column.data, DATA, -0.2), (column.samples, SAMPLES, 0.2)):
        shares = [float((values == one).mean()) if len(values) else 0.0 for one in shown]
        axes.barh(places + side, shares, 0.4, color=colour)
    more = len(np.unique(column.data)) - len(shown)
    axes.set_yticks(places, [short(str(one), 14) for one in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    if more > 0:
        axes.set_xlabel(f"{more:,} more", fontsize=7)
    axes.set_xticks([])


def short(name: str, most: int = 24) -> str:
    """Return a name that fits, as matplotlib is to write it: what stands between two $ would be mathematics."""
    return (name if len(name) <= most else name[: most - 1] + "…").replace("$", r"\$")
