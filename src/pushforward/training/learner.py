"""A model that learns: its weights, their optimizer and its step; all its numbers can be copied and written back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pushforward.training.captured_step import CapturedStep, obstacle
from pushforward.training.data.batches import Batches
from pushforward.training.flat_weights import Weights
from pushforward.training.native_steps import native_steps
from pushforward.training.optimizer import copy_state, load_state, make_optimizer, set_rates
from pushforward.training.options import Options
from pushforward.training.random_states import global_noise, set_global_noise
from pushforward.training.ranks import Ranks
from pushforward.training.step import CompiledStep, EagerStep
from pushforward.training.threads import StepThreads
from pushforward.training.ways import InC, InTorch, Recorded, Way

AVERAGED_STEPS = 10  # weights of so many steps differ little: the last of them stand for all


class Learner:
    """A model, its optimizer and its step: `advance(batches, factors)` learns from the next batches.

    Args:
        weights: The model's parameters, laid flat.
        options: Loss, optimizer, its rate and decay, clipping, and whether the step is compiled.
        generator: Source of all noise but dropout, on the device of the training.
        threads: How many of them a step uses.
        ranks: The processes that share the run.

    Attributes:
        rates: The largest learning rate of each group of parameters.
        rate: The share of it in force.
        way: How steps are taken.
        average: Of the weights over the latest steps, (parameters,), or None where it is not asked for.
    """

    def __init__(
        self, weights: Weights, options: Options, generator: torch.Generator, threads: StepThreads, ranks: Ranks
    ) -> None:
        self.model, self.weights, self.loss, self.generator = weights.model, weights, options.loss, generator
        self._threads, self._options, self.ranks = threads, options, ranks
        self.optimizer = make_optimizer(options.optimizer, weights, options.learning_rate, options.weight_decay)
        # As made: the optimizer's own entries are overwritten before each step.
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.rate = 1.0
        self.average = None if options.average is None else weights.flat.detach().clone()
        step: EagerStep | CompiledStep
        if options.compile:
            step = CompiledStep(self.model, self.loss, weights, self.optimizer, options.clip_norm, generator, ranks)
        else:
            exact = options.precision != "high"
            step = EagerStep(self.model, self.loss, weights, self.optimizer, options.clip_norm, generator, exact, ranks)
        name = "torch.compile" if options.compile else "plain torch"
        self._in_torch = InTorch(name, step, lambda: self.redraw(generator), threads)
        self.way: Way = self._in_torch

    def advance(self, batches: Batches, factors: list[float]) -> Tensor:
        """Learn from the next batches, one for each factor but no more than the epoch has left.

        Args:
            batches: Where they come from.
            factors: The share of the largest learning rate at each step; one, unless the way takes many.

        Returns:
            The mean loss before each step that was taken, (steps,).
        """
        self.set_rate(factors[-1])
        return self.way.take(batches, [self.rates[0] * factor for factor in factors])

    @torch.no_grad()
    def take_into_average(self, step: int) -> None:
        """Let the weights after a step count in their average: those of the first steps, and of every tenth.

        With weights of n / (share step), where they stand for n steps, a third of the average is older than the share.
        """
        if self.average is not None and (step < AVERAGED_STEPS or step % AVERAGED_STEPS == 0):
            share: float = self._options.average  # type: ignore[assignment]
            steps = 1 if step < AVERAGED_STEPS else AVERAGED_STEPS
            self.average.lerp_(self.weights.flat.detach(), min(steps / max(share * step, 1.0), 1.0))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the averaged weights meanwhile, where there are such."""
        if self.average is None:
            yield
            return
        own = self.weights.flat.detach().clone()
        try:
            self.use_average()
            yield
        finally:
            with torch.no_grad():
                self.weights.flat.copy_(own)

    @torch.no_grad()
    def use_average(self) -> None:
        """Give the model the averaged weights for good, where there are such."""
        if self.average is not None:
            self.weights.flat.copy_(self.average)

    def rehearse(self, batches: Batches) -> Tensor:
        """Take a step on a batch that does not count, and return its mean loss."""
        return self.way.rehearse(batches, self.rate)

    def prepare(self, batches: Batches) -> str | None:
        """Find the fastest way of taking a step: in C on the CPU; on CUDA recorded, to be replayed from now on.

        To be called again whenever what a step does has changed.

        Returns:
            Why a step could not be recorded, or None.
        """
        self.way = self._in_torch
        if self.generator.device.type == "cpu" and not self.ranks.are_several:
            steps = native_steps(self.weights, self.optimizer, self._options, batches)
            if steps is not None:
                self.way = InC(steps, self.optimizer.state[self.weights.flat]["step"], self._threads)
        if self.generator.device.type != "cuda":
            return None
        reason = (
            "several processes share the run"
            if self.ranks.are_several
            else obstacle(self.model, self.loss, self._options.optimizer, batches)
        )
        if reason is not None:
            return reason
        numbers, noise, rate = self.numbers(), self.noise(), self.rate
        self.set_rate(0.0)
        try:
            step = CapturedStep(self.model, self._in_torch.step, batches, self.generator)  # type: ignore[arg-type]
            self.way = Recorded(step)
        except Exception as error:  # whatever it is, the step as it is goes on
            reason = next(iter(str(error).splitlines()), type(error).__name__)
        self.restore(numbers)
        self.set_noise(noise)
        self.set_rate(rate)
        return reason

    def set_rate(self, factor: float) -> float:
        """Set every learning rate of the optimizer to `factor` times what it was made with; return the first."""
        self.rate = factor
        set_rates(self.optimizer, [rate * factor for rate in self.rates])
        return self.rates[0] * factor

    def redraw(self, generator: torch.Generator) -> None:
        """Let the model draw anew what it holds for one step (Hutchinson's probes)."""
        if hasattr(self.model, "redraw"):
            self.model.redraw(generator)  # type: ignore[operator]

    def numbers(self) -> dict[str, Any]:
        """Return copies of the model's and the optimizer's numbers."""
        average = {} if self.average is None else {"average": self.average.clone()}
        return {"weights": self.weights.copy(), "optimizer": copy_state(self.optimizer), **average}

    def restore(self, numbers: dict[str, Any]) -> None:
        """Write back what `numbers` returned."""
        self.weights.load(numbers["weights"])
        load_state(self.optimizer, numbers["optimizer"])
        if self.average is not None:
            self.average.copy_(numbers["average"])

    def noise(self) -> dict[str, Tensor]:
        """Return the states of the generators that a step draws from."""
        return {"generator": self.generator.get_state(), "global": global_noise(self.generator.device)}

    def set_noise(self, noise: dict[str, Tensor]) -> None:
        """Write back what `noise` returned."""
        self.generator.set_state(noise["generator"])
        set_global_noise(self.generator.device, noise["global"])
