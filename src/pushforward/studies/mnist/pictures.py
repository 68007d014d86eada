"""Pictures of MNIST: sheets of samples, layers and paths of images, and learning curves as log-likelihoods."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pushforward.studies.kit import images as digit_pictures
from pushforward.studies.kit import pictures
from pushforward.studies.mnist.models import LEVELS, PIXELS
from pushforward.training import History

SIDE = 28
STEP = SIDE + 1  # from one image to the next

sheets = partial(digit_pictures.sheets, levels=LEVELS)


def strips(rows: Mapping[str, Tensor]) -> Figure:
    """Return a figure with one row of images (n, 784) for each name, which stands before it."""
    images = torch.stack(list(rows.values()))
    num_rows, num_columns, _ = images.shape
    figure = Figure(figsize=(0.62 * num_columns + 1.9, 0.62 * num_rows + 0.2), layout="constrained")
    axes = figure.add_subplot()
    digit_pictures.sheet(axes, images.reshape(-1, PIXELS), "", num_columns, LEVELS)
    axes.set_yticks(_middles(num_rows), list(rows), fontsize=8)
    axes.tick_params(length=0)
    return figure


def layer_sheet(axes: Axes, steps: Tensor, names: Sequence[str], title: str) -> None:
    """Draw what every step gave, (n, steps, 784): one row a sample, one column a step, its name above it.

    All but the last are stretched, image by image, from their least to their largest value; the last are levels.
    """
    inner = steps[:, :-1]
    low, high = inner.amin(-1, keepdim=True), inner.amax(-1, keepdim=True)
    stretched = (inner - low) / (high - low).clamp(min=1e-9) * (LEVELS - 1)
    drawn = torch.cat([stretched, steps[:, -1:]], 1)
    digit_pictures.sheet(axes, drawn.reshape(-1, PIXELS), title, len(names), LEVELS)
    axes.set_xticks(_middles(len(names)), names, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)


def _middles(count: int) -> list[float]:
    return [place * STEP + SIDE / 2 - 0.5 for place in range(count)]


def learning_curves(histories: Mapping[str, History]) -> Figure:
    """Return log-likelihoods of training and validation images in units of [0, 1) against minutes, one panel a run."""
    across = min(len(histories), 2)
    figure, panels = pictures.board(across, -(-len(histories) // across), size=3.9)
    in_levels = PIXELS * math.log(LEVELS)
    for axes, (name, history) in zip(panels, histories.items(), strict=True):
        table = history.to_numpy()
        later = table["step"] > 0
        minutes = (table["seconds"][later] / 60).tolist()
        lines: dict[str, tuple[Sequence[float], Sequence[float]]] = {
            label: (minutes, (in_levels - table[key][later]).tolist())
            for label, key in (("training", "train_loss"), ("validation", "validation_loss"))
        }
        pictures.curves(axes, lines, "minutes", "log-likelihood (nats an image)", name)
        # The rise of the first steps would flatten all that follows.
        shown = torch.tensor([value for _, values in lines.values() for value in values[len(values) // 10 :]])
        low, high = shown.min().item(), shown.max().item()
        if high > low:
            axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    return figure
