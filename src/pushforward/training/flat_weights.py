"""A model's trainable parameters as one flat vector, so that a step touches one tensor instead of dozens."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pushforward.training.ranks import RIDERS


@contextmanager
def laid_flat(model: nn.Module) -> Iterator["Weights"]:
    """Lay a model's trainable parameters flat; afterwards each has storage of its own again, and no gradient."""
    weights = Weights(model)
    try:
        yield weights
    finally:
        for value in weights.parameters.values():
            value.data = value.data.clone()
            value.grad = None


class Weights:
    """The trainable parameters of a model, and their gradients, laid out in two flat vectors.

    Every parameter is a view of `flat` and its gradient a view of `flat.grad`; the parameters remain the same objects.

    Args:
        model: The model, its trainable parameters of one dtype and device; the others stay as they are.

    Attributes:
        summed: The gradients, and behind them room for what processes that share a run tell each other along with them.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.model = model
        self.sizes = [value.numel() for value in self.parameters.values()]
        self.flat = nn.Parameter(torch.cat([value.detach().reshape(-1) for value in self.parameters.values()]))
        self.summed = torch.zeros(len(self.flat) + RIDERS, dtype=self.flat.dtype, device=self.flat.device)
        self.flat.grad = self.summed[: len(self.flat)]
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

    def copy(self) -> dict[str, Tensor]:
        """Return copies of all the model's numbers: the flat vector (under no name), frozen parameters and buffers."""
        return {name: value.detach().clone() for name, value in {"": self.flat, **self.others()}.items()}

    def on_the_cpu(self) -> dict[str, Tensor]:
        """Return what `copy` returns, on the CPU."""
        return {name: value.cpu() for name, value in self.copy().items()}

    @torch.no_grad()
    def load(self, numbers: dict[str, Tensor]) -> None:
        """Write back what `copy` returned."""
        for name, value in {"": self.flat, **self.others()}.items():
            value.copy_(numbers[name])

    def are_finite(self) -> bool:
        """Return whether every trainable number is finite."""
        return bool(torch.isfinite(self.flat.detach().sum()))
