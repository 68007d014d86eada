"""Pictures of the study of scale: time and memory against rows, and steps with the cost that fits them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from pushforward.report.plots.canvas import BLACK, LABEL_COLOURS, Picture, board
from pushforward.studies.kit import pictures
from pushforward.studies.scale.cost import Cost, Step

MARKS = {1: "o", 2: "s"}


def growth(
    rows: Mapping[str, Sequence[int]], seconds: Mapping[str, Sequence[float]], memory: Mapping[str, Sequence[int]]
) -> Picture:
    """Picture seconds and gigabytes against rows, a colour a name, with a line of slope 1 through the last scoring.

    Args:
        rows: By name.
        seconds: Likewise.
        memory: Likewise, bytes.
    """
    figure = Picture(figsize=(9.2, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _against_rows(left, rows, seconds, 1.0)
    _against_rows(right, rows, memory, 1e9)
    name = next(name for name in seconds if name.startswith("scored"))
    least, most, last = rows[name][0], rows[name][-1], seconds[name][-1]
    left.plot(
        [least, most], [last * least / most, last], color=BLACK, alpha=0.4, linestyle="--",
        label="in proportion to rows", zorder=0,
    )  # fmt: skip
    left.set_ylabel("seconds")
    right.set_ylabel("most memory of a process, GB")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _against_rows(
    axes: Axes, rows: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[float]], unit: float
) -> None:
    for index, (name, values) in enumerate(found.items()):
        axes.plot(
            rows[name], np.asarray(values) / unit, "-o" if len(values) > 1 else "D", color=LABEL_COLOURS[index],
            label=name, markersize=5, linewidth=1.4,
        )  # fmt: skip
    pictures.tidy(axes, log="xy", xlabel="rows")
    every = [one / unit for values in found.values() for one in values]
    axes.set_ylim(min(every) / 2, max(every) * 2)
    sizes = sorted({one for ones in rows.values() for one in ones})
    axes.set_xticks(sizes, [f"{one:,}" for one in sizes])
    axes.minorticks_off()


def steps_against_rows(steps: Sequence[Step], cost: Cost) -> Picture:
    """Picture measured steps, and the fitted cost, a panel a model and a colour for each number of ranks."""
    models = list(cost.parameters)
    figure, panels = board(len(models), size=4.2)
    for axes, model in zip(panels, models, strict=True):
        ours = [one for one in steps if one.model == model]
        least, most = min(one.rows for one in ours), max(one.rows for one in ours)
        grid = np.geomspace(least, most, 60)
        for index, ranks in enumerate(sorted({one.ranks for one in ours})):
            colour = LABEL_COLOURS[index]
            here = [one for one in ours if one.ranks == ranks]
            label = f"{ranks} processes" if ranks > 1 else "1 process"
            axes.plot(
                [one.rows for one in here], [1e3 * one.seconds for one in here], MARKS.get(ranks, "^"), color=colour,
                label=f"{label}, measured",
            )  # fmt: skip
            curve = [1e3 * cost.seconds(model, float(rows), ranks) for rows in grid]
            axes.plot(grid, curve, color=colour, linewidth=1.4, label=f"{label}, fitted")
        axes.set_title(f"{model}: {cost.parameters[model]:,} parameters", fontsize=10)
        pictures.tidy(axes, log="xy", xlabel="rows of a batch", ylabel="milliseconds of a step")
        axes.set_xticks(
            sorted({one.rows for one in ours}), [f"{rows:,}" for rows in sorted({one.rows for one in ours})]
        )
        axes.minorticks_off()
    panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure
