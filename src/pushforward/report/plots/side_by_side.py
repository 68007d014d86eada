"""Log densities of the plane side by side, to one scale of colours."""

from collections.abc import Mapping
from typing import Any

from pushforward.errors import InputError, described, require_count, require_number
from pushforward.report.plots.canvas import (
    DENSITY_MAP,
    SAMPLES,
    Picture,
    Window,
    board,
    draw_points,
    frame,
    on_grid,
    plane_points,
    window_of,
)
from pushforward.report.plots.plane import draws_of, home_of


def densities(
    named: Mapping[str, Any],
    x: Any = None,
    *,
    window: Window | None = None,
    depth: float = 10.0,
    grid: int = 150,
    across: int = 5,
) -> Picture:
    """Picture log densities of the plane side by side, in nats, to one scale: a flow beside the truth, or two flows.

    Args:
        named: Title -> density: flows of two features, or anything else with `log_prob`, such as
            `pf.data.two_moons(2).density`.
        x: Points (n, 2) drawn over each; they decide the window where none is given. None draws none.
        window: (left, right, bottom, top) in units of x; by default around `x`, or around samples of the first density.
        depth: Colours end so many nats below the largest value of all.
        grid: Steps along each axis.
        across: Panels in a row.

    Raises:
        InputError: If a density is not one of the plane, or an argument is out of range.

    Example:
        >>> import pushforward as pf
        >>> densities({"exact": pf.data.two_moons(2).density, "a flow, untrained": pf.recipes.nice(2)}, grid=20)
        <Picture size 540x300 with 3 Axes>
    """
    if not isinstance(named, Mapping) or not named:
        raise InputError(f'named must be densities by title, such as {{"flow": flow}}; got {described(named)}.')
    grid, depth = require_count("grid", grid, 2), require_number("depth", depth, above=0)
    points = None if x is None else plane_points(x)
    seen = points if points is not None or window is not None else draws_of(next(iter(named.values())), None)
    area = window_of(window, seen)
    values = [on_grid(one.log_prob, area, grid, -1e30, home=home_of(one)) for one in named.values()]
    top = max(one.max().item() for one in values)
    columns = min(require_count("across", across), len(values))
    figure, places = board(columns, -(-len(values) // columns), size=2.7)
    for axes, title, one in zip(places, named, values, strict=False):
        image = axes.imshow(
            one.clamp(min=top - depth).numpy(),
            origin="lower",
            extent=area,
            cmap=DENSITY_MAP,
            vmin=top - depth,
            vmax=top,
        )
        if points is not None:
            draw_points(axes, points, SAMPLES, strength=0.5)
        frame(axes, title, area)
    for axes in places[len(values) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=places, shrink=0.8, label="log p(x) (nats)", extend="min", aspect=25)
    return figure
