"""A convolutional classifier trained on MNIST that says what generated digits look like."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward import metrics
from pushforward.data.digits import Digits, LabelledImages
from pushforward.losses import Batch
from pushforward.studies.kit.record import Record
from pushforward.studies.mnist.models import LEVELS

NUM_LABELS = 10
SURE = 0.9  # probability above which an image counts as one that the classifier is sure of
ROWS_AT_ONCE = 1_000


class Recognizer(nn.Module):
    """Two convolutions of stride 2 and two linear layers: pixels (n, 784) from 0 to 256 -> scores (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Unflatten(-1, (1, 28, 28)),
            nn.Conv2d(1, 24, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(24, 48, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(48 * 49, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, NUM_LABELS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of the ten labels."""
        return self.layers(x / (LEVELS / 2) - 1)


def cross_entropy(model: nn.Module, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
    """Return -log p(label | image) of each row, (size,), nats; the label comes as context."""
    assert batch.context is not None
    return functional.cross_entropy(model(batch.x), batch.context.squeeze(-1).long(), reduction="none")


class Judge:
    """A trained recognizer as `metrics.judge` asks it: images (n, 784) of levels."""

    classes_ = np.arange(NUM_LABELS)

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer

    @torch.no_grad()
    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities of the labels, (n, 10)."""
        pieces = torch.from_numpy(x).float().add(0.5).split(ROWS_AT_ONCE)  # it was trained on k + u
        return torch.cat([self.recognizer(piece).double().softmax(-1) for piece in pieces]).numpy()


@dataclass(frozen=True)
class Verdict:
    """What the classifier says of images.

    Attributes:
        sure: Share of images whose label it gives a probability above .9.
        confidence: Mean probability of its label.
        shares: Share of images with each label.
    """

    sure: float
    confidence: float
    shares: list[float]

    @property
    def rarest(self) -> float:
        """The share of the rarest label."""
        return min(self.shares)


def trained_judge(record: Record, data: Digits) -> Judge:
    """Return a classifier trained on the real training images, chosen by the validation images."""
    torch.manual_seed(record.seed)
    recognizer = Recognizer()
    train, validation = data.train, data.validation
    record.fit(
        "classifier",
        recognizer,
        train.x,
        train.labels.float(),
        validation=(validation.x, validation.labels.float()),
        loss=cross_entropy,
        dequantize=LEVELS,
        epochs=5,
        quick={"epochs": 1},
        batch_size=128,
        learning_rate=2e-3,
        optimizer="adamw",
        seed=record.seed,
        resumable=True,
    )
    return Judge(recognizer)


def verdict(judge: Judge, images: Tensor) -> Verdict:
    """Return what the classifier says of images (n, 784) of levels."""
    judgement = metrics.judge(judge, images)
    shares = judgement.predicted.bincount(minlength=NUM_LABELS) / len(images)
    return Verdict((judgement.confidence > SURE).double().mean().item(), judgement.mean_confidence(), shares.tolist())


def accuracy(judge: Judge, part: LabelledImages) -> float:
    """Return the share of real images whose label it finds."""
    return metrics.judge(judge, part.x).accuracy(part.labels)
