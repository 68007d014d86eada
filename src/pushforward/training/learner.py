"""A model that learns: its weights, their optimizer and one step; all its numbers can be copied and written back."""

from typing import Any

import torch
from torch import Tensor

from pushforward.losses import Batch
from pushforward.training.flat_weights import Weights
from pushforward.training.optimizer import copy_state, load_state, make_optimizer
from pushforward.training.options import Options
from pushforward.training.random_states import global_noise, set_global_noise
from pushforward.training.step import CompiledStep, EagerStep
from pushforward.training.threads import StepThreads


class Learner:
    """A model, its optimizer and its step: `step(batch)` learns from a batch at the rate set.

    Args:
        weights: The model's parameters, laid flat.
        options: Loss, optimizer, its rate and decay, clipping, and whether the step is compiled.
        generator: Source of all noise but dropout, on the device of the training.
        threads: How many of them a step uses.

    Attributes:
        rates: The largest learning rate of each group of parameters.
    """

    def __init__(self, weights: Weights, options: Options, generator: torch.Generator, threads: StepThreads) -> None:
        self.model, self.weights, self.loss, self.generator = weights.model, weights, options.loss, generator
        self.threads = threads
        self.optimizer = make_optimizer(options.optimizer, weights, options.learning_rate, options.weight_decay)
        # As made: the optimizer's own entries are overwritten before each step.
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self._step: EagerStep | CompiledStep = (
            CompiledStep(self.model, self.loss, weights, self.optimizer, options.clip_norm)
            if options.compile
            else EagerStep(self.model, self.loss, weights, self.optimizer, options.clip_norm, generator)
        )

    def step(self, batch: Batch) -> Tensor:
        """Learn from a batch at the rate set; return its mean loss before, a scalar."""
        return self.threads.take(lambda: self._step(batch))

    def set_rate(self, factor: float) -> float:
        """Set every learning rate of the optimizer to `factor` times what it was made with; return the first."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        return float(self.optimizer.param_groups[0]["lr"])

    def redraw(self, generator: torch.Generator) -> None:
        """Let the model draw anew what it holds for one step (Hutchinson's probes)."""
        if hasattr(self.model, "redraw"):
            self.model.redraw(generator)  # type: ignore[operator]

    def numbers(self) -> dict[str, Any]:
        """Return copies of the model's and the optimizer's numbers."""
        return {"weights": self.weights.copy(), "optimizer": copy_state(self.optimizer)}

    def restore(self, numbers: dict[str, Any]) -> None:
        """Write back what `numbers` returned."""
        self.weights.load(numbers["weights"])
        load_state(self.optimizer, numbers["optimizer"])

    def noise(self) -> dict[str, Tensor]:
        """Return the states of the generators that a step draws from."""
        return {"generator": self.generator.get_state(), "global": global_noise(self.generator.device)}

    def set_noise(self, noise: dict[str, Tensor]) -> None:
        """Write back what `noise` returned."""
        self.generator.set_state(noise["generator"])
        set_global_noise(self.generator.device, noise["global"])
