"""Pictures of flows and densities in the plane: log densities, samples, the plane through the layers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor

from pushforward.errors import InputError, described, require_count, require_number, require_seed
from pushforward.flows import Flow
from pushforward.flows.user_rows import device_of
from pushforward.numerics.arrays import as_tensor
from pushforward.report.plots.canvas import (
    DATA,
    DENSITY_MAP,
    LOG_DET_MAP,
    SAMPLES,
    X_NAMES,
    Z_NAMES,
    Picture,
    Window,
    board,
    corners,
    draw_points,
    frame,
    label_colours,
    on_grid,
    plane_points,
    window_of,
)

GRID = 300  # steps of a density's grid along each axis
SHOWN = 5_000  # points that are drawn where none are given
REACH = 3.0  # of the latent's grid, in standard deviations
MOST_STRETCH = 3.0  # of log_det in colour, nats


def log_density(
    density: Any,
    x: Any = None,
    *,
    context: Any = None,
    window: Window | None = None,
    depth: float = 10.0,
    grid: int = GRID,
    title: str = "",
) -> Picture:
    """Picture log p(x) over the plane, in nats, with equal axes.

    Args:
        density: A flow of two features, or anything else with `log_prob`, such as `pf.data.two_moons(2).density`.
        x: Points (n, 2) drawn over it; they decide the window where none is given. None draws none.
        context: One context, (C,), for a flow that takes it.
        window: (left, right, bottom, top) in units of x; by default around `x`, or around samples.
        depth: Colours end so many nats below the largest value.
        grid: Steps along each axis.
        title: Above the picture.

    Raises:
        InputError: If the density is not one of the plane, or an argument is out of range.

    Example:
        >>> import pushforward as pf
        >>> log_density(pf.recipes.nice(2), grid=20)
        <Picture size 480x420 with 2 Axes>
    """
    grid, depth = require_count("grid", grid, 2), require_number("depth", depth, above=0)
    points = None if x is None else plane_points(x)
    area = window_of(window, points if points is not None or window is not None else draws_of(density, context))
    figure = Picture(figsize=(4.8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    _draw_density(figure, [axes], density, area, context=context, depth=depth, grid=grid)
    if points is not None:
        draw_points(axes, points, SAMPLES, strength=0.5)
    frame(axes, title, area)
    return figure


def samples(
    x: Any,
    labels: Any = None,
    *,
    beside: Any = None,
    window: Window | None = None,
    title: str = "",
    beside_title: str = "data",
    names: tuple[str, str] = X_NAMES,
) -> Picture:
    """Picture points of the plane with equal axes: samples, coloured by label, or beside data.

    Args:
        x: Points (n, 2).
        labels: (n,), integers: one colour each.
        beside: Points (m, 2), such as data, in a panel of their own at the left.
        window: (left, right, bottom, top) in units of x; by default around the points, those beside if there are any.
        title: Above the points.
        beside_title: Above those beside.
        names: Of the two axes.

    Raises:
        InputError: If x are no points of the plane.

    Example:
        >>> import pushforward as pf
        >>> moons = pf.data.two_moons(100)
        >>> samples(moons.x, moons.labels)
        <Picture size 360x390 with 1 Axes>
    """
    points = plane_points(x)
    others = None if beside is None else plane_points(beside, "beside")
    area = window_of(window, points if others is None else others)
    figure, places = board(1 if others is None else 2, size=3.6)
    if others is not None:
        draw_points(places[0], others, DATA)
        frame(places[0], beside_title, area, names)
    colours: str | Sequence[str] = SAMPLES
    if labels is not None:
        labels = as_tensor(labels, "labels")
        if labels.shape != points.shape[:1] or labels.is_floating_point():
            raise InputError(
                f"labels must be one integer for each of {len(points)} points; got {labels.dtype} of shape "
                f"{tuple(labels.shape)}."
            )
        colours = label_colours(labels)
    draw_points(places[-1], points, colours)
    frame(places[-1], title or ("samples" if others is not None else ""), area, names)
    return figure


@torch.no_grad()
def steps(
    flow: Flow, x: Any = None, *, context: Any = None, reach: float = REACH, lines: int = 31, across: int = 6
) -> Picture:
    """Picture the plane's grid on its way from the latent to the data, one panel a step, coloured by log_det.

    Cells are coloured by the step's own log_det in the direction that is drawn: red ones have grown, so density has
    fallen, blue ones have shrunk.

    Args:
        flow: A flow of two features.
        x: Data (n, 2): the grid then lies around them, and goes from the data to the latent.
        context: One context, (C,), for a flow that takes it.
        reach: Half the width of the latent's grid.
        lines: Lines of the grid along each axis.
        across: Panels in a row.

    Raises:
        InputError: If the flow is not one of the plane, or an argument is out of range.

    Example:
        >>> import pushforward as pf
        >>> steps(pf.recipes.nice(2, num_layers=2))
        <Picture size 660x250 with 4 Axes>
    """
    _check_plane(flow)
    lines, across = require_count("lines", lines, 2), require_count("across", across)
    reach = require_number("reach", reach, above=0)
    if x is None:
        start = corners((-reach, reach, -reach, reach), lines).to(home_of(flow))
        found, ends = flow.steps_inverse(start, context), ("latent z", "data x")
    else:
        start = corners(window_of(None, plane_points(x)), lines).to(home_of(flow))
        found, ends = flow.steps(start, context), ("data x", "latent z")
    titles = [ends[0], *(step.name for step in found[:-1]), ends[1]]
    columns = min(across, len(titles))
    figure, places = board(columns, -(-len(titles) // columns), size=2.2)
    mesh = draw_grid(places[0], start.cpu(), torch.zeros(start.shape[:-1], device="cpu"))
    for axes, step in zip(places[1:], found, strict=False):
        mesh = draw_grid(axes, step.value.cpu(), step.log_det.cpu())
    for axes, title in zip(places, titles, strict=False):
        axes.set_title(title, fontsize=9)
    for axes in places[len(titles) :]:
        axes.set_axis_off()
    figure.colorbar(mesh, ax=places, shrink=0.8, label="log_det (nats)", extend="both", aspect=25)
    return figure


@torch.no_grad()
def panels(flow: Flow, x: Any, *, context: Any = None, grid: int = 150, seed: int = 0) -> Picture:
    """Picture a flow in both directions, with the densities behind: data to latent, and latent to samples.

    Args:
        flow: A flow of two features.
        x: Data (n, 2).
        context: One context, (C,), for a flow that takes it.
        grid: Steps of the densities along each axis.
        seed: Of the draws.

    Raises:
        InputError: If the flow or the data are not of the plane.

    Example:
        >>> import pushforward as pf
        >>> panels(pf.recipes.nice(2), pf.data.two_moons(200).x, grid=20)
        <Picture size 1240x340 with 5 Axes>
    """
    _check_plane(flow)
    points, grid = plane_points(x)[:SHOWN], require_count("grid", grid, 2)
    base, home = flow.base, home_of(flow)
    generator = torch.Generator(home).manual_seed(require_seed(seed))
    given = as_tensor(context, "context", home) if base.context_features else None
    z = base.sample((len(points),), context=given, generator=generator)
    latent, drawn = flow.encode(points.to(home), context).cpu(), flow.decode(z, context).cpu()
    here = window_of(None, points)
    there = window_of(None, torch.cat((latent, z.cpu())))
    figure, places = board(4)
    _draw_density(figure, [places[0], places[3]], flow, here, context=context, depth=10.0, grid=grid)
    if not base.context_features:
        values = on_grid(lambda points: base.log_prob(points.to(z.dtype)), there, grid, -12.0, home=home)
        for axes in places[1:3]:
            axes.imshow(values.numpy(), origin="lower", extent=there, cmap=DENSITY_MAP, alpha=0.6)
    contents = (points, latent, z.cpu(), drawn)
    titles = (
        "data x, over the flow's density",
        "latent of the data",
        "draws of the base",
        "samples: the draws decoded",
    )
    for at, (axes, one, title) in enumerate(zip(places, contents, titles, strict=True)):
        draw_points(axes, one, "white" if at in (0, 3) else SAMPLES, strength=0.5)
        frame(axes, title, there if at in (1, 2) else here, Z_NAMES if at in (1, 2) else X_NAMES)
    return figure


def draw_grid(axes: Axes, warped: Tensor, log_det: Tensor) -> Any:
    """Draw a warped grid (lines, lines, 2), its cells coloured by the log_det at their corners; equal axes."""
    across, up = warped.double().unbind(-1)
    cells = (log_det[1:, 1:] + log_det[:-1, 1:] + log_det[1:, :-1] + log_det[:-1, :-1]) / 4
    mesh = axes.pcolormesh(
        across.numpy(), up.numpy(), cells.float().numpy(), cmap=LOG_DET_MAP, vmin=-MOST_STRETCH, vmax=MOST_STRETCH,
        edgecolors="#3337", linewidth=0.25, rasterized=True,
    )  # fmt: skip
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=7)
    return mesh


def _draw_density(
    figure: Picture, places: list[Axes], density: Any, area: Window, *, context: Any, depth: float, grid: int
) -> None:
    """Draw a log density in each of the places, with one colour bar."""
    given = {} if context is None else {"context": context}
    values = on_grid(partial(density.log_prob, **given), area, grid, -1e30, home=home_of(density))
    top = values[values.isfinite()].max().item()
    for axes in places:
        image = axes.imshow(
            values.clamp(min=top - depth).numpy(), origin="lower", extent=area, cmap=DENSITY_MAP, vmin=top - depth,
            vmax=top,
        )  # fmt: skip
    figure.colorbar(image, ax=places, shrink=0.8, label="log p(x) (nats)", extend="min", aspect=25)


def _check_plane(flow: Any) -> None:
    if not isinstance(flow, Flow) or flow.features != 2:
        has = f" of {flow.features} features" if isinstance(flow, Flow) else ""
        raise InputError(f"flow must be a flow of two features; got {described(flow)}{has}.")


def home_of(density: Any) -> torch.device:
    """Return where a density takes its points."""
    if isinstance(density, torch.distributions.Distribution):
        return density.sample().device
    return (device_of(density) if isinstance(density, torch.nn.Module) else None) or torch.device("cpu")


def draws_of(density: Any, context: Any) -> Tensor:
    """Return points of a density, to see where it lies."""
    if isinstance(density, torch.distributions.Distribution):
        return plane_points(density.sample((SHOWN,)), "samples of the distribution")
    if not hasattr(density, "log_prob") or not hasattr(density, "sample"):
        raise InputError(f"density must have log_prob and sample, as a flow has; got {described(density)}.")
    if isinstance(density, Flow):
        _check_plane(density)
        drawn = density.sample(SHOWN, context, generator=torch.Generator(home_of(density)).manual_seed(0))
        return plane_points(drawn.reshape(-1, 2), "samples of the flow")
    return plane_points(density.sample(SHOWN, 0), "samples of the density")
