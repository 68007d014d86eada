"""The points of a run: what is learned, what is held out, and what is known about their law."""

import inspect
from typing import NamedTuple

import torch
from torch import Tensor

from pushforward.data import TOYS, Density, three_sets
from pushforward.errors import InputError
from pushforward.play.settings import DRAWN, FILE, SAMPLES_BEFORE, Settings, unpacked

HELD_OUT = 4000  # fresh points of a toy density
HELD_OUT_SHARE = 0.2  # of points whose law nobody knows
FEWEST = 20
TEST_SEED = 1_000_003  # apart from the seeds that visitors choose


class Points(NamedTuple):
    """Points of the plane.

    Attributes:
        train: (n, 2), float32.
        test: (m, 2), held out.
        density: The exact density, where there is one.
        exact: Its log_prob of the held-out points, (m,), float64.
        window: (left, right, bottom, top): where they lie, with a margin; the same scale along both axes.
    """

    train: Tensor
    test: Tensor
    density: Density | None
    exact: Tensor | None
    window: tuple[float, float, float, float]


def has_noise(data: str) -> bool:
    """Return whether a toy density has a noise to set."""
    return data in TOYS and "noise" in inspect.signature(TOYS[data]).parameters


def toy_arguments(settings: Settings) -> dict[str, float]:
    """Return the arguments of a toy density besides its number of points and its seed."""
    return {"noise": settings.noise} if settings.noise and has_noise(settings.data) else {}


def points_of(settings: Settings, file: Tensor | None = None) -> Points:
    """Return the points that the settings ask for.

    Args:
        settings: Of the run.
        file: The rows (n, 2) of a file that was dropped on the page, if any.

    Raises:
        InputError: If there are too few, or no file.
    """
    if settings.data in TOYS:
        x, _, density = TOYS[settings.data](settings.num_points, seed=settings.seed, **toy_arguments(settings))
        test = density.sample(HELD_OUT, TEST_SEED)
        return Points(x, test, density, density.log_prob(test).double(), _window(x))
    if settings.data.startswith(SAMPLES_BEFORE):
        sample = three_sets(settings.data.removeprefix(SAMPLES_BEFORE), seed=settings.seed)
        return Points(sample.train, sample.test, None, None, _window(torch.cat(sample)))
    if settings.data == FILE and file is None:
        raise InputError("drop a file with two columns of numbers on the page first.")
    x = file if settings.data == FILE and file is not None else unpacked(settings.drawn)
    if len(x) < FEWEST:
        where = "draw some more with the brush" if settings.data == DRAWN else "drop a longer file"
        raise InputError(f"{len(x)} points are too few, {FEWEST} are needed ({where}).")
    if (x.std(0) == 0).any():
        raise InputError("all points lie on one line along an axis: a density needs an area.")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(settings.seed))
    test, train = order.tensor_split([max(round(HELD_OUT_SHARE * len(x)), 2)])
    return Points(x[train], x[test], None, None, _window(x))


def _window(x: Tensor) -> tuple[float, float, float, float]:
    ends = torch.quantile(x[:100_000].double(), torch.tensor([0.001, 0.999], dtype=torch.float64), 0)
    centre, half = ends.mean(0).tolist(), ((ends[1] - ends[0]).max() / 2 * 1.35).item()
    return centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half
