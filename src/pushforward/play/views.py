"""What a frame shows of the flow as it is: clouds, densities on a grid, and every layer with its log_det."""

from typing import Any

import torch
from matplotlib.path import Path
from torch import Tensor, nn

from pushforward.bases import Box
from pushforward.data import Density
from pushforward.flows import Flow
from pushforward.metrics import nll
from pushforward.play.look import Look
from pushforward.play.points import Points
from pushforward.play.settings import Settings
from pushforward.report.plots.canvas import corners
from pushforward.transforms import Compose, Continuous, LULinear, Orthogonal, Permutation, Step

PIXELS, FEWER_PIXELS = 100, 64  # of the densities, along each axis; fewer for a continuous flow
LINES = 25  # of the plane's grid, along each axis
SHOWN, CLOUD = 2000, 500  # points of a scatter, points on their way through the layers
MASS_SAMPLES = 4000
EDGE = 64  # points along each edge of the square
TRAIN_ROWS = 1000  # whose loss is shown beside the held-out one


def opening(points: Points, flow: Flow) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what does not change while the flow learns: arrays and texts."""
    arrays = {"data": points.train[:SHOWN]}
    texts: dict[str, Any] = {
        "window": points.window,
        "axes": points.names,
        "note": points.note,
        "entropy": None if points.density is None else points.density.entropy(),
        "floor": None if points.exact is None else -points.exact.mean().item(),
        "num_train": len(points.train),
        "num_test": len(points.test),
        "parameters": sum(parameter.numel() for parameter in flow.parameters()),
        "passes": {"score": flow.transform.forward_passes, "sample": flow.transform.inverse_passes},
    }
    if points.density is not None:
        arrays["exact"] = _density(points.density, points, flow)
    return arrays, texts


def _density(shown: Flow | Density, points: Points, flow: Flow) -> Tensor:
    """Return a log density at the pixels of the window, as many as the flow is fast enough for."""
    number = FEWER_PIXELS if any(isinstance(part, Continuous) for part in flow.modules()) else PIXELS
    return shown.log_prob(pixels(points.window, number).flatten(0, 1)).reshape(number, number)


def pixels(window: tuple[float, float, float, float], number: int) -> Tensor:
    """Return the centres of the pixels of a window, (number, number, 2), rows from bottom to top."""
    left, right, bottom, top = window
    at = (torch.arange(number) + 0.5) / number
    across, up = left + (right - left) * at, bottom + (top - bottom) * at
    return torch.stack(torch.meshgrid(across, up, indexing="xy"), -1)


def steps_apart(flow: Flow, x: Tensor) -> list[Step]:
    """Return every step from data to latent as `flow.steps` does, with what mixes features a step of its own, "mix"."""
    found: list[Step] = []
    for part in flow.parts():
        found += _apart(part, found[-1].value if found else x)
    return found


def _apart(part: nn.Module, x: Tensor, name: str = "") -> list[Step]:
    if isinstance(part, Compose):
        found: list[Step] = []
        for inner, one in zip(part.names, part.transforms, strict=True):
            found += _apart(one, found[-1].value if found else x, name or inner)
        return found
    if isinstance(part, Continuous):
        return part.steps(x)
    value, log_det = part(x)
    mixes = isinstance(part, (Permutation, Orthogonal, LULinear))
    return [Step("mix" if mixes else name or type(part).__name__.lower(), value, log_det)]


def losses(flow: Flow, points: Points) -> dict[str, Any]:
    """Return the negative log-likelihoods in nats, and the excess over the exact density, each with its error."""
    held_out = -flow.log_prob(points.test).double()
    found = {"train": nll(flow, points.train[:TRAIN_ROWS]).mean, **_mean("test", held_out)}
    if points.exact is not None:
        found |= _mean("excess", held_out + points.exact)
    return found


def _mean(name: str, values: Tensor) -> dict[str, float]:
    return {name: values.mean().item(), f"{name}_error": (values.std() / len(values) ** 0.5).item()}


def frame(flow: Flow, points: Points, look: Look, settings: Settings) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the arrays and texts of the flow as it is."""
    generator = torch.Generator().manual_seed(settings.seed)
    used = flow if look.layers is None else _with_layers(flow, look.layers)
    cloud = points.train[:CLOUD]
    grid = corners(points.window, LINES, torch.float32)
    start = torch.cat((grid.reshape(-1, 2), cloud))
    steps = steps_apart(flow, start)
    stages = torch.stack([start, *(step.value for step in steps)])
    log_dets = torch.stack([step.log_det for step in steps])
    size = LINES * LINES
    arrays = {
        "samples": used.sample(SHOWN, temperature=_temperature(used, look), generator=generator),
        "latent": flow.encode(points.train[:SHOWN]),
        "density": _density(used, points, flow),
        "grids": stages[:, :size].reshape(-1, LINES, LINES, 2),
        "log_dets": log_dets[:, :size].reshape(-1, LINES, LINES),
        "clouds": stages[:, size:],
    }
    texts: dict[str, Any] = {"names": [step.name for step in steps]}
    if look.follow is not None:
        more, texts["followed"] = followed(flow, look.follow)
        arrays |= more
    if look.square is not None:
        more, texts["square"] = mass_in(flow, look.square, settings.seed)
        arrays |= more
    return arrays, texts


def followed(flow: Flow, point: tuple[float, float]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the way of a point through the layers, and how its log_dets add up to log p(x)."""
    x = torch.tensor([point])
    steps = steps_apart(flow, x)
    arrays = {"path": torch.cat([x, *(step.value for step in steps)])}
    base = flow.base.log_prob(flow.encode(x)).item()
    log_dets = [step.log_det.item() for step in steps]
    return arrays, {"base": base, "log_dets": log_dets, "log_prob": flow.log_prob(x).item(), "point": point}


def mass_in(
    flow: Flow, square: tuple[float, float, float, float], seed: int
) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """Return a square's image after each layer, its area, and the share of the model's samples inside it.

    Each layer is counted by itself: the outline goes through the layers, and so do samples of the flow.
    """
    left, right, bottom, top = square
    at = torch.linspace(0, 1, EDGE + 1)[:-1]
    ends = torch.tensor([[left, bottom], [right, bottom], [right, top], [left, top]])
    outline = torch.cat([a + (b - a) * at[:, None] for a, b in zip(ends, ends.roll(-1, 0), strict=True)])
    samples = flow.sample(MASS_SAMPLES, generator=torch.Generator().manual_seed(seed + 1))
    start = torch.cat((outline, samples))
    stages = torch.stack([start, *(step.value for step in steps_apart(flow, start))])
    outlines = stages[:, : len(outline)]
    areas, masses = [], []
    for stage in stages.double():
        image, cloud = stage[: len(outline)], stage[len(outline) :]
        turned = image.roll(-1, 0)
        areas.append(abs((image[:, 0] * turned[:, 1] - image[:, 1] * turned[:, 0]).sum().item()) / 2)
        masses.append(float(Path(image.numpy()).contains_points(cloud.numpy()).mean()))
    return {"outlines": outlines}, {"areas": areas, "masses": masses, "sides": list(square)}


def _temperature(flow: Flow, look: Look) -> float:
    """Return the temperature of samples: a box has none."""
    return 1.0 if isinstance(flow.base, Box) else look.temperature


def _with_layers(flow: Flow, layers: int) -> Flow:
    try:
        return flow.from_base(layers)
    except ValueError:  # more than there are: all of them
        return flow
