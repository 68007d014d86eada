"""A multilayer perceptron whose outputs depend on chosen inputs only."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.nets.mlp import Input, activation_named, check_sizes, zero_last
from pushforward.specification import Specified


def _masks(adjacency: Tensor, num_params: int, widths: Sequence[int], context: bool) -> list[Tensor]:
    """Return one mask a layer, (out, in), so that output i is reached from input j exactly where adjacency[i, j].

    Each hidden unit stands for one set of inputs, a distinct row of the adjacency matrix, and listens to units whose
    set it contains (for a triangular matrix these are the degrees of MADE, arXiv:1502.03509). Units of the empty set
    carry the context to the outputs that see no input; without context they would be idle.
    """
    rows = torch.unique(adjacency, dim=0)
    rows = rows if context or not bool(adjacency.any()) else rows[rows.any(1)]
    masks, sets = [], torch.eye(adjacency.shape[1], dtype=torch.bool)
    for width in widths:
        # Spread the sets over the units; with fewer units than sets, evenly over the sets.
        chosen = (
            torch.arange(width) % len(rows) if width >= len(rows) else torch.linspace(0, len(rows) - 1, width).long()
        )
        units = rows[chosen]
        masks.append(_contains(units, sets))
        sets = units
    masks.append(_contains(adjacency, sets).repeat(num_params, 1))
    return masks


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
        hidden_features: Widths of the hidden layers, at least one; fewer units than distinct rows of `adjacency` lose
            connections that the matrix allows.
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
        hidden_features: Sequence[int] = (64, 64),
        context_features: int = 0,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden_features = tuple(hidden_features)
        check_sizes(num_params=num_params, hidden_features=hidden_features, context_features=context_features)
        if adjacency.dtype != torch.bool or adjacency.ndim != 2:
            raise ValueError(
                f"adjacency must be a boolean matrix; got {adjacency.dtype} of shape {tuple(adjacency.shape)}."
            )
        if not hidden_features:
            raise ValueError("hidden_features must name at least one layer; got ().")
        self.num_params, self.hidden_features, self.context_features = num_params, hidden_features, context_features
        self.activation, self.dropout = activation, dropout
        self._activation = activation_named(activation)
        num_outputs, in_features = adjacency.shape
        widths = (in_features, *hidden_features, num_outputs * num_params)
        self.register_buffer("adjacency", adjacency)
        self.first = Input(in_features, hidden_features[0], context_features)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[1:-2], widths[2:-1], strict=True))
        self.last = zero_last(nn.Linear(widths[-2], widths[-1]))
        if adjacency.is_meta:
            masks = [torch.empty(b, a, device="meta") for a, b in zip(widths[:-1], widths[1:], strict=True)]
        else:
            masks = _masks(adjacency, num_params, hidden_features, context_features > 0)
        for position, mask in enumerate(masks):
            self.register_buffer(f"mask_{position}", mask.to(self.last.weight.dtype))
        self._dropout = nn.Dropout(dropout) if dropout else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters for x and context."""
        h = self._activation(self.first(x, context, self.mask_0))
        for position, layer in enumerate([*self.hidden, self.last], 1):
            if self._dropout is not None:
                h = self._dropout(h)
            h = functional.linear(h, layer.weight * getattr(self, f"mask_{position}"), layer.bias)
            if layer is not self.last:
                h = self._activation(h)
        return h
