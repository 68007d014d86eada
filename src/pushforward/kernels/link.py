"""One step of a chain, as the kernel runs it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pushforward.kernels.native import library as native


@dataclass(frozen=True, eq=False)
class Link:
    """One step of a chain, as the kernel runs it.

    Attributes:
        kind: One of `native.KINDS`.
        tensors: Gives the parameters that are there now: of a network weight and bias of each layer and the context's
            weights last; of "lu" lower, upper, log diagonal, bias.
        inverted: Whether it runs the other way.
        order: Of a coupling the kept features, then the others; of an autoregressive step twice the sequence of the
            features; of a permutation y_i = x_order[i].
        matrix: Of "matrix", y = matrix x, orthogonal, (D, D).
        num_kept: Features that the network sees.
        sorted: Of an autoregressive step's network, made by `sorted_network`.
        family: Of the maps, one of `native.FAMILIES`.
        bins, bound: Of splines.
        hidden: Widths of the network's hidden layers.
        activation: One of `native.ACTIVATIONS`.
        context: Size of the context that the network sees.
        dropout: Gives the share of hidden values that are dropped now.
    """

    kind: str
    tensors: Callable[[], list[Tensor]] = list
    inverted: bool = False
    order: np.ndarray | None = None
    matrix: Tensor | None = None
    num_kept: int = 0
    sorted: np.ndarray | None = None
    family: str = "additive"
    bins: int = 0
    bound: float = 0.0
    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    context: int = 0
    dropout: Callable[[], float] = float

    @property
    def in_range(self) -> bool:
        """Whether the kernel's sizes suffice."""
        return len(self.hidden) <= native.MOST_HIDDEN and self.bins <= native.MOST_BINS

    @property
    def num_features(self) -> int:
        """Number of features D of a link with a network."""
        assert self.order is not None
        return len(self.order) // (2 if self.kind == "autoregressive" else 1)

    @property
    def has_network(self) -> bool:
        """Whether it is more than mixing."""
        return self.kind in ("coupling", "autoregressive")
