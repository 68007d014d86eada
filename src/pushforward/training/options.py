"""The options of a run: named, checked and written down once."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pushforward.errors import InputError, require_count
from pushforward.losses import Loss
from pushforward.training.learning_rate import SCHEDULES
from pushforward.training.optimizer import OptimizerFactory


@dataclass(frozen=True)
class Options:
    """What decides how a run goes, beside model and data: arguments of `fit`, which explains them.

    Raises:
        InputError: If one is out of range.
    """

    loss: Loss
    optimizer: str | OptimizerFactory
    learning_rate: float
    schedule: str
    epochs: int | None
    num_steps: int | Sequence[tuple[int, int]] | None
    max_seconds: float | None
    batch_size: int | None
    dequantize: int | None
    compile: bool
    seed: int
    weight_decay: float | None
    clip_norm: float | None
    patience: int | None

    @classmethod
    def among(cls, arguments: Mapping[str, Any]) -> "Options":
        """Pick the options among all arguments of `fit`."""
        return cls(**{field.name: arguments[field.name] for field in fields(cls)})

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("epochs", "num_steps", "batch_size", "patience")}
        if self.recorded_plan is not None:
            del counts["num_steps"]
        for name, value in counts.items():
            if value is not None:
                require_count(name, value)
        seconds = self.max_seconds
        if seconds is not None and not (isinstance(seconds, (int, float)) and 0 < seconds < math.inf):
            raise InputError(f"max_seconds must be a positive number; got {seconds!r}.")
        if self.recorded_plan is not None and seconds is not None:
            raise InputError("a recorded plan in num_steps and max_seconds exclude each other: give one of them.")
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule must be one of {', '.join(SCHEDULES)}; got {self.schedule!r}.")
        for name, value in (("learning_rate", self.learning_rate), ("clip_norm", self.clip_norm)):
            if value is not None and not value > 0:
                raise InputError(f"{name} must be positive; got {value!r}.")
        levels = self.dequantize
        if levels is not None and (not isinstance(levels, int) or not 2 <= levels <= 2**16):
            raise InputError(f"dequantize must be the number of integer levels, 2 to 65536; got {levels!r}.")

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
