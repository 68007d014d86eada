"""A multilayer perceptron whose outputs depend on chosen inputs only."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import InputError, require_count, require_widths
from pushforward.nets.mlp import Input, activation_named, has_its_layers, require_dropout, zero_last
from pushforward.specification import Specified, hold_structure, readable, shown


def _masks(adjacency: Tensor, num_params: int, widths: Sequence[int], context: bool) -> list[Tensor]:
    """Return one mask a layer, (out, in), so that output i is reached from input j exactly where adjacency[i, j].

    Each hidden unit stands for one set of inputs, a distinct row of the adjacency matrix, and listens to units whose
    set it contains (for a triangular matrix these are the degrees of MADE, arXiv:1502.03509). Units of the empty set
    carry the context to the outputs that see no input; without context they would be idle.
    """
    rows = torch.unique(adjacency, dim=0)
    rows = rows if context or not bool(adjacency.any()) else rows[rows.any(1)]
    units = [rows[_chosen(len(rows), width)] for width in widths]
    between = [_contains(after, before) for before, after in zip(units[:-1], units[1:], strict=True)]
    return [units[0], *between, _contains(adjacency, units[-1]).repeat(num_params, 1)]


def _chosen(num_sets: int, width: int) -> Tensor:
    """Return which set each unit stands for: all in turn, or, with fewer units than sets, some evenly spread."""
    if width >= num_sets:
        return torch.arange(width, device="cpu") % num_sets
    return torch.linspace(0, num_sets - 1, width, device="cpu").long()


def _contains(larger: Tensor, smaller: Tensor) -> Tensor:
    """Whether larger[i] contains smaller[j]: no element of smaller[j] lies outside larger[i]."""
    return ((~larger).float() @ smaller.float().T) == 0


class MaskedMLP(Specified, nn.Module):
    """Multilayer perceptron with masked weights: block i of the output depends on input j only where adjacency[i, j].

    With adjacency[i, j] = (j comes before i) it is the conditioner of an autoregressive flow (MADE, arXiv:1502.03509).
    The last layer starts at zero.

    Args:
        adjacency: Boolean matrix, (num_outputs, in_features).
        num_params: Numbers per output.
        hidden_features: Widths of the hidden layers, at least one (an integer is two layers of that width); fewer units
            than distinct rows of `adjacency` lose connections that the matrix allows.
        context_features: Size of the context, seen by every output; 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.

    Shape:
        x: (*batch, in_features). Output: (*batch, num_params * num_outputs), the first number of every
            output, then the second.
    """

    mask_0: Tensor

    def __init__(
        self,
        adjacency: Tensor,
        num_params: int = 1,
        *,
        hidden_features: int | Sequence[int] = (64, 64),
        context_features: int = 0,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_params = num_params = require_count("num_params", num_params)
        self.hidden_features = hidden_features = require_widths("hidden_features", hidden_features)
        self.context_features = context_features = require_count("context_features", context_features, 0)
        values = readable("adjacency", adjacency)
        if values.dtype != torch.bool or values.ndim != 2:
            raise InputError(f"adjacency must be a boolean matrix; got {shown(values)}.")
        self.activation, self.dropout = activation, require_dropout(dropout)
        self._activation = activation_named(activation)
        num_outputs, in_features = values.shape
        widths = (in_features, *hidden_features, num_outputs * num_params)
        hold_structure(self, adjacency, adjacency=values)
        self.first = Input(in_features, hidden_features[0], context_features)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[1:-2], widths[2:-1], strict=True))
        self.last = zero_last(nn.Linear(widths[-2], widths[-1]))
        # The masks are no structure, though they follow from it: a model keeps those that it was trained with.
        for position, mask in enumerate(_masks(values, num_params, hidden_features, context_features > 0)):
            self.register_buffer(f"mask_{position}", mask.to(self.last.weight))
        self._dropout = nn.Dropout(dropout)

    def is_plain(self) -> bool:
        """Return whether it has the layers and the activation that it was made with."""
        return has_its_layers(self)

    def masks(self) -> list[Tensor]:
        """Return the mask of each layer, (out, in)."""
        return [getattr(self, f"mask_{position}") for position in range(len(self.hidden) + 2)]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters for x and context."""
        h = self._activation(self.first(x, context, self.mask_0))
        for position, layer in enumerate([*self.hidden, self.last], 1):
            h = functional.linear(self._dropout(h), layer.weight * getattr(self, f"mask_{position}"), layer.bias)
            if layer is not self.last:
                h = self._activation(h)
        return h
