"""Plain and residual multilayer perceptrons with an optional context."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import require_choice, require_count, require_number, require_widths
from pushforward.specification import Specified

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}


def activation_named(name: str) -> Callable[[Tensor], Tensor]:
    """Return the activation function called `name`; InputError lists the names there are."""
    return ACTIVATIONS[require_choice("activation", name, ACTIVATIONS)]


def require_dropout(value: float) -> float:
    """Return the share of hidden values dropped, or raise InputError unless it is from 0 to below 1."""
    return require_number("dropout", value, least=0, below=1)


class Input(nn.Module):
    """The first layer: one linear map of x and context side by side.

    The context's share is computed at the context's own shape and then broadcast, so that drawing many samples for one
    context costs one row of it.

    Args:
        in_features: Size of x; 0 when only the context speaks.
        out_features: Size of the result.
        context_features: Size of the context; 0 for none.
    """

    def __init__(self, in_features: int, out_features: int, context_features: int = 0) -> None:
        super().__init__()
        # One matrix, split on use: its initial range is that of a plain layer on (x, context).
        joint = nn.Linear(max(in_features + context_features, 1), out_features)
        self.weight = nn.Parameter(joint.weight.detach()[:, :in_features].clone())
        self.bias = nn.Parameter(joint.bias.detach())
        self.context_weight = nn.Parameter(joint.weight.detach()[:, in_features:].clone()) if context_features else None

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return W x + V context + b, (*batch, out_features), with W * mask for W where a mask is given."""
        weight = self.weight if mask is None else self.weight * mask
        if self.context_weight is None:
            return functional.linear(x, weight, self.bias)
        if context is None:
            raise ValueError(f"the network needs context with {self.context_weight.shape[1]} features; none was given.")
        from_context = functional.linear(context.to(x.dtype), self.context_weight, self.bias)
        if not self.weight.shape[1]:
            return from_context.expand(*x.shape[:-1], -1)
        return functional.linear(x, weight) + from_context


def has_its_layers(net: Any) -> bool:
    """Return whether a network has the layers and the activation that it was made with."""
    return (
        type(net.first) is Input
        and all(type(layer) is nn.Linear and layer.bias is not None for layer in (*net.hidden, net.last))
        and net._activation is ACTIVATIONS[net.activation]
        and type(net._dropout) is nn.Dropout
    )


def zero_last(layer: Layer) -> Layer:
    """Return the layer with weight and bias at zero, so that the map it parametrizes starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class MLP(Specified, nn.Module):
    """Multilayer perceptron; the last layer starts at zero.

    Args:
        in_features: Size of the input; 0 if the context alone decides.
        out_features: Size of the output.
        hidden_features: Widths of the hidden layers, at least one; an integer is two layers of that width.
        context_features: Size of the context, 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training.

    Shape:
        x: (*batch, in_features), context: (C,) or broadcastable to (*batch, C). Output: (*batch, out_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int | Sequence[int] = (64, 64),
        context_features: int = 0,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_features = in_features = require_count("in_features", in_features, 0)
        self.out_features = out_features = require_count("out_features", out_features)
        self.hidden_features = hidden_features = require_widths("hidden_features", hidden_features)
        self.context_features = context_features = require_count("context_features", context_features, 0)
        self.activation, self.dropout = activation, require_dropout(dropout)
        self._activation = activation_named(activation)
        self.first = Input(in_features, hidden_features[0], context_features)
        self.hidden = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(hidden_features[:-1], hidden_features[1:], strict=True)
        )
        self.last = zero_last(nn.Linear(hidden_features[-1], out_features))
        self._dropout = nn.Dropout(dropout)

    def is_plain(self) -> bool:
        """Return whether it has the layers and the activation that it was made with."""
        return has_its_layers(self)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters for x and context."""
        h = self._activation(self.first(x, context))
        for layer in self.hidden:
            h = self._hidden(layer, self._dropout(h))
        return self.last(self._dropout(h))

    def _hidden(self, layer: Any, h: Tensor) -> Tensor:
        """Return the activation of a layer: on CUDA without gradients product, bias and ReLU are one kernel."""
        if self.activation != "relu" or not h.is_cuda or torch.is_grad_enabled() or not self._may_be_joined(h):
            return self._activation(layer(h))
        joined = torch._addmm_activation(layer.bias, h.reshape(-1, h.shape[-1]), layer.weight.t())
        return joined.reshape(*h.shape[:-1], -1)

    def _may_be_joined(self, h: Tensor) -> bool:
        """Return whether nothing looks at a layer's own result."""
        return (
            self.is_plain()
            and h.dtype == self.last.weight.dtype
            and not torch.is_autocast_enabled("cuda")
            and not torch.compiler.is_compiling()
            and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in self.hidden)
        )


class ResidualMLP(Specified, nn.Module):
    """Residual network of pre-activation blocks h + W2 a(W1 a(h)), as in neural spline flows (arXiv:1906.04032).

    Args:
        in_features: Size of the input; 0 if the context alone decides.
        out_features: Size of the output.
        hidden_features: Width of every block.
        num_blocks: Number of blocks.
        context_features: Size of the context, 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training, inside each block.

    Shape:
        As `MLP`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int = 64,
        num_blocks: int = 2,
        context_features: int = 0,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_features = in_features = require_count("in_features", in_features, 0)
        self.out_features = out_features = require_count("out_features", out_features)
        self.hidden_features = hidden_features = require_count("hidden_features", hidden_features)
        self.num_blocks = num_blocks = require_count("num_blocks", num_blocks)
        self.context_features = context_features = require_count("context_features", context_features, 0)
        self.activation, self.dropout = activation, require_dropout(dropout)
        self._activation = activation_named(activation)
        self.first = Input(in_features, hidden_features, context_features)
        self.inner = nn.ModuleList(nn.Linear(hidden_features, hidden_features) for _ in range(num_blocks))
        self.outer = nn.ModuleList(nn.Linear(hidden_features, hidden_features) for _ in range(num_blocks))
        self.last = zero_last(nn.Linear(hidden_features, out_features))
        self._dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters for x and context."""
        h = self.first(x, context)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            h = h + outer(self._dropout(self._activation(inner(self._activation(h)))))
        return self.last(self._activation(h))
