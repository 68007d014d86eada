"""Images side by side: square grey ones as sheets."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from pushforward.errors import InputError, require_count
from pushforward.numerics.arrays import as_tensor
from pushforward.report.plots.canvas import Picture

GAP = "#C9D8E6"  # between images


def images(
    x: Any,
    shape: tuple[int, int] | None = None,
    *,
    across: int = 10,
    most: int = 100,
    names: Sequence[str] = (),
    title: str = "",
    size: float = 0.42,
) -> Picture:
    """Picture grey images in rows, ink dark.

    Args:
        x: Images as rows of pixels, (n, H * W), of any range: the least value is paper, the largest ink.
        shape: (H, W); by default they are square.
        across: Images in a row.
        most: Most images shown, the first ones.
        names: Of the rows, before them; none by default.
        title: Above the images.
        size: Of an image, inches.

    Raises:
        InputError: If x is no such rows, or there is not one name a row.

    Example:
        >>> import pushforward as pf
        >>> images(pf.data.digits().train.x, most=20)
        <Picture size 450x94 with 1 Axes>
    """
    pixels = as_tensor(x, "x").detach().cpu()
    if pixels.ndim != 2 or not len(pixels):
        raise InputError(f"x must be images as rows of pixels, (n, H * W); got shape {tuple(pixels.shape)}.")
    pixels = pixels[: require_count("most", most)].float()
    if not bool(pixels.isfinite().all()):
        raise InputError("x must be finite pixels to be drawn; some are NaN or infinite.")
    side = math.isqrt(pixels.shape[1])
    height, width = shape if isinstance(shape, tuple) and len(shape) == 2 else (side, side)
    if (shape is not None and shape != (height, width)) or height * width != pixels.shape[1]:
        raise InputError(
            f"shape must be (H, W) with H x W = {pixels.shape[1]} pixels; got "
            f"{'square images' if shape is None else shape}."
        )
    across = min(require_count("across", across), len(pixels))
    num_rows = -(-len(pixels) // across)
    if names and len(names) != num_rows:
        raise InputError(f"names must be one for each of {num_rows} rows; got {len(names)}.")
    room = 0.07 * max(map(len, names), default=0)
    inches = (size * across + 0.3 + room, size * num_rows * height / width + 0.35 * bool(title) + 0.1)
    figure = Picture(figsize=(max(inches[0], 1.5), max(inches[1], 0.6)), layout="constrained")
    axes = figure.add_subplot()
    draw_sheet(axes, pixels, title, across, (height, width), pixels.min().item(), pixels.max().item())
    if names:
        axes.set_yticks(centres(num_rows, height), names, fontsize=8)
        axes.tick_params(length=0)
    return figure


def draw_sheet(axes: Axes, x: Tensor, title: str, across: int, shape: tuple[int, int], low: float, high: float) -> None:
    """Draw images (n, H * W) in rows of `across` with a gap of a pixel, `low` white and `high` black."""
    axes.imshow(tiled(x, across, shape), cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_facecolor(GAP)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def centres(number: int, size: int) -> list[float]:
    """Return where the middles of images of a height, or width, lie, one after another with a gap of a pixel."""
    return [place * (size + 1) + (size - 1) / 2 for place in range(number)]


def tiled(x: Tensor, across: int, shape: tuple[int, int]) -> np.ndarray:
    """Return images (n, H * W) as one picture, row by row with a gap of a pixel; gaps and empty places are NaN."""
    (height, width), num_rows = shape, -(-len(x) // across)
    sheet = np.full((num_rows * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for index, image in enumerate(x.reshape(-1, height, width).numpy()):
        row, column = divmod(index, across)
        top, left = row * (height + 1), column * (width + 1)
        sheet[top : top + height, left : left + width] = image
    return sheet
