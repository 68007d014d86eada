"""The optimizer of a run: made by name or by the user's function, its state copied and written back."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import InputError
from pushforward.training.flat_weights import Weights

LEARNING_RATE = 5e-3
OptimizerFactory = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Any] = {"adam": (torch.optim.Adam, 0.0), "adamw": (torch.optim.AdamW, 0.01)}
"""The optimizers that have a name, each with its usual weight decay."""


def make_optimizer(
    optimizer: str | OptimizerFactory, weights: Weights, learning_rate: float | None, weight_decay: float | None
) -> torch.optim.Optimizer:
    """Return Adam or AdamW over the flat vector, or the user's own optimizer over the parameters.

    Raises:
        InputError: If the factory does not return an optimizer.
    """
    if callable(optimizer):
        made = optimizer(list(weights.parameters.values()))
        if not isinstance(made, torch.optim.Optimizer):
            raise InputError(f"optimizer must make a torch.optim.Optimizer of parameters; got {type(made).__name__}.")
        if inspect.signature(made.step).parameters["closure"].default is inspect.Parameter.empty:
            raise InputError(
                f"{type(made).__name__} evaluates the loss several times a step, which fit cannot do for it: use an "
                'optimizer of one gradient a step, such as "adam" or torch.optim.SGD.'
            )
        return made
    kind, usual_decay = OPTIMIZERS[optimizer]
    decay = usual_decay if weight_decay is None else weight_decay
    return kind([weights.flat], lr=learning_rate, weight_decay=decay, fused=weights.flat.device.type in ("cpu", "cuda"))


def copy_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state as a flat mapping `"{parameter}.{key}"` -> tensor or plain value, copied."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value.clone() if isinstance(value, Tensor) else value
        for index, entries in state.items()
        for key, value in entries.items()
    }


def load_state(optimizer: torch.optim.Optimizer, copied: dict[str, Any]) -> None:
    """Write back what `copy_state` returned."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in copied.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value.clone() if isinstance(value, Tensor) else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
