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
MOST_APART = 4  # times the shorter side of what the points fill, at most, for one scale along both axes
FAR = 30  # times the distance between the quartiles
TEST_SEED = 1_000_003  # apart from the seeds that visitors choose


class Dropped(NamedTuple):
    """A file that was dropped on the page: its rows (n, 2), float32, and the names of its columns."""

    rows: Tensor
    names: tuple[str, str]

    @classmethod
    def of(cls, rows: bytes, names: tuple[str, str]) -> "Dropped":
        """Return what `uploads.read` has found."""
        return cls(torch.frombuffer(bytearray(rows), dtype=torch.float32).reshape(-1, 2), names)


class Points(NamedTuple):
    """Points of the plane.

    Attributes:
        train: (n, 2), float32.
        test: (m, 2), held out.
        density: The exact density, where there is one.
        exact: Its log_prob of the held-out points, (m,), float64.
        window: (left, right, bottom, top): where they lie, with a margin; the same scale along both axes, unless one
            is several times as long.
        names: Of the axes.
        note: What a visitor should know of them; empty if nothing.
    """

    train: Tensor
    test: Tensor
    density: Density | None
    exact: Tensor | None
    window: tuple[float, float, float, float]
    names: tuple[str, str] = ("x1", "x2")
    note: str = ""


def own_noise(data: str) -> float | None:
    """Return the noise of a toy density that a visitor has not set; None if it has none to set."""
    noise = inspect.signature(TOYS[data]).parameters.get("noise") if data in TOYS else None
    return None if noise is None else noise.default


def toy_arguments(settings: Settings) -> dict[str, float]:
    """Return the arguments of a toy density besides its number of points and its seed."""
    return {"noise": settings.noise} if settings.noise and own_noise(settings.data) is not None else {}


def points_of(settings: Settings, file: Dropped | None = None) -> Points:
    """Return the points that the settings ask for.

    Args:
        settings: Of the run.
        file: What was dropped on the page, if anything.

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
        raise InputError("choose a file with two columns of numbers first, or drop one on the page.")
    dropped = file if settings.data == FILE and file is not None else Dropped(unpacked(settings.drawn), ("x1", "x2"))
    x = dropped.rows
    if len(x) < FEWEST:
        where = "draw some more with the brush" if settings.data == DRAWN else "drop a longer file"
        raise InputError(f"{len(x)} points are too few, {FEWEST} are needed ({where}).")
    for name, spread in zip(dropped.names, x.std(0), strict=True):
        if spread == 0:
            raise InputError(f"all values of {name} are the same: a density in the plane needs two columns that vary.")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(settings.seed))
    test, train = order.tensor_split([max(round(HELD_OUT_SHARE * len(x)), 2)])
    return Points(x[train], x[test], None, None, _window(x), dropped.names, _far_out(x))


def _far_out(x: Tensor) -> str:
    """Return a warning if a few points decide the scale of all."""
    low, middle, high = torch.quantile(x[:100_000].double(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), 0)
    far = ((x - middle).abs() > FAR * (high - low)).any(1).sum().item()
    if not 0 < far < len(x) / 10:
        return ""
    return (
        f"Points that lie more than {FAR} times as far out as most: {far:,} of {len(x):,}. The page scales by the "
        "standard deviation, so that the others look like one spot: leave these out of the file."
    )


def _window(x: Tensor) -> tuple[float, float, float, float]:
    ends = torch.quantile(x[:100_000].double(), torch.tensor([0.001, 0.999], dtype=torch.float64), 0)
    centre, half = ends.mean(0), (ends[1] - ends[0]) / 2 * 1.35
    if half.max() < MOST_APART * half.min():
        half = half.max().expand(2)
    (left, bottom), (right, top) = (centre - half).tolist(), (centre + half).tolist()
    return left, right, bottom, top
