"""A loss on many rows without training: the same noise each time, in pieces, torch's global generator left alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pushforward.errors import InputError
from pushforward.losses import Batch
from pushforward.training.rows import Rows


@contextmanager
def forked(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Leave torch's global generators as they were found; inside, seed them."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if seed is not None:
            torch.manual_seed(seed)
        yield


@torch.no_grad()
def row_losses(
    model: nn.Module,
    loss: Callable[..., Tensor],
    rows: Rows | None,
    *,
    size: int,
    device: torch.device,
    max_seconds: float | None = None,
) -> Tensor:
    """Return the loss of each row in float64, (N,), with the model in eval() and noise that depends on nothing.

    Args:
        model: Its mode is put back afterwards.
        loss: One number a row.
        rows: The rows; None for a loss without data, which is evaluated on one batch of `size`.
        size: Rows in a piece.
        device: Where the training runs.
        max_seconds: The pieces still missing after this time are left out.

    Raises:
        InputError: If the loss does not return one number a row.
    """
    generator = torch.Generator(device).manual_seed(0)
    was_training = model.training
    start = time.perf_counter()
    results = []
    try:
        model.eval()
        with forked(device, seed=0):
            if hasattr(model, "redraw"):
                model.redraw(generator)  # type: ignore[operator]
            for first in range(0, size if rows is None else len(rows), size):
                piece = slice(first, first + size)
                batch = Batch(None, None, None, size) if rows is None else rows.batch(piece, generator)
                losses = loss(model, batch, generator)
                if losses.shape != (batch.size,):
                    raise InputError(
                        f"a loss must return one number a row, shape ({batch.size},); got shape {tuple(losses.shape)}: "
                        "fit alone takes the mean."
                    )
                results.append(losses.double())
                if max_seconds is not None and time.perf_counter() - start > max_seconds:
                    break
    finally:
        model.train(was_training)
    return torch.cat(results)


def mean_of(losses: Tensor, rows: Rows | None) -> float:
    """Return the weighted mean of row losses."""
    if rows is None or rows.weight is None:
        return losses.mean().item()
    return (losses * rows.weight.double()).mean().item()
