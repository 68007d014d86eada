"""Draws front.png: two moons, exact and as a flow has learned them, its samples, and the plane on its way through it.

Run it as `python docs/draw_front.py`; it trains for a few seconds.
"""

from pathlib import Path

import torch

import pushforward as pf
from pushforward.report.plots.canvas import SAMPLES, Picture, board, corners, draw_points, frame, on_grid
from pushforward.report.plots.plane import draw_grid

AREA = (-2.6, 2.6, -2.6, 2.6)
DEPTH = 9.0  # nats below the largest log density
STEPS = 4_000


def draw(flow: pf.Flow, data: pf.data.ToyData) -> Picture:
    """Return the figure: three panels of densities and samples, three of the plane's grid."""
    figure, places = board(6, size=2.1)
    figure.set_size_inches(13.2, 2.45)
    values = [on_grid(density.log_prob, AREA, 400, -1e9) for density in (data.density, flow)]
    top = values[0].max().item()
    for axes, value, title in zip(places, values, ("exact log density", "log density of the flow"), strict=False):
        axes.imshow(value.clamp(min=top - DEPTH).numpy(), origin="lower", extent=AREA, cmap="cividis", vmax=top)
        frame(axes, title, AREA)
    draw_points(places[2], flow.sample(6_000, generator=torch.Generator().manual_seed(0)), SAMPLES)
    frame(places[2], "samples", AREA)
    z = corners((-3.0, 3.0, -3.0, 3.0), 31).float()
    with torch.no_grad():
        found = flow.steps_inverse(z)
    shown = [(z, torch.zeros(z.shape[:-1])), *((found[at].value, found[at].log_det) for at in (1, len(found) - 1))]
    for axes, (warped, log_det), title in zip(
        places[3:], shown, ("a grid of the latent", "after two layers", "after all: the data's plane"), strict=True
    ):
        draw_grid(axes, warped, log_det)
        axes.set_title(title, fontsize=10)
    for axes in places:
        axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    return figure


def main() -> None:
    """Train the flow and write the picture."""
    data = pf.data.two_moons(100_000, standardize=True)
    torch.manual_seed(0)
    flow = pf.recipes.nsf(2, num_layers=4, hidden_features=(64, 64))
    pf.fit(flow, data.x, num_steps=STEPS)
    print(f"{pf.metrics.excess(flow, data.density, 20_000, 1)} above the exact entropy")
    draw(flow, data).savefig(Path(__file__).parent / "front.png", dpi=120)


if __name__ == "__main__":
    main()
