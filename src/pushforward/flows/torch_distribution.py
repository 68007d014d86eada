"""A flow as a `torch.distributions.Distribution`."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, distributions

from pushforward.bases import Base
from pushforward.transforms.argument_checks import check_context


class Samplable(Protocol):
    """What a distribution needs of a flow."""

    features: int
    context_features: int
    base: Base

    def log_prob(self, x: Any, context: Any = None) -> Tensor:
        """Return log p(x | context), (*batch,)."""
        ...

    def sample(self, num_samples: int, context: Any = None) -> Tensor:
        """Draw samples without gradients."""

    def sample_and_log_prob(self, num_samples: int, context: Any = None) -> tuple[Tensor, Tensor]:
        """Draw samples with gradients, and their log_prob."""


class FlowDistribution(distributions.Distribution):
    """A flow (with its context, if any) as a torch distribution over events of D features.

    Args:
        flow: The flow.
        context: None, or (*B, C): the batch shape is *B.
        batch_shape: Without context, how many independent copies.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, flow: Samplable, context: Tensor | None = None, *, batch_shape: Sequence[int] = ()) -> None:
        batch_shape = tuple(batch_shape) if context is None else tuple(context.shape[:-1])
        check_context(flow, context, batch_shape)
        self.flow, self.context = flow, context
        super().__init__(torch.Size(batch_shape), torch.Size((flow.features,)), validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether samples carry gradients: the base decides."""
        return self.flow.base.has_rsample

    @property
    def support(self) -> distributions.constraints.Constraint:
        """Real vectors; where the flow's support is smaller, log_prob is -inf outside."""
        return distributions.constraints.real_vector

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "FlowDistribution":
        """Return the distribution repeated to a larger batch shape."""
        if self.context is None:
            return FlowDistribution(self.flow, batch_shape=batch_shape)
        return FlowDistribution(self.flow, self.context.expand(*batch_shape, -1))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value | context): (*S, *B, D) -> (*S, *B)."""
        batch = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        context = self.context
        if context is not None and context.ndim > 1:
            context = context.reshape((1,) * (len(batch) - len(self.batch_shape)) + context.shape)
        return self.flow.log_prob(value.expand(*batch, -1), context)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw (*sample_shape, *B, D) without gradients."""
        return self._shaped(self.flow.sample(self._count(sample_shape), self.context), sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw (*sample_shape, *B, D) with gradients.

        Raises:
            NotImplementedError: If the base's samples carry none.
        """
        if not self.has_rsample:
            raise NotImplementedError(f"samples of {type(self.flow.base).__name__} carry no gradients; use sample().")
        x, _ = self.flow.sample_and_log_prob(self._count(sample_shape), self.context)
        return self._shaped(x, sample_shape)

    def _count(self, sample_shape: Sequence[int]) -> int:
        return math.prod(sample_shape) * (math.prod(self.batch_shape) if self.context is None else 1)

    def _shaped(self, x: Tensor, sample_shape: Sequence[int]) -> Tensor:
        """(*B, S, D) -> (*sample_shape, *B, D)."""
        return x.movedim(-2, 0).reshape(*sample_shape, *self.batch_shape, self.flow.features)
