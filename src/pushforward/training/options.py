"""The options of a run: named, checked and written down once."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch

from pushforward import losses
from pushforward.errors import (
    InputError,
    described,
    require_choice,
    require_count,
    require_flag,
    require_number,
    require_seed,
)
from pushforward.losses import Loss
from pushforward.numerics.precision import PRECISIONS
from pushforward.training.learning_rate import SCHEDULES
from pushforward.training.optimizer import LEARNING_RATE, OPTIMIZERS, OptimizerFactory

MOST_LEVELS = 2**16  # of integers that are dequantized


@dataclass(frozen=True)
class Options:
    """What decides how a run goes, beside model and data: arguments of `fit`, which explains them.

    Raises:
        InputError: If one is out of range.
    """

    loss: Loss
    optimizer: str | OptimizerFactory
    learning_rate: float | None
    schedule: str
    epochs: int | None
    num_steps: int | Sequence[tuple[int, int]] | None
    max_seconds: float | None
    batch_size: int | None
    dequantize: int | None
    compile: bool
    precision: str
    seed: int
    weight_decay: float | None
    clip_norm: float | None
    patience: int | None
    raise_dropout: bool
    average: float | None

    @classmethod
    def among(cls, arguments: Mapping[str, Any]) -> "Options":
        """Pick the options among all arguments of `fit`."""
        return cls(**{field.name: arguments[field.name] for field in fields(cls)})

    def __post_init__(self) -> None:
        self._check_loss()
        self._check_optimizer()
        require_choice("schedule", self.schedule, SCHEDULES)
        require_choice("precision", self.precision, PRECISIONS)
        positive = partial(require_number, above=0)
        checks: dict[str, Callable[[str, Any], Any]] = {
            **dict.fromkeys(("epochs", "num_steps", "batch_size", "patience"), require_count),
            **dict.fromkeys(("max_seconds", "clip_norm"), positive),
            "weight_decay": partial(require_number, least=0),
            "average": partial(require_number, above=0, most=1),
            "dequantize": lambda name, value: require_count(f"{name}, the levels,", value, 2, MOST_LEVELS),
        }
        if self.recorded_plan is not None:
            del checks["num_steps"]
        for name, check in checks.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check(name, getattr(self, name)))
        for name in ("learning_rate", "weight_decay"):
            if callable(self.optimizer) and getattr(self, name) is not None:
                raise InputError(
                    f"{name}={getattr(self, name)!r} would not be used: a function as optimizer= makes an optimizer "
                    "with its own; set it there."
                )
        if not callable(self.optimizer):
            rate = LEARNING_RATE if self.learning_rate is None else self.learning_rate
            object.__setattr__(self, "learning_rate", positive("learning_rate", rate))
        for name in ("compile", "raise_dropout"):
            require_flag(name, getattr(self, name))
        if self.raise_dropout and self.average is not None:
            raise InputError("raise_dropout and average exclude each other: give one of them.")
        object.__setattr__(self, "seed", require_seed(self.seed))
        if self.recorded_plan is not None and self.max_seconds is not None:
            raise InputError("a recorded plan in num_steps and max_seconds exclude each other: give one of them.")

    def _check_loss(self) -> None:
        if callable(self.loss) and not isinstance(self.loss, type):
            return
        named = isinstance(self.loss, str) and self.loss in losses.__all__ and self.loss != "Batch"
        name = self.loss if named else "nll"
        raise InputError(
            f"loss must be a function (model, batch, generator) -> one number a row; got {described(self.loss)}: use "
            f"loss=pf.losses.{name}."
        )

    def _check_optimizer(self) -> None:
        if isinstance(self.optimizer, torch.optim.Optimizer):
            name = type(self.optimizer).__name__
            raise InputError(
                "optimizer must be a name, or a function of the parameters, which are those of the run; got "
                f"{name}: give what makes it, lambda parameters: torch.optim.{name}(parameters)."
            )
        if not callable(self.optimizer):
            require_choice("optimizer, where it is no function of the parameters,", self.optimizer, OPTIMIZERS)

    @property
    def recorded_plan(self) -> Sequence[tuple[int, int]] | None:
        """The plan of an earlier run, where `num_steps` is one."""
        return self.num_steps if isinstance(self.num_steps, Sequence) and self.num_steps else None

    def digest(self) -> dict[str, Any]:
        """Return the options as plain values, by which a checkpoint knows its run."""
        return {**vars(self), "loss": _name_of(self.loss), "optimizer": _name_of(self.optimizer)}


def _name_of(value: Any) -> str:
    """Return a name for a function and the options bound to it."""
    if isinstance(value, str):
        return value
    if isinstance(value, functools.partial):
        return f"{_name_of(value.func)}{value.args}{value.keywords}"
    return getattr(value, "__qualname__", type(value).__name__)
