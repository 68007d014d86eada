"""The training loss that a report shows: a mean over enough batches to be read, and how far to trust it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

LEAST_BATCHES = 20


@dataclass
class TrainLoss:
    """Mean losses of batches, and what a report says of them.

    A report of few steps would show little but the chance of three batches, so it looks back at least 20 steps.

    Attributes:
        values: Those since the last report, after up to 20 from before it.
        since_report: How many there are since the last report.
    """

    values: list[float] = field(default_factory=list)
    since_report: int = 0

    def add(self, losses: Iterable[float]) -> None:
        """Take in the losses of steps."""
        before = len(self.values)
        self.values += losses
        self.since_report += len(self.values) - before

    def report(self) -> tuple[float, float]:
        """Return mean and standard error over the steps since the last report, or the last 20; NaN where unknown."""
        looked_at = self.values[-max(self.since_report, LEAST_BATCHES) :]
        self.values, self.since_report = self.values[-LEAST_BATCHES:], 0
        return mean_and_error(torch.tensor(looked_at, dtype=torch.float64, device="cpu"))


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean of some numbers, (n,), and its standard error; NaN where there are too few."""
    error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return values.mean().item(), error
