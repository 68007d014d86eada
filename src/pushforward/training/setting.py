"""What a run is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pushforward.training.batches import LoaderBatches, NoData, RowBatches
from pushforward.training.progress import Progress
from pushforward.training.rows import Rows
from pushforward.training.step import CompiledStep, EagerStep, Loss
from pushforward.training.weights import Weights


@dataclass(frozen=True)
class Setting:
    """What a run is made of, and what it is told.

    Attributes:
        model, loss, weights, optimizer, step: See `EagerStep`.
        batches: Where batches come from.
        validation: Rows to validate on; None with `validates` for a loss without data.
        validates: Whether there is validation.
        generator: Source of all noise but dropout.
        schedule: Name of the schedule.
        learning_rate: Its largest value, for the history.
        patience: Reports without improvement that end the run, or None.
        folder: For checkpoint and history, or None.
        digest: What has to be the same on resuming.
        progress: The display.
    """

    model: nn.Module
    loss: Loss
    weights: Weights
    optimizer: torch.optim.Optimizer
    step: EagerStep | CompiledStep
    batches: RowBatches | LoaderBatches | NoData
    validation: Rows | None
    validates: bool
    generator: torch.Generator
    schedule: str
    learning_rate: float
    patience: int | None
    folder: Path | None
    digest: dict[str, Any]
    progress: Progress
