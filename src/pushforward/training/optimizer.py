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
    flat, device = weights.flat.detach(), weights.flat.device
    on_cuda = device.type == "cuda"  # there a step may be recorded, which reads its rate from the device
    rate = torch.tensor(learning_rate, device=device) if on_cuda else learning_rate
    fused = on_cuda or device.type == "cpu"
    made = kind([weights.flat], lr=rate, weight_decay=decay, fused=fused, capturable=on_cuda)
    made.state[weights.flat].update(  # what the first step would make
        step=torch.tensor(0.0, device=device), exp_avg=torch.zeros_like(flat), exp_avg_sq=torch.zeros_like(flat)
    )
    return made


def set_rates(optimizer: torch.optim.Optimizer, rates: list[float]) -> None:
    """Set the learning rate of each group, in place where it lies on a device."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def copy_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state as a flat mapping `"{parameter}.{key}"` -> tensor or plain value, copied."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value.clone() if isinstance(value, Tensor) else value
        for index, entries in state.items()
        for key, value in entries.items()
    }


def load_state(optimizer: torch.optim.Optimizer, copied: dict[str, Any]) -> None:
    """Write back what `copy_state` returned, in place where there is a place: a recorded step reads it there."""
    present = optimizer.state_dict()["state"]
    if {f"{index}.{key}" for index, entries in present.items() for key in entries} == copied.keys():
        for name, value in copied.items():
            index, key = name.split(".", 1)
            if isinstance(value, Tensor):
                present[int(index)][key].copy_(value)
            else:
                present[int(index)][key] = value
        return
    state: dict[int, dict[str, Any]] = {}
    for name, value in copied.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value.clone() if isinstance(value, Tensor) else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
