"""A convolutional classifier trained on MNIST, and what it says of samples of flows at several temperatures."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward import losses, metrics
from pushforward.data import Digits
from pushforward.studies.kit import Candidate, Comparison, Record, file_name, images, middles, train
from pushforward.studies.kit.tables import Columns, Score, first
from pushforward.studies.mnist.training import LEVELS, samples_at

NUM_LABELS = 10
ROWS_AT_ONCE = 1_000
SURE = 0.9  # probability above which an image counts as one that the classifier is sure of
SHOWN = 50  # in one sheet
NOTE = (
    "What a classifier trained on real digits says of images. Sure: the share to whose label it gives a probability "
    "above 0.9. Rarest: the share of the label it sees least often. Samples: 1,000 from each flow; a temperature below "
    "1 scales the latent down, which gives images nearer the mode and changes the law."
)
COLUMNS: Columns = (
    ("sure (%)", lambda seen: f"{100 * seen[0].sure:.1f}"),
    ("mean confidence", first("confidence")),
    ("rarest label (%)", lambda seen: f"{100 * min(seen[0].shares):.1f}"),
)


class Recognizer(nn.Module):
    """Two convolutions of stride 2 and two linear layers: pixels (n, 784) from 0 to 256 -> scores (n, 10).

    `metrics.judge` asks it what images of levels show.
    """

    classes_ = np.arange(NUM_LABELS)

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

    @torch.no_grad()
    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities of the labels of images (n, 784) of levels, (n, 10)."""
        pieces = middles(torch.from_numpy(x)).split(ROWS_AT_ONCE)  # it was trained on k + u
        return torch.cat([self(piece).double().softmax(-1) for piece in pieces]).numpy()


def cross_entropy(model: nn.Module, batch: losses.Batch, generator: torch.Generator | None = None) -> Tensor:
    """Return -log p(label | image) of each row, (size,), nats; the label comes as context."""
    assert batch.context is not None
    return functional.cross_entropy(model(batch.x), batch.context.squeeze(-1).long(), reduction="none")


def trained_judge(record: Record, data: Digits) -> tuple[Recognizer, float]:
    """Return a classifier trained on real images, and the share of the test images whose label it finds."""
    rows, held = ((part.x, part.labels.float()) for part in (data.train, data.validation))
    options = {"epochs": 5, "batch_size": 128, "learning_rate": 2e-3, "optimizer": "adamw", "dequantize": LEVELS}
    candidate = Candidate("classifier", Recognizer, {"loss": cross_entropy, **options}, {"epochs": 1})
    judge = train(record, "classifier", candidate, rows, record.seed, validation=held, resumable=True).model
    accuracy = metrics.judge(judge, data.test.x).accuracy(data.test.labels)
    record.number("classifier.accuracy", accuracy)
    return judge, accuracy


def verdict(judge: Recognizer, x: Tensor) -> Score:
    """Return what the classifier says of images (n, 784) of levels: how often it is sure, and the shares of labels."""
    judgement = metrics.judge(judge, x)
    shares = judgement.predicted.bincount(minlength=NUM_LABELS) / len(x)
    sure = (judgement.confidence > SURE).double().mean().item()
    return Score(sure=sure, confidence=judgement.mean_confidence(), shares=shares.tolist())


def judge_samples(
    flows: Comparison,
    data: Digits,
    judge: Recognizer,
    temperatures: Sequence[float],
    caption: str,
    beside: Mapping[str, Tensor] | None = None,
) -> dict[str, dict[float, Score]]:
    """Draw samples of every flow and return what the classifier sees, by the flow's key and the temperature.

    Flows that were trained get a picture, behind the panels `beside`; "{name}" in its caption stands for theirs.
    """
    record, runs = flows.record, flows.histories()
    rows = {"real test images": [verdict(judge, data.test.x)]}
    found: dict[str, dict[float, Score]] = {}
    for key, name in flows.names.items():
        made = samples_at(flows, key, record.size(1_000, quick=60), temperatures)
        seen = found[key] = {t: verdict(judge, x) for t, x in zip(temperatures, made.values(), strict=True)}
        rows |= {title: [one] for title, one in zip(made, seen.values(), strict=True)}
        table = [{"temperature": temperature, **vars(one)} for temperature, one in seen.items()]
        record.number(f"samples.{key.replace(' ', '.')}", table)
        if name in runs:
            sheets = images.sheets({**(beside or {}), **{title: x[:SHOWN] for title, x in made.items()}}, levels=LEVELS)
            record.picture(file_name(f"samples {key}"), sheets, caption.format(name=name))
    record.scores(NOTE, "images", COLUMNS, rows)
    return found
