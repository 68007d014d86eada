"""A convolutional classifier trained on MNIST, and what it says of samples of flows at several temperatures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward import metrics
from pushforward.data.digits import Digits
from pushforward.losses import Batch
from pushforward.studies.kit import images
from pushforward.studies.kit.comparison import Candidate, Comparison, drawn, train
from pushforward.studies.kit.levels import middles, to_levels
from pushforward.studies.kit.record import Record, file_name
from pushforward.studies.mnist.training import LEVELS

NUM_LABELS = 10
ROWS_AT_ONCE = 1_000
SURE = 0.9  # probability above which an image counts as one that the classifier is sure of
SHOWN = 50  # in one sheet
NOTE = (
    "What a classifier trained on real digits says of images. Sure: the share to whose label it gives a probability "
    "above 0.9. Rarest: the share of the label it sees least often. Samples: 1,000 from each flow; a temperature below "
    "1 scales the latent down, which gives images nearer the mode and changes the law."
)
HEADER = ["images", "sure (%)", "mean confidence", "rarest label (%)"]


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


CLASSIFIER = Candidate(
    "classifier",
    Recognizer,
    {
        "loss": cross_entropy,
        "dequantize": LEVELS,
        "epochs": 5,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "optimizer": "adamw",
        "resumable": True,
    },
    quick={"epochs": 1},
)


class Judge:
    """A trained recognizer as `metrics.judge` asks it: images (n, 784) of levels."""

    classes_ = np.arange(NUM_LABELS)

    def __init__(self, recognizer: nn.Module) -> None:
        self.recognizer = recognizer

    @torch.no_grad()
    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities of the labels, (n, 10)."""
        pieces = middles(torch.from_numpy(x)).split(ROWS_AT_ONCE)  # it was trained on k + u
        return torch.cat([self.recognizer(piece).double().softmax(-1) for piece in pieces]).numpy()


def trained_judge(record: Record, data: Digits) -> tuple[Judge, float]:
    """Return a classifier trained on real images, and the share of the test images whose label it finds."""
    rows, held = ((part.x, part.labels.float()) for part in (data.train, data.validation))
    judge = Judge(train(record, CLASSIFIER.name, CLASSIFIER, rows, record.seed, validation=held).model)
    accuracy = metrics.judge(judge, data.test.x).accuracy(data.test.labels)
    record.number("classifier.accuracy", accuracy)
    return judge, accuracy


@dataclass(frozen=True)
class Verdict:
    """What the classifier says of images.

    Attributes:
        sure: Share of images whose label it gives a probability above 0.9.
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

    def cells(self) -> list[str | float]:
        """Return its cells of a table, under `HEADER`."""
        return [f"{100 * self.sure:.1f}", self.confidence, f"{100 * self.rarest:.1f}"]


def verdict(judge: Judge, x: Tensor) -> Verdict:
    """Return what the classifier says of images (n, 784) of levels."""
    judgement = metrics.judge(judge, x)
    shares = judgement.predicted.bincount(minlength=NUM_LABELS) / len(x)
    return Verdict((judgement.confidence > SURE).double().mean().item(), judgement.mean_confidence(), shares.tolist())


def judge_samples(
    record: Record,
    data: Digits,
    judge: Judge,
    flows: Comparison,
    temperatures: Sequence[float],
    caption: str,
    beside: Mapping[str, Tensor],
) -> dict[str, dict[float, Verdict]]:
    """Draw samples of every flow and return what the classifier sees, by the flow's key and the temperature.

    Flows that were trained get a picture, behind the panels `beside`; "{name}" in its caption stands for theirs.
    """
    found: dict[str, dict[float, Verdict]] = {}
    rows = [["real test images", *verdict(judge, data.test.x).cells()]]
    num_samples = record.size(1_000, quick=60)
    for key, (one,) in flows.trained.items():
        panels, mine = dict(beside), found.setdefault(key, {})
        for temperature in temperatures:
            x = to_levels(drawn(one.model, num_samples, record.seed, temperature=temperature), LEVELS)
            title = f"{flows.names[key]}, temperature {temperature:g}"
            panels[title], mine[temperature] = x[:SHOWN], verdict(judge, x)
            rows.append([title, *mine[temperature].cells()])
        table = [{"temperature": temperature, **asdict(seen)} for temperature, seen in mine.items()]
        record.number(f"samples.{key.replace(' ', '.')}", table)
        if one.history is not None:
            sheets = images.sheets(panels, levels=LEVELS)
            record.picture(file_name(f"samples {key}"), sheets, caption.format(name=flows.names[key]))
    record.table(NOTE, HEADER, rows)
    return found
