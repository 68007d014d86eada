"""Velocities of continuous flows, v(t, x, context), each with its divergence in closed form."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import require_choice, require_count, require_widths
from pushforward.nets.mlp import Input, zero_last
from pushforward.specification import Specified

Sloped = tuple[Tensor, Tensor]  # an activation's value and slope


def _relu(a: Tensor) -> Sloped:
    return functional.relu(a), (a > 0).to(a.dtype)


def _gelu(a: Tensor) -> Sloped:
    share = torch.special.ndtr(a)
    return a * share, share + a * torch.exp(-a.square() / 2) / math.sqrt(2 * math.pi)


def _silu(a: Tensor) -> Sloped:
    gate = torch.sigmoid(a)
    return a * gate, gate * (1 + a * (1 - gate))


def _tanh(a: Tensor) -> Sloped:
    h = torch.tanh(a)
    return h, 1 - h.square()


# The activations of `nets.mlp`, each with its slope, which the divergence needs.
SLOPED: dict[str, Callable[[Tensor], Sloped]] = {"relu": _relu, "gelu": _gelu, "silu": _silu, "tanh": _tanh}
TIMES = ("concatenated", "film")
TIME_FEATURES = 5


def time_features(t: Tensor, dtype: torch.dtype) -> Tensor:
    """Return t and two waves of it, (*t.shape, 5): a network sees smooth changes in time more easily through them."""
    angle = math.pi * t.to(dtype)
    return torch.stack([t.to(dtype), angle.sin(), angle.cos(), (2 * angle).sin(), (2 * angle).cos()], -1)


class TimeMLP(Specified, nn.Module):
    """Multilayer perceptron of x, t and context; the last layer starts at zero, so the flow starts as the identity.

    Args:
        features: Number of features D.
        hidden_features: Widths of the hidden layers, at least one; an integer is two layers of that width.
        context_features: Size of the context, 0 for none.
        activation: "tanh", "silu", "gelu" or "relu".
        time: "concatenated": time enters beside x; "film": it scales and shifts every hidden layer (FiLM,
            arXiv:1709.07871).

    Shape:
        t: () or (N,). x: (N, D). context: (N, C). Velocity: (N, D). Divergence: (N,).
    """

    def __init__(
        self,
        features: int,
        *,
        hidden_features: int | Sequence[int] = (64, 64),
        context_features: int = 0,
        activation: str = "tanh",
        time: str = "concatenated",
    ) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        self.hidden_features = hidden_features = require_widths("hidden_features", hidden_features)
        self.context_features = context_features = require_count("context_features", context_features, 0)
        self.activation, self.time = activation, require_choice("time", time, TIMES)
        self._sloped = SLOPED[require_choice("activation", activation, SLOPED)]
        self.first = Input(features, hidden_features[0], TIME_FEATURES + context_features)
        self.hidden = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(hidden_features[:-1], hidden_features[1:], strict=True)
        )
        self.last = zero_last(nn.Linear(hidden_features[-1], features))
        widths = hidden_features if time == "film" else ()
        self.film = nn.ModuleList(zero_last(nn.Linear(TIME_FEATURES, 2 * width)) for width in widths)

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the velocity."""
        return self.last(self._layers(t, x, context)[0])

    def with_divergence(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the velocity and its divergence in x."""
        h, slopes = self._layers(t, x, context)
        return self.last(h), self._divergence(slopes)

    def _layers(self, t: Tensor, x: Tensor, context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Return what the last hidden layer gives, and the slope of every hidden layer."""
        times = time_features(t, x.dtype).expand(*x.shape[:-1], -1)
        a = self.first(x, times if context is None else torch.cat((times, context.to(x.dtype)), -1))
        h, slope = self._activated(0, a, times)
        slopes = [slope]
        for index, layer in enumerate(self.hidden, 1):
            h, slope = self._activated(index, layer(h), times)
            slopes.append(slope)
        return h, slopes

    def _activated(self, index: int, a: Tensor, times: Tensor) -> Sloped:
        if not self.film:
            return self._sloped(a)
        change, shift = self.film[index](times).chunk(2, -1)
        h, slope = self._sloped((1 + change) * a + shift)
        return h, (1 + change) * slope

    def _divergence(self, slopes: list[Tensor]) -> Tensor:
        """Return the trace of dv/dx = W_last S_k W_k ... S_1 W_first, the slopes S on diagonals, (N,)."""
        inner, outer = self.first.weight, self.last.weight
        if len(slopes) == 1:
            return slopes[0] @ (inner * outer.T).sum(-1)
        if len(slopes) == 2:
            # Turned round, W_first W_last meet in a matrix that is the same for all rows: D costs nothing.
            meeting = self.hidden[0].weight * (inner @ outer).T  # type: ignore[operator]
            return (slopes[1] * functional.linear(slopes[0], meeting)).sum(-1)
        tangents = slopes[0] * inner.T[:, None]  # (D, N, H): one for each direction
        for layer, slope in zip(self.hidden, slopes[1:], strict=True):
            tangents = slope * functional.linear(tangents, layer.weight)  # type: ignore[arg-type]
        return (tangents * outer[:, None]).sum((0, -1))


class HyperNetwork(Specified, nn.Module):
    r"""Mean of M planar velocities whose weights are networks of time, v = 1/M sum_m u_m(t) tanh(w_m(t).x + b_m(t)).

    The continuous planar flow of arXiv:1806.07366, section 4; u is gated by a sigmoid, as in torchdiffeq's example. Its
    divergence is 1/M sum_m (1 - tanh^2) u_m.w_m. u starts at zero, so the flow starts as the identity.

    Args:
        features: Number of features D.
        width: Number of planar velocities M.
        hidden: Width of the two hidden layers of the network of time.
        context_features: Size of the context, 0 for none; it enters beside t.

    Shape:
        As `TimeMLP`.
    """

    def __init__(self, features: int, *, width: int = 64, hidden: int = 32, context_features: int = 0) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        self.width, self.hidden = width, hidden = require_count("width", width), require_count("hidden", hidden)
        self.context_features = context_features = require_count("context_features", context_features, 0)
        self.first = nn.Linear(1 + context_features, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.inner = nn.Linear(hidden, width * (features + 1))
        self.outer = zero_last(nn.Linear(hidden, width * features))
        self.gate = nn.Linear(hidden, width * features)

    def _weights(self, t: Tensor, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return u and w, (..., M, D), and b, (..., M)."""
        inputs = t.to(x.dtype)[..., None]
        if context is not None:
            inputs = torch.cat((inputs.expand(*context.shape[:-1], 1), context.to(x.dtype)), -1)
        h = torch.tanh(self.second(torch.tanh(self.first(inputs))))
        w, b = self.inner(h).split((self.width * self.features, self.width), -1)
        u = self.outer(h) * torch.sigmoid(self.gate(h))
        shape = (self.width, self.features)
        return u.reshape(*u.shape[:-1], *shape), w.reshape(*w.shape[:-1], *shape), b

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the velocity."""
        return self.with_divergence(t, x, context)[0]

    def with_divergence(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the velocity and its divergence in x."""
        u, w, b = self._weights(t, x, context)
        if u.ndim == 2:  # one time for all rows: plain matrix products
            h = torch.tanh(functional.linear(x, w, b))
            velocity = h @ u
        else:
            h = torch.tanh((w @ x[..., None]).squeeze(-1) + b)
            velocity = (h[..., None, :] @ u).squeeze(-2)
        divergence = ((1 - h.square()) * (u * w).sum(-1)).sum(-1)
        return velocity / self.width, divergence / self.width
