"""Points on their way through a flow, as an animated GIF."""

import io
from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.report.plots import SAMPLES
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
    for index, (name, points) in enumerate(states):
        frames.append(_frame(points, name, area))
        durations.append(PAUSE if index in (0, len(states) - 1) else FRAME)
        if index + 1 < len(states):
            for part in range(1, between + 1):
                frames.append(_frame(torch.lerp(points, states[index + 1][1], part / (between + 1)), name, area))
                durations.append(FRAME)
    images = [Image.open(io.BytesIO(frame)).convert("P", palette=Image.Palette.ADAPTIVE, colors=32) for frame in frames]
    buffer = io.BytesIO()
    images[0].save(buffer, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return buffer.getvalue()


def _frame(points: Tensor, name: str, area: pictures.Window) -> bytes:
    figure, (axes,) = pictures.board(1, size=3.0)
    pictures.points(axes, pictures.Points(points, SAMPLES, size=2), name, area)
    return png(figure)
