"""Glow and RealNVP with convolutions on MNIST, whole and at 8 x 8 pixels, trained in minutes on a processor."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pushforward import Flow, metrics, recipes
from pushforward.data import Digits, pixel_units
from pushforward.studies.digits.gaussians import gaussian_parameters, whole_gaussian
from pushforward.studies.kit import Candidate, Comparison, Record, images, middles, pictures
from pushforward.studies.mnist.models import paper_spline
from pushforward.studies.mnist.training import LEVELS, QUICK, load_mnist, samples_at, train_on_mnist
from pushforward.transforms import Compose

TITLE = "Convolutional flows of images"
SOURCE = "RealNVP (Dinh et al. 2017, arXiv:1605.08803) and Glow (Kingma & Dhariwal 2018, arXiv:1807.03039) on MNIST"

BATCH = 128
WHOLE = 28  # pixels a side
SECONDS = {WHOLE: 540, 8: 100}  # of training, each flow
PAPER_NOTE = (
    " Four of five pixels are paper, level 0: before the convolutions a spline of each pixel, as in the study "
    "mnist-masked, makes their noise normal."
)
TEMPERATURES = (0.7, 1.0)
# Name, recipe, and bits/dim on MNIST that later papers quote for the model, trained for days on graphics processors.
MODELS = {"realnvp": ("RealNVP, convolutional", recipes.realnvp_image, 1.06), "glow": ("Glow", recipes.glow, 1.05)}
# Header of a column -> number of a model.
COLUMNS = (
    ("parameters", "parameters"),
    ("nats in logit space", "logit_space_log_likelihood"),
    ("standard error", "logit_space_standard_error"),
    ("bits/dim", "bits_per_dim"),
    ("standard error", "bits_per_dim_standard_error"),
)


def run(record: Record) -> None:
    """Train both flows on images of both sizes; score test images, draw samples, and encode and decode images."""
    small = record.size({}, quick={"num_layers": 1, "hidden_channels": 8})
    for size, seconds in SECONDS.items():
        data = load_mnist(record, size)
        record.heading(f"{size} x {size} pixels")
        options = {"learning_rate": 4e-3, "batch_size": BATCH, "max_seconds": seconds}
        candidates = {
            key: Candidate(f"{name} (ours)", partial(image_flow, recipe, size, **small), options, quick=QUICK)
            for key, (name, recipe, _) in MODELS.items()
        }
        label, validation = f"{{key}}, {size} x {size}", data.validation.x[:500]
        flows = train_on_mnist(record, candidates, data, label=label, validation=validation)
        _likelihood(record, size, data, flows)
        _samples(record, size, data.test.x, flows)


def image_flow(recipe: Callable[..., Flow], size: int, **options: Any) -> Flow:
    """Return the flow of a recipe for square images, behind a logit and, on whole images, a spline of each pixel."""
    # RealNVP's logit, which stays 5 % away from the ends, did worse: 5.26 bits/dim against 4.79 on validation images of
    # 8 x 8 pixels after 250 steps of a Glow with four steps a level.
    flow = recipe((1, size, size), preprocessing=pixel_units("logit"), **options)
    if size != WHOLE:
        return flow
    # 1.447 bits/dim, not 1.540, on validation images after 150 s of Glow.
    assert isinstance(flow.transform, Compose)
    return Flow(Compose([paper_spline(size * size), *flow.transform]), flow.base, pixel_units("logit"))


def _likelihood(record: Record, size: int, data: Digits, flows: Comparison) -> None:
    record.text(
        f"{len(data.train.x):,} images to train on, {len(data.validation.x):,} to choose by, {len(data.test.x):,} to "
        f"test. Pixels are integers from 0 to {LEVELS - 1}; each time an image is seen, uniform noise from 0 to 1 is "
        "added, and the result y passes logit(1e-6 + (1 - 2e-6) y/256). Nats are the log-likelihood in that space, "
        "where many papers give theirs; bits/dim are those of levels, an upper bound for the integers themselves."
        + (PAPER_NOTE if size == WHOLE else "")
    )
    gaussian = whole_gaussian(data.train.x, record.seed, units=pixel_units("logit"))
    features = size * size
    models: dict[str, tuple[str, Any, int, str]] = {
        "gaussian": (f"{gaussian.name}, in logit space", gaussian, gaussian_parameters(features), "")
    }
    for key, (one,) in flows.trained.items():
        models[key] = flows.names[key], one.model, one.parameters, f"{one.minutes:.1f}"
    rows: list[list[Any]] = [["every image equally likely", 0, "", "", math.log2(LEVELS), 0.0, ""]]
    found = {}
    for key, (name, model, parameters, minutes) in models.items():
        found[key] = _scores(model, data.test.x, record.seed) | {"parameters": parameters}
        rows.append([name, *(found[key][field] for _, field in COLUMNS), minutes])
    record.number(f"test.{size}", found)
    if size == WHOLE:
        rows += [[f"{_short(name)}, published", "", "", "", value, "", ""] for name, _, value in MODELS.values()]
    record.table("Test images.", ["model", *(header for header, _ in COLUMNS), "minutes"], rows)
    for key, (name, _, published) in MODELS.items():
        history, bits = flows.histories()[flows.names[key]], found[key]["bits_per_dim"]
        gain, lower = found["gaussian"]["bits_per_dim"] - bits, bits - published
        passes = history.steps * BATCH / len(data.train.x)
        beside = f" {_short(name)}'s published {published} is {abs(lower):.3f} {'lower' if lower > 0 else 'higher'}."
        record.answer(
            f"What does {name} reach on images of {size} x {size} pixels in {history.seconds / 60:.1f} minutes?",
            f"{bits:.3f} bits/dim, {abs(gain):.3f} {'less' if gain > 0 else 'more'} than the Gaussian, after "
            f"{passes:.1f} passes through the training images.{beside if size == WHOLE else ''}",
        )
    record.picture(
        f"curves-{size}",
        pictures.curves_over_minutes(flows.histories(), "bits/dim", of=lambda nll: nll / (features * math.log(2))),
        f"Bits/dim of training and validation images of {size} x {size} pixels over training.",
    )


def _short(name: str) -> str:
    return name.partition(",")[0]


def _scores(model: Any, x: Tensor, seed: int) -> dict[str, Any]:
    nll = partial(metrics.nll, model, x, dequantize=LEVELS, batch_size=256, seed=seed)
    levels, logit = nll(), nll(units=pixel_units("logit"))
    return {
        **vars(levels),
        "bits_per_dim": metrics.bits_per_dim(levels.mean, x.shape[1]),
        "bits_per_dim_standard_error": metrics.bits_per_dim(levels.standard_error, x.shape[1]),
        "logit_space_log_likelihood": -logit.mean,
        "logit_space_standard_error": logit.standard_error,
    }


@torch.no_grad()
def _samples(record: Record, size: int, real: Tensor, flows: Comparison) -> None:
    num_samples = record.size(60, quick=20)
    panels = {"real test images": real[:num_samples]}
    for key in flows.names:
        panels |= samples_at(flows, key, num_samples, TEMPERATURES)
    record.picture(
        f"samples-{size}",
        images.sheets(panels, across=3, levels=LEVELS),
        f"Real test images of {size} x {size} pixels, and the first images drawn from each flow at two temperatures.",
    )
    x = middles(real[:200])
    errors = {key: (one.model.decode(one.model.encode(x)) - x).abs().max() for key, (one,) in flows.trained.items()}
    record.number(f"round_trip.{size}", errors)
    record.table(
        "Largest error of an image that is encoded and decoded in float32, in levels of 256.",
        ["flow", "learned steps", "error"],
        [[name, len(flows.first(key).transform), f"{errors[key]:.1e}"] for key, name in flows.names.items()],
    )
