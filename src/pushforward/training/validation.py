"""The loss of many rows without learning from them: the same noise each time, in pieces, nothing left changed."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.errors import InputError
from pushforward.losses import Batch
from pushforward.training.data.rows import OwnSamples, Rows
from pushforward.training.guard import check_initial
from pushforward.training.learner import Learner
from pushforward.training.random_states import fixed_noise, forked

PIECE = 4  # batches: pieces are larger, since no gradients are kept
VALIDATION_SHARE = 0.1  # of the time, at most


@torch.no_grad()
def row_losses(
    learner: Learner, rows: Rows | OwnSamples, batch_size: int, *, max_seconds: float | None = None
) -> Tensor:
    """Return the loss of each row in float64, (N,), with the model in eval() and noise that depends on nothing.

    Args:
        learner: Its model's mode is put back afterwards.
        rows: The rows.
        batch_size: Rows in a batch of the training.
        max_seconds: The pieces still missing after this time are left out.

    Raises:
        InputError: If the loss does not return one number a row.
    """
    model, device, ranks = learner.model, learner.generator.device, learner.ranks
    generator = fixed_noise(device)
    was_training = model.training
    start = time.perf_counter()
    results = []
    try:
        model.eval()
        with forked(device, seed=0):
            learner.redraw(generator)
            for batch in rows.pieces(PIECE * batch_size, generator):
                with ranks.own_noise(generator):
                    results.append(_placed(learner, batch, generator))
                if max_seconds is not None and ranks.from_first(lambda: time.perf_counter() - start > max_seconds):
                    break
    finally:
        model.train(was_training)
    return ranks.sum_rows(torch.cat(results))


def _placed(learner: Learner, batch: Batch, generator: torch.Generator) -> Tensor:
    """Return the losses of this process's rows of a batch at their places, (size,) in float64, and 0 elsewhere."""
    share, (first, end) = learner.ranks.share(batch), learner.ranks.bounds(batch.size)
    placed = torch.zeros(batch.size, dtype=torch.float64, device=generator.device)
    if share.size:
        losses = learner.loss(learner.model, share, generator)
        if losses.shape != (share.size,):
            raise InputError(
                f"a loss must return one number a row, shape ({share.size},); got shape {tuple(losses.shape)}: "
                "fit alone takes the mean."
            )
        placed[first:end] = losses
    return placed


@dataclass
class Validation:
    """The loss on held-out rows, and what it costs.

    Attributes:
        rows: The rows, or None where there is no validation.
        batch_size: Rows in a batch of the training.
        seconds: How long it took last, or is guessed to take.
    """

    rows: Rows | OwnSamples | None
    batch_size: int
    seconds: float = 0.0

    @property
    def least_interval(self) -> int:
        """The least number of steps between two validations, so that they stay cheap."""
        if self.rows is None:
            return 1
        return math.ceil(len(self.rows) / (3 * self.batch_size) / VALIDATION_SHARE)

    def loss(self, learner: Learner, *, initial: bool = False) -> float | None:
        """Return the weighted mean of the rows' losses, or None without rows.

        Raises:
            InputError: If a row has no finite loss though the learner is as it was at the start.
        """
        if self.rows is None:
            return None
        clock = learner.ranks.clock
        start = clock.seconds
        losses = row_losses(learner, self.rows, self.batch_size)
        if initial:
            check_initial(learner.model, losses, self.rows, "validation")
        weight = self.rows.weight
        mean = (losses if weight is None else losses * weight.double()).mean().item()
        self.seconds = clock.seconds - start
        return mean
