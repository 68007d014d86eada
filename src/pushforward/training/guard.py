"""Notices a training that breaks, goes back to numbers that were good, and explains in the end what was wrong."""

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import InputError, RunError
from pushforward.training.data.form import list_rows
from pushforward.training.data.rows import OwnSamples, Rows

SNAPSHOT_STEPS = 100
WINDOW = 20  # losses, most of which have to be far too large
MOST_FAILURES = 5
RATE_CUT = 0.5


@dataclass
class Guard:
    """Judges the losses of the last steps, and keeps the numbers to go back to.

    A run is broken when a loss or a parameter is not finite, or when most of the last losses lie above the ceiling.
    Going back means the older of two snapshots, since the newer may already be sick, and half the learning rate.

    Attributes:
        ceiling: The loss above which a run has exploded.
        older, newer: Snapshots of the learner's numbers.
        snapshot_step: When the newer one was taken, or gone back to.
        failures: How often the run broke.
        reason: Why it broke last.
        window: The last losses.
    """

    ceiling: float
    older: dict[str, Any]
    newer: dict[str, Any]
    snapshot_step: int = 0
    failures: int = 0
    reason: str = ""
    window: list[float] = field(default_factory=list)

    @classmethod
    def at_start(cls, initial: float, numbers: dict[str, Any]) -> "Guard":
        """Return a guard from the mean initial loss, with its ceiling ten times the size of that loss above it.

        The mean of the initial losses bounds how often a batch of honest outliers can reach there.
        """
        return cls(initial + 10 * (abs(initial) + 1), numbers, numbers)

    @property
    def rate_cut(self) -> float:
        """The factor that failures so far put on the learning rate."""
        return RATE_CUT**self.failures

    def is_broken(self, losses: Tensor, finite_weights: bool, step: int) -> bool:
        """Judge the losses of the last steps, the last of which is number `step`; remember the reason."""
        bad = (~torch.isfinite(losses)).nonzero().flatten()
        if len(bad):
            first = int(bad[0])
            self.reason = f"the loss was {losses[first].item()} at step {step - len(losses) + 1 + first}"
        elif not finite_weights:
            self.reason = f"the gradient was not finite at step {step}"
        else:
            self.window = (self.window + losses.tolist())[-WINDOW:]
            middle = statistics.median(self.window)
            if len(self.window) < WINDOW or middle <= self.ceiling:
                return False
            self.reason = f"the loss exploded to {middle:.3g} before step {step}"
        return True

    def keep(self, step: int, numbers: dict[str, Any]) -> None:
        """Keep a snapshot of good numbers."""
        self.older, self.newer = self.newer, numbers
        self.snapshot_step = step

    def back(self, step: int) -> dict[str, Any]:
        """Count a failure at `step` and return the numbers to go on with."""
        self.failures += 1
        self.window = []
        self.newer = self.older
        self.snapshot_step = step
        return self.older

    def give_up(self, model: nn.Module, rate: float) -> RunError:
        """Return the error that ends the run."""
        explanation = f" {support_hint(model)}" if "was inf" in self.reason else ""
        remedy = (
            "" if explanation else " Try a smaller learning_rate, look for extreme values in the data, or rescale them."
        )
        return RunError(
            f"training diverged: {self.reason}; going back {self.failures} times and lowering the learning rate to "
            f"{rate:.1e} did not help.{explanation}{remedy} The model holds the last good weights."
        )


def support_hint(model: nn.Module) -> str:
    """Explain a log_prob of -inf: outside the support."""
    if where := getattr(getattr(model, "base", None), "support", ""):
        return (
            f"log_prob = -inf means outside the support: {where}, and outside there is no gradient that leads back. "
            "Rescale the data into it, or use base=StandardNormal(features)."
        )
    return (
        "log_prob = -inf means outside the support of the base or outside the domain of a transform (a Logit takes "
        "only values inside its interval). Rescale or leave out those rows."
    )


def check_initial(model: nn.Module, losses: Tensor, rows: Rows | OwnSamples, name: str) -> float:
    """Return the mean of the initial losses.

    Raises:
        InputError: If any is not finite, with the number of such rows, the first of them and the remedy.
    """
    bad = (~torch.isfinite(losses)).nonzero().flatten()
    if len(bad):
        index = rows.index[bad].sort().values
        nan = bool(torch.isnan(losses[bad]).any())
        reason = (
            "NaN comes from the model itself: look at values outside a transform's domain or too large for its dtype."
            if nan
            else support_hint(model)
        )
        raise InputError(f"{name}: {list_rows(index, len(losses))} no finite loss before training. {reason}")
    mean = losses.mean().item()
    return mean if math.isfinite(mean) else losses.median().item()
