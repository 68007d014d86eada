"""MNIST as its studies read it, flows trained on its images, and the images they draw."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from pushforward.data import Digits, mnist, mnist_sample
from pushforward.studies.kit import Candidate, Comparison, Record, drawn, to_levels

LEVELS = 256
PIXELS = 784
ADAM = {"learning_rate": 1e-3, "schedule": "constant", "batch_size": 128, "clip_norm": None}  # of the sources
QUICK = {"num_steps": 4}


def load_mnist(record: Record, size: int = 28) -> Digits:
    """Return MNIST split by the study's seed; the part that comes with the package in the quick form."""
    return mnist_sample(size=size) if record.quick else mnist(size=size, seed=record.seed)


def train_on_mnist(record: Record, candidates: Mapping[str, Candidate], data: Digits, **options: Any) -> Comparison:
    """Return flows trained from the study's seed and chosen by the validation images; a key is the name of a run.

    A study that was stopped goes on from the checkpoints it left in its folder.
    """
    usual: dict[str, Any] = {"label": "{key}", "validation": data.validation.x, "dequantize": LEVELS, "resumable": True}
    return Comparison(record).train(candidates, lambda seed: data.train.x, seeds=[record.seed], **usual | options)


def samples_at(flows: Comparison, key: str, num_samples: int, temperatures: Sequence[float]) -> dict[str, Tensor]:
    """Return images of levels that a flow draws at several temperatures, under its name and the temperature."""
    draw = partial(drawn, flows.first(key), num_samples, flows.record.seed)
    return {f"{flows.names[key]}, temperature {t:g}": to_levels(draw(temperature=t), LEVELS) for t in temperatures}
