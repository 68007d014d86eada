"""Ways of taking training steps: one by one in torch, as a recorded graph on CUDA, many at a call in C."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from pushforward.kernels.training_steps import TrainingSteps
from pushforward.losses import Batch
from pushforward.training.captured_step import CapturedStep
from pushforward.training.data.batches import Batches
from pushforward.training.threads import StepThreads


class Way(Protocol):
    """How steps are taken.

    Attributes:
        name: What the history calls it.
        work_of_a_step: Parameters times rows, where a step takes little beside that; else infinity.
    """

    name: str
    work_of_a_step: float

    @property
    def takes_many(self) -> bool:
        """Whether steps are best taken many at once."""

    def take(self, batches: Batches, rates: list[float]) -> Tensor:
        """Learn from the next batches, one for each rate, the last of which the optimizer has; (steps,) mean losses."""

    def rehearse(self, batches: Batches, rate: float) -> Tensor:
        """Learn from a batch that does not count, and return its mean loss."""


class InTorch:
    """One step after another, eager or compiled.

    Args:
        name: What the history calls it.
        step: Takes a batch and returns its mean loss.
        redraw: To be called before each step that counts.
        threads: How many of them a step uses.
    """

    work_of_a_step = float("inf")
    takes_many = False

    def __init__(
        self, name: str, step: Callable[[Batch], Tensor], redraw: Callable[[], None], threads: StepThreads
    ) -> None:
        self.name, self.step, self._redraw, self._threads = name, step, redraw, threads

    def take(self, batches: Batches, rates: list[float]) -> Tensor:  # noqa: D102
        self._redraw()
        batch = batches.next()
        return self._threads.take(lambda: self.step(batch))[None]

    def rehearse(self, batches: Batches, rate: float) -> Tensor:  # noqa: D102
        batch = batches.peek()
        return self._threads.take(lambda: self.step(batch))


class Recorded:
    """Steps on CUDA as one graph that is replayed."""

    name = "a CUDA graph"
    work_of_a_step = float("inf")
    takes_many = False

    def __init__(self, step: CapturedStep) -> None:
        self._step = step

    def take(self, batches: Batches, rates: list[float]) -> Tensor:  # noqa: D102
        return self._step(batches.next_index())[None]  # type: ignore[attr-defined]

    def rehearse(self, batches: Batches, rate: float) -> Tensor:  # noqa: D102
        return self._step(batches.first_index())  # type: ignore[attr-defined]


class InC:
    """Many steps a call of C.

    Args:
        steps: What takes them.
        counter: The optimizer's number of steps taken, which is kept up to date.
        threads: How many of them a step uses.
    """

    name = "C"

    def __init__(self, steps: TrainingSteps, counter: Tensor, threads: StepThreads) -> None:
        self._steps, self._counter, self._threads = steps, counter, threads
        self.work_of_a_step = float(steps.batch_size * steps.num_parameters)

    @property
    def takes_many(self) -> bool:
        """Whether steps are best taken many at once: not while numbers of threads are compared."""
        return not self._threads.compares

    def take(self, batches: Batches, rates: list[float]) -> Tensor:  # noqa: D102
        return self._run(batches.next_indices(len(rates)), rates)  # type: ignore[attr-defined]

    def rehearse(self, batches: Batches, rate: float) -> Tensor:  # noqa: D102
        return self._run(batches.first_index()[None], [rate])[0]  # type: ignore[attr-defined]

    def _run(self, indices: Tensor, rates: list[float]) -> Tensor:
        def run() -> Tensor:
            return self._steps(indices, rates[: len(indices)], int(self._counter), torch.get_num_threads())

        losses = self._threads.take(run)
        self._counter += len(indices)
        return losses
