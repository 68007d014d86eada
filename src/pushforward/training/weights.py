"""A model's trainable parameters as one flat vector, so that a step touches one tensor instead of dozens."""

from typing import Any

import torch
from torch import Tensor, nn


class Weights:
    """Lays the trainable parameters of a model, and their gradients, out in two flat vectors.

    While it is attached every parameter is a view of `flat` and its gradient a view of `flat.grad`; the parameters
    remain the same objects. `detach` gives each its own storage again.

    Args:
        model: The model, its trainable parameters of one dtype and device; the others stay as they are.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.model = model
        self.sizes = [value.numel() for value in self.parameters.values()]
        self.flat = nn.Parameter(torch.cat([value.detach().reshape(-1) for value in self.parameters.values()]))
        self.flat.grad = torch.zeros_like(self.flat)
        gradients = self.views(self.flat.grad)
        for name, view in self.views(self.flat.detach()).items():
            self.parameters[name].data = view
            self.parameters[name].grad = gradients[name]

    def others(self) -> dict[str, Tensor]:
        """Return frozen parameters and buffers, by name."""
        frozen = {name: value for name, value in self.model.named_parameters() if not value.requires_grad}
        return {**frozen, **dict(self.model.named_buffers())}

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the parameters, by name, as views of a flat vector."""
        parts = zip(self.parameters.items(), flat.split(self.sizes), strict=True)
        return {name: part.view(value.shape) for (name, value), part in parts}

    def detach(self) -> None:
        """Give every parameter storage of its own and no gradient."""
        for value in self.parameters.values():
            value.data = value.data.clone()
            value.grad = None

    def copy(self) -> dict[str, Tensor]:
        """Return copies of all the model's numbers: the flat vector (under no name), frozen parameters and buffers."""
        return {name: value.detach().clone() for name, value in {"": self.flat, **self.others()}.items()}

    @torch.no_grad()
    def load(self, numbers: dict[str, Tensor]) -> None:
        """Write back what `copy` returned."""
        for name, value in {"": self.flat, **self.others()}.items():
            value.copy_(numbers[name])

    def are_finite(self) -> bool:
        """Return whether every trainable number is finite."""
        return bool(torch.isfinite(self.flat.detach().sum()))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state as a flat mapping `"{parameter}.{key}"` -> tensor or plain value, copied."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value.clone() if isinstance(value, Tensor) else value
        for index, entries in state.items()
        for key, value in entries.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, numbers: dict[str, Any]) -> None:
    """Write back what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in numbers.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value.clone() if isinstance(value, Tensor) else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
