"""How many threads a training step uses: one where it is small, the faster number where it is large."""

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pushforward.numerics.threads import available, threads

# Parameters times rows a step. Below it a second thread saves less than handing the work over costs.
LEAST_SHARED_WORK = 30_000_000
TRIAL_STEPS = 3
TRIAL_SHARE = 0.02  # of the time that the trials of the other number of threads take
CLEARLY = 0.9  # of the present time a step: what makes a change worth while


class StepThreads:
    """The number of threads of a run's steps, on the CPU.

    Small steps run on one thread. Large ones run on all, or, in a run limited by time, are timed with one thread and
    with all, now and then again, since the load of the machine changes, and take the faster. A run whose length does
    not depend on time follows from its seed alone, so sizes alone decide there.

    Args:
        model: What is trained.
        batch_size: Rows of a step.
        timed: Whether time limits the run.

    Attributes:
        number: Of threads in use.
    """

    def __init__(self, model: nn.Module, batch_size: int, *, timed: bool) -> None:
        parameters = list(model.parameters())
        most = available() if all(value.device.type == "cpu" for value in parameters) else 1
        large = batch_size * sum(value.numel() for value in parameters) >= LEAST_SHARED_WORK
        self.number = most if large and not timed else 1
        self._other = most if large else 1
        self._times: dict[int, deque[float]] = {
            number: deque(maxlen=TRIAL_STEPS) for number in (self.number, self._other)
        }
        self._trial_seconds, self._next_trial = 0.0, 0.0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Use them, and leave torch's number as found."""
        with threads(self.number):
            yield

    @property
    def compares(self) -> bool:
        """Whether two numbers are compared, step by step."""
        return self._other != self.number

    def take(self, step: Callable[[], Tensor]) -> Tensor:
        """Return what a step returns; now and then it is taken with the other number of threads, to compare."""
        if not self.compares:
            return step()
        known = len(self._times[self.number]) == TRIAL_STEPS
        trying = known and time.perf_counter() >= self._next_trial
        number = self._other if trying else self.number
        torch.set_num_threads(number)
        began = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - began
        self._times[number].append(seconds)
        if trying:
            self._trial_seconds += seconds
            if len(self._times[number]) == TRIAL_STEPS:
                self._decide()
        return loss

    def _decide(self) -> None:
        present, other = (statistics.median(self._times[n]) for n in (self.number, self._other))
        if other < CLEARLY * present:
            self.number, self._other = self._other, self.number
        self._times[self._other].clear()
        self._next_trial = time.perf_counter() + self._trial_seconds / TRIAL_SHARE
        self._trial_seconds = 0.0
