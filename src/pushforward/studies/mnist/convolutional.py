"""Glow and RealNVP with convolutions on MNIST, whole and at 8 x 8 pixels, trained in minutes on a processor."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pushforward import metrics, recipes
from pushforward.data import mnist, mnist_sample, pixel_units
from pushforward.data.digits import Digits
from pushforward.flows import Flow
from pushforward.studies.digits.gaussians import whole_gaussian
from pushforward.studies.kit import images as digit_pictures
from pushforward.studies.kit import pictures
from pushforward.studies.kit.record import Record
from pushforward.studies.mnist.models import paper_spline
from pushforward.training import History
from pushforward.transforms import Compose

TITLE = "Convolutional flows of images"
SOURCE = "RealNVP (Dinh et al. 2017, arXiv:1605.08803) and Glow (Kingma & Dhariwal 2018, arXiv:1807.03039) on MNIST"

LEVELS = 256
SIZES = (28, 8)
BATCH = 128
SECONDS = {28: 540, 8: 100}  # of training, each flow
# Where a spline of each pixel comes first: 1.447 bits/dim, not 1.540, on validation images after 150 s of Glow.
PAPER = (28,)
TEMPERATURES = (0.7, 1.0)
# Bits/dim on MNIST that later papers quote for the two models, trained for days on graphics processors.
PUBLISHED = {"realnvp": ("RealNVP, published", 1.06), "glow": ("Glow, published", 1.05)}
NAMES = {"realnvp": "RealNVP, convolutional (ours)", "glow": "Glow (ours)"}
MAKERS: dict[str, Callable[..., Flow]] = {"realnvp": recipes.realnvp_image, "glow": recipes.glow}


@dataclass
class Trained:
    """A flow and how its training went."""

    flow: Flow
    history: History


def run(record: Record) -> None:
    """Train both flows on images of both sizes; score test images, draw samples, and encode and decode images."""
    for size in SIZES:
        data = mnist_sample(size=size) if record.quick else mnist(size=size, seed=record.seed)
        record.heading(f"{size} x {size} pixels")
        trained = {key: _train(record, key, size, data) for key in MAKERS}
        _likelihood(record, size, data, trained)
        _curves(record, size, trained)
        _samples(record, size, data, trained)
        _round_trips(record, size, data, trained)


def _train(record: Record, key: str, size: int, data: Digits) -> Trained:
    """Return a flow of this size, trained; a study that was stopped goes on from the checkpoints in its folder."""
    torch.manual_seed(record.seed)
    options = {"num_layers": 1, "hidden_channels": 8} if record.quick else {}
    # RealNVP's logit, which stays 5 % away from the ends, did worse: 5.26 bits/dim against 4.79 on validation images of
    # 8 x 8 pixels after 250 steps of a Glow with four steps a level.
    flow = MAKERS[key]((1, size, size), preprocessing=pixel_units("logit"), **options)
    if size in PAPER:
        assert isinstance(flow.transform, Compose)
        steps = Compose([paper_spline(size * size), *flow.transform], names=["pixels", *flow.transform.names])
        flow = Flow(steps, flow.base, list(flow.preprocessing))  # type: ignore[arg-type]
    history = record.fit(
        f"{key}, {size} x {size}",
        flow,
        data.train.x,
        validation=data.validation.x[:500],
        dequantize=LEVELS,
        learning_rate=4e-3,
        batch_size=BATCH,
        seed=record.seed,
        max_seconds=SECONDS[size],
        quick={"num_steps": 4},
        resumable=True,
    )
    return Trained(flow, history)


def _likelihood(record: Record, size: int, data: Digits, trained: dict[str, Trained]) -> None:
    features = size * size
    record.text(
        f"{len(data.train.x):,} images to train on, {len(data.validation.x):,} to choose by, {len(data.test.x):,} to "
        f"test. Pixels are integers from 0 to {LEVELS - 1}; each time an image is seen, uniform noise from 0 to 1 is "
        "added, and the result y passes logit(1e-6 + (1 - 2e-6) y/256). Nats are the log-likelihood in that space, "
        "where many papers give theirs; bits/dim are those of levels, an upper bound for the integers themselves."
        + (
            " Four of five pixels are paper, level 0: before the convolutions a spline of each pixel, as in the study "
            "mnist-masked, makes their noise normal."
            if size in PAPER
            else ""
        )
    )
    rows: list[list[object]] = [["every image equally likely", 0, "", "", math.log2(LEVELS), 0.0, ""]]
    gaussian = whole_gaussian(data.train.x, record.seed, units=pixel_units("logit"))
    models: dict[str, tuple[str, int, Any, str]] = {
        "gaussian": (gaussian.name + ", in logit space", features * (features + 3) // 2, gaussian, "")
    }
    for key, one in trained.items():
        size_of = sum(parameter.numel() for parameter in one.flow.parameters())
        models[key] = (NAMES[key], size_of, one.flow, f"{one.history.seconds / 60:.1f}")
    bits: dict[str, float] = {}
    for key, (name, num_parameters, model, minutes) in models.items():
        score = metrics.nll(model, data.test.x, dequantize=LEVELS, batch_size=256, seed=record.seed)
        logit = metrics.nll(
            model, data.test.x, dequantize=LEVELS, units=pixel_units("logit"), batch_size=256, seed=record.seed
        )
        bits[key] = metrics.bits_per_dim(score.mean, features)
        error = metrics.bits_per_dim(score.standard_error, features)
        rows.append([name, num_parameters, -logit.mean, logit.standard_error, bits[key], error, minutes])
        record.number(
            f"test.{size}.{key}",
            {
                **asdict(score),
                "bits_per_dim": bits[key],
                "bits_per_dim_standard_error": error,
                "logit_space_log_likelihood": -logit.mean,
                "logit_space_standard_error": logit.standard_error,
                "parameters": num_parameters,
            },
        )
    if size == 28:
        rows += [[name, "", "", "", value, "", ""] for name, value in PUBLISHED.values()]
    record.table(
        "Test images.",
        ["model", "parameters", "nats in logit space", "standard error", "bits/dim", "standard error", "minutes"],
        rows,
    )
    better = {key: bits["gaussian"] - bits[key] for key in MAKERS}
    for key, gain in better.items():
        history = trained[key].history
        published = ""
        if size == 28:
            name, value = PUBLISHED[key]
            published = f" {name.partition(',')[0]}'s published {value} is {_side(bits[key] - value)}."
        record.answer(
            f"What does {NAMES[key].removesuffix(' (ours)')} reach on images of {size} x {size} pixels in "
            f"{history.seconds / 60:.1f} minutes?",
            f"{bits[key]:.3f} bits/dim, {abs(gain):.3f} {'less' if gain > 0 else 'more'} than the Gaussian, after "
            f"{history.steps * BATCH / len(data.train.x):.1f} passes through the training images.{published}",
        )


def _side(difference: float) -> str:
    return f"{abs(difference):.3f} {'lower' if difference > 0 else 'higher'}"


def _curves(record: Record, size: int, trained: dict[str, Trained]) -> None:
    nats = size * size * math.log(2)  # of one bit/dim
    figure, panels = pictures.board(2, size=3.4, sharey=True)
    for axes, (key, one) in zip(panels, trained.items(), strict=True):
        table = one.history.to_numpy()
        pictures.curves(
            axes,
            {
                kind: ((table["seconds"] / 60).tolist(), (table[f"{kind}_loss"] / nats).tolist())
                for kind in ("train", "validation")
            },
            "minutes of training",
            "bits/dim" if key == "realnvp" else "",
            NAMES[key],
        )
        best = float(table["validation_loss"].min()) / nats
        axes.set_ylim(0.95 * best, 2 * best)
    record.picture(
        f"curves-{size}", figure, f"Bits/dim of training and validation images of {size} x {size} pixels over training."
    )


@torch.no_grad()
def _samples(record: Record, size: int, data: Digits, trained: dict[str, Trained]) -> None:
    num_samples = 20 if record.quick else 60
    panels: dict[str, Tensor] = {}
    for key, one in trained.items():
        for temperature in TEMPERATURES:
            generator = torch.Generator().manual_seed(record.seed)
            x = one.flow.sample(num_samples, temperature=temperature, generator=generator)
            panels[f"{NAMES[key]}, temperature {temperature:g}"] = x.floor().clamp(0, LEVELS - 1)
    record.picture(
        f"samples-{size}",
        digit_pictures.sheets(
            {"real test images": data.test.x[:num_samples].float(), **panels}, across=3, levels=LEVELS
        ),
        f"Real test images of {size} x {size} pixels, and the first images drawn from each flow at two temperatures.",
    )


@torch.no_grad()
def _round_trips(record: Record, size: int, data: Digits, trained: dict[str, Trained]) -> None:
    rows = []
    x = data.test.x[:200].float() + 0.5
    for key, one in trained.items():
        error = (one.flow.decode(one.flow.encode(x)) - x).abs().max().item()
        steps = len(one.flow.transform)  # type: ignore[arg-type]
        rows.append([NAMES[key], steps, f"{error:.1e}"])
        record.number(f"round_trip.{size}.{key}", error)
    record.table(
        "Largest error of an image that is encoded and decoded in float32, in levels of 256.",
        ["flow", "learned steps", "error"],
        rows,
    )
