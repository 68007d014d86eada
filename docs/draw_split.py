"""Draws split.png: Split, a layer on a tuple, and Merge, beside the same step as a mask on one vector.

Run it as `python docs/draw_split.py`.
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from pushforward.report.plots.canvas import BLACK, BLUE, VERMILION, Picture

KEPT, MOVED = "#CFE3F1", "#F6D5C2"


def main() -> None:
    """Write the picture."""
    figure = Picture(figsize=(9.0, 2.9), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12)  # inches: titles are not cut
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
    _as_tuples(left)
    _as_a_mask(right)
    for axes in (left, right):
        axes.set_axis_off()
        axes.set_aspect("equal")
    figure.savefig(Path(__file__).parent / "split.png", dpi=110)


def _as_tuples(axes: Axes) -> None:
    axes.set(xlim=(-0.3, 9.3), ylim=(-0.6, 4.4), title="Split, a layer on the tuple, Merge")
    _cells(axes, 0.2, 1.0, "x", (KEPT, KEPT, MOVED, MOVED))
    _cells(axes, 2.8, 2.2, "$x_A$", (KEPT, KEPT))
    _cells(axes, 2.8, 0.4, "$x_B$", (MOVED, MOVED))
    axes.add_patch(Rectangle((4.5, 0.2), 1.6, 1.4, facecolor="white", edgecolor=BLACK))
    axes.text(5.3, 0.9, "univariate\nmaps", ha="center", va="center", fontsize=9)
    axes.add_patch(Rectangle((4.5, 2.4), 1.6, 1.0, facecolor="white", edgecolor=BLACK))
    axes.text(5.3, 2.9, "conditioner", ha="center", va="center", fontsize=9)
    _cells(axes, 8.0, 1.0, "y", (KEPT, KEPT, MOVED, MOVED))
    for start, end, colour in (
        ((0.9, 2.4), (2.7, 3.0), BLUE), ((0.9, 1.6), (2.7, 0.9), VERMILION), ((3.5, 2.9), (4.5, 2.9), BLUE),
        ((3.5, 0.9), (4.5, 0.9), VERMILION), ((5.3, 2.4), (5.3, 1.65), BLUE), ((6.1, 0.9), (7.9, 1.6), VERMILION),
        ((3.15, 3.5), (7.95, 2.6), BLUE),
    ):  # fmt: skip
        bend = "arc3,rad=-0.28" if start == (3.15, 3.5) else "arc3"
        arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=colour, connectionstyle=bend)
        axes.add_patch(arrow)
    axes.text(1.8, -0.3, "Split", ha="center", fontsize=9)
    axes.text(7.0, -0.3, "Merge", ha="center", fontsize=9)


def _as_a_mask(axes: Axes) -> None:
    axes.set(xlim=(-0.3, 7.4), ylim=(-0.6, 4.4), title="the same on one vector: Coupling(mask, ...)")
    _cells(axes, 0.2, 1.0, "x", (KEPT, KEPT, MOVED, MOVED))
    _cells(axes, 2.4, 1.0, "mask", (KEPT, KEPT, MOVED, MOVED), ("True", "True", "False", "False"), width=1.1)
    _cells(axes, 6.2, 1.0, "y", (KEPT, KEPT, MOVED, MOVED))
    axes.add_patch(FancyArrowPatch((1.0, 2.0), (2.35, 2.0), arrowstyle="-|>", mutation_scale=11, color=BLACK))
    axes.add_patch(FancyArrowPatch((3.6, 2.0), (6.1, 2.0), arrowstyle="-|>", mutation_scale=11, color=BLACK))
    axes.text(4.85, 2.15, "True: passed on", ha="center", fontsize=9, color=BLUE)
    axes.text(4.85, 1.6, "False: transformed", ha="center", fontsize=9, color=VERMILION)


def _cells(
    axes: Axes, x: float, y: float, name: str, colours: tuple[str, ...], words: tuple[str, ...] = (), width: float = 0.7
) -> None:
    """Draw a vector as a column of cells, the first one on top, its name above."""
    for at, colour in enumerate(reversed(colours)):
        axes.add_patch(Rectangle((x, y + 0.5 * at), width, 0.5, facecolor=colour, edgecolor=BLACK, linewidth=0.8))
        if words:
            axes.text(x + width / 2, y + 0.5 * at + 0.25, words[-1 - at], ha="center", va="center", fontsize=8)
    axes.text(x + width / 2, y + 0.5 * len(colours) + 0.15, name, ha="center", fontsize=10)


if __name__ == "__main__":
    main()
