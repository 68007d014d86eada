"""What all pictures share: figures that a notebook shows, colours, windows, panels, densities on a grid."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pushforward.errors import InputError
from pushforward.numerics.arrays import as_tensor
from pushforward.report.rendering import png

# Okabe & Ito (2008), and three of Tol's muted scheme: colours that the colour-blind tell apart.
BLUE, VERMILION, BLACK = "#0072B2", "#D55E00", "#222222"
DATA, SAMPLES = BLUE, VERMILION
# One colour a label or curve; after these the first comes again.
LABEL_COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", BLACK, "#882255", "#999933", "#332288")
DENSITY_MAP, LOG_DET_MAP = "cividis", "RdBu_r"
X_NAMES, Z_NAMES = ("$x_1$", "$x_2$"), ("$z_1$", "$z_2$")
POINTS = 10_000  # drawn in one panel
NOTEBOOK_DOTS = 100  # per inch

Window = tuple[float, float, float, float]  # left, right, bottom, top in units of x


class Picture(Figure):
    """A matplotlib figure without pyplot's global state that a notebook shows by itself."""

    def _repr_png_(self) -> bytes:
        return png(self, NOTEBOOK_DOTS)


def board(num_columns: int, num_rows: int = 1, *, size: float = 3.1, **shared: Any) -> tuple[Picture, list[Axes]]:
    """Return a figure of square panels and its axes, row by row."""
    figure = Picture(figsize=(size * num_columns, size * num_rows + 0.3), layout="constrained")
    return figure, list(figure.subplots(num_rows, num_columns, squeeze=False, **shared).flat)


def plane_points(x: Any, name: str = "x") -> Tensor:
    """Return points of the plane as a tensor (n, 2) on the CPU.

    Raises:
        InputError: If they are anything else.
    """
    points = as_tensor(x, name).detach().cpu()
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise InputError(
            f"{name} must be points of the plane, of shape (n, 2); got shape {tuple(points.shape)} (pf.plots.pairs "
            "shows more columns)."
        )
    if not bool(points.isfinite().all()):
        raise InputError(f"{name} must be finite to be drawn; {int((~points.isfinite()).any(1).sum()):,} rows are not.")
    return points


def limits(x: Tensor, *, share: float = 0.005, margin: float = 0.15) -> list[tuple[float, float]]:
    """Return lower and upper limit of each column's axis: outer quantiles and a margin, so that no outlier decides.

    Args:
        x: (n, D).
        share: Share of the rows left out at each end.
        margin: Added at both ends, relative to the distance of the quantiles.
    """
    ordered = x.sort(0).values
    low, high = (ordered[round(q * (len(x) - 1))] for q in (share, 1 - share))
    width = high - low
    width = torch.where(width > 0, width, ordered[-1] - ordered[0])
    width = torch.where(width > 0, width, torch.ones_like(width))  # a single point, or a constant
    return list(zip((low - margin * width).tolist(), (high + margin * width).tolist(), strict=True))


def window_of(window: Window | None, x: Tensor | None) -> Window:
    """Return the window asked for, checked, or one around points.

    Raises:
        InputError: If it is not left < right and bottom < top.
    """
    if window is None:
        assert x is not None
        across, up = limits(x)
        return (*across, *up)
    try:
        left, right, bottom, top = map(float, window)
    except (TypeError, ValueError):
        left = right = math.nan
    if not (left < right and bottom < top and math.isfinite(right - left) and math.isfinite(top - bottom)):
        raise InputError(f"window must be (left, right, bottom, top) in units of x; got {window!r}.")
    return left, right, bottom, top


def corners(area: Window, lines: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the corners of a grid of the window, (lines, lines, 2), rows from bottom to top."""
    left, right, bottom, top = area
    across, up = (torch.linspace(*ends, lines, dtype=dtype, device="cpu") for ends in ((left, right), (bottom, top)))
    return torch.stack(torch.meshgrid(across, up, indexing="xy"), -1)


@torch.no_grad()
def on_grid(
    log_prob: Callable[..., Tensor],
    area: Window,
    grid: int,
    floor: float,
    dtype: torch.dtype = torch.float64,
    home: torch.device | None = None,
) -> Tensor:
    """Return log densities on a grid of the window, (grid, grid), rows from bottom to top, not below the floor.

    Points are of a dtype; in float32 those of data far from 0, such as dates in days, would be few. `home` is where
    log_prob takes them; what comes back is on the CPU.
    """
    return log_prob(corners(area, grid, dtype).to(home)).cpu().float().nan_to_num(neginf=floor).clamp(min=floor)


def draw_points(
    axes: Axes, x: Tensor, colour: str | Sequence[str] = BLACK, size: float = 1.5, strength: float = 0.45
) -> None:
    """Draw points (n, 2), at most as many as one panel holds; one colour, or one a point."""
    across, up = x[:POINTS].numpy().T
    colours = [colour] * len(across) if isinstance(colour, str) else list(colour[:POINTS])
    axes.scatter(across, up, s=size, c=colours, alpha=strength, linewidths=0, rasterized=True)


def label_colours(labels: Tensor) -> list[str]:
    """Return the colour of each label, (n,)."""
    return [LABEL_COLOURS[int(label) % len(LABEL_COLOURS)] for label in labels.tolist()]


def frame(axes: Axes, title: str, area: Window, names: tuple[str, str] = X_NAMES) -> None:
    """Give a panel its title, limits, names and equal axes."""
    axes.set_title(title, fontsize=10)
    axes.set(xlim=area[:2], ylim=area[2:], aspect="equal", xlabel=names[0], ylabel=names[1])
    axes.tick_params(labelsize=8)


def tidy(axes: Axes) -> None:
    """Give a panel of curves a grid, and no frame at the top and right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
