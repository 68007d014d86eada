"""How a run begins: a fresh start or a checkpoint, then the number of steps, then the loop."""

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pushforward.errors import InputError
from pushforward.training.batches import LoaderBatches, NoData, RowBatches
from pushforward.training.divergence import Watch, check_initial
from pushforward.training.interrupt import signals_caught
from pushforward.training.loop import REPORTS, Loop, set_torch_noise, torch_noise
from pushforward.training.schedule import Plan

DEFAULT_EPOCHS = 100
CHECK_SHARE = 0.05  # of the time, for the initial losses
REHEARSAL_SHARE = 0.02  # of the time, for timing a step
REHEARSAL_STEPS = 200


def train(
    loop: Loop,
    epochs: int | None,
    num_steps: int | Sequence[tuple[int, int]] | None,
    max_seconds: float | None,
    *,
    compiling: bool,
    state: dict[str, Any] | None,
) -> None:
    """Go on from a state, or check the start; plan, run, and leave the model with the best weights."""
    most = _most_steps(epochs, num_steps, max_seconds, loop.setting.batches.steps_per_epoch)
    if state is None:
        _check_start(loop, max_seconds)
    else:
        loop.load_state(state)
    loop.setting.model.train()
    seconds_a_step = 0.0
    if loop.history.stopped_because == "running" and (compiling or (max_seconds is not None and state is None)):
        seconds_a_step = _rehearse(loop, REHEARSAL_SHARE * (max_seconds or 0.0), compiling=compiling)
    changes: Sequence[tuple[int, int]]
    if state is not None:
        changes = loop.history.plan
    elif isinstance(num_steps, Sequence):
        changes = num_steps
    elif max_seconds is not None:
        changes = [(0, int(min(_steps_in(loop, max_seconds, seconds_a_step), most)))]
    else:
        changes = [(0, int(most))]
    loop.plan = Plan(changes, max_seconds=max_seconds, most=most)
    try:
        with signals_caught() as flag:
            loop.run(flag)
    finally:
        loop.keep_best()


def _most_steps(
    epochs: int | None,
    num_steps: int | Sequence[tuple[int, int]] | None,
    max_seconds: float | None,
    steps_per_epoch: int | None,
) -> float:
    """Return the number of steps that epochs and num_steps allow; infinite if time or a recorded plan decides."""
    if epochs is None and num_steps is None and max_seconds is None:
        epochs = DEFAULT_EPOCHS
    bounds = [num_steps] if isinstance(num_steps, int) else []
    if epochs is not None:
        if steps_per_epoch is None:
            raise InputError("data of unknown length has no epochs: give num_steps or max_seconds.")
        bounds.append(epochs * steps_per_epoch)
    return min(bounds, default=math.inf)


@torch.no_grad()
def initialize(model: nn.Module, batches: RowBatches | LoaderBatches | NoData) -> None:
    """Let the model learn from training rows what it learns from data before the first step."""
    if isinstance(batches, NoData) or not hasattr(model, "initialize"):
        return
    head = batches.head()
    batch = head.batch(slice(None), torch.Generator(head.index.device).manual_seed(0))
    if batch.x is not None:
        model.initialize(batch.x, batch.context)  # type: ignore[operator]


def _check_start(loop: Loop, max_seconds: float | None) -> None:
    """Check that every row has a finite loss, and keep the numbers as the first to go back to."""
    setting, batches = loop.setting, loop.setting.batches
    rows = batches.rows if isinstance(batches, RowBatches) else None if isinstance(batches, NoData) else batches.head()
    start = time.perf_counter()
    losses = loop.row_losses(rows, max_seconds=None if max_seconds is None else CHECK_SHARE * max_seconds)
    if setting.validation is not None:  # a guess, until the first validation
        loop.validation_seconds = (time.perf_counter() - start) / len(losses) * len(setting.validation)
    loop.watch = Watch(check_initial(setting.model, losses, rows, "data"))
    loop.watch.keep(0, loop.numbers())
    loop.train_sum, loop.train_count = losses.sum().item(), len(losses)


def _rehearse(loop: Loop, seconds: float, *, compiling: bool) -> float:
    """Take steps that do not count, for about so long (two at least), and return the seconds that one takes."""
    setting = loop.setting
    numbers, noise, dropout_noise = loop.numbers(), setting.generator.get_state(), torch_noise(setting.generator)
    batch = setting.batches.peek()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 2 or (time.perf_counter() - start < seconds and len(times) < REHEARSAL_STEPS):
        before = time.perf_counter()
        setting.step(batch, 0.0).item()  # waits for the device
        times.append(time.perf_counter() - before)
        if compiling and len(times) == 1:
            loop.history.compile_seconds += times[0]
            start = time.perf_counter()
    loop.restore(numbers)
    setting.generator.set_state(noise)
    set_torch_noise(setting.generator, dropout_noise)
    return float(torch.tensor(times[1:]).median())


def _steps_in(loop: Loop, max_seconds: float, seconds_a_step: float) -> int:
    """Return how many steps, with their validations, fit into what is left of the time."""
    left = max_seconds - loop.seconds - loop.validation_seconds
    few = left / (seconds_a_step + loop.validation_seconds / loop.least_interval())
    many = (left - REPORTS * loop.validation_seconds) / seconds_a_step
    return max(int(max(few, many)), 1)
