"""Points on their way through a flow, as an animated GIF."""

import io
from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.report.plots.canvas import SAMPLES
from pushforward.report.rendering import png
from pushforward.studies.kit import pictures

FRAME, PAUSE = 90, 1500  # milliseconds


def animation(states: Sequence[tuple[str, Tensor]], *, between: int = 4) -> bytes:
    """Return a GIF of points that move from state to state.

    Args:
        states: Name and points (N, 2) of each state, in order.
        between: Frames drawn between two states, on straight lines.
    """
    from PIL import Image

    area = pictures.window(torch.cat([points for _, points in states]), margin=0.05)
    frames, durations = [], []

    def add(points: Tensor, name: str, milliseconds: int) -> None:
        figure, _ = pictures.panels({name: pictures.Points(points, SAMPLES, size=2)}, area, size=3.0)
        image = Image.open(io.BytesIO(png(figure)))
        frames.append(image.convert("P", palette=Image.Palette.ADAPTIVE, colors=32))
        durations.append(milliseconds)

    for index, (name, points) in enumerate(states):
        add(points, name, PAUSE if index in (0, len(states) - 1) else FRAME)
        if index + 1 < len(states):
            for part in range(1, between + 1):
                add(torch.lerp(points, states[index + 1][1], part / (between + 1)), name, FRAME)
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return buffer.getvalue()
