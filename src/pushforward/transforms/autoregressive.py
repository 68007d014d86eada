"""Autoregressive map: each feature is transformed given the features before it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.kernels.link import Link
from pushforward.specification import Specified, hold_structure, readable_permutation
from pushforward.transforms.argument_checks import check_context
from pushforward.transforms.base import Transform
from pushforward.transforms.conditioning import check_conditioner, check_univariate, parameters_from
from pushforward.transforms.kernel_links import autoregressive_link
from pushforward.transforms.univariate import Univariate


def autoregressive_adjacency(order: Sequence[int] | Tensor) -> Tensor:
    """Return the matrix for `MaskedMLP`: [i, j] is True where feature j comes before feature i.

    Args:
        order: The features in the order in which they are transformed, (D,).
    """
    rank = readable_permutation("order", order).argsort()
    return rank[:, None] > rank[None, :]


class Autoregressive(Specified, Transform):
    """y_i = f(x_i; conditioner(x before i, context)): one pass `forward` (MAF, arXiv:1705.07057).

    `inverse` takes D passes one after another, in time and (with gradients) in memory. `Inverse(Autoregressive(...))`
    is an IAF (arXiv:1606.04934): fast to sample, D passes to score.

    Args:
        order: The features in the order in which they are transformed, a permutation of 0..D-1, (D,).
        univariate: The family of maps.
        conditioner: Any module `(x, context) -> (*batch, num_params * D)`, the first parameter of all features, then
            the second, those of feature i depending on features before i alone: such as
            `MaskedMLP(autoregressive_adjacency(order), num_params)`.

    Raises:
        ValueError: If `order` is not a permutation.
    """

    order: Tensor

    def __init__(self, order: Sequence[int] | Tensor, univariate: Univariate, conditioner: nn.Module) -> None:
        super().__init__()
        check_univariate(univariate)
        values = readable_permutation("order", order)
        self.features, self.univariate, self.conditioner = len(values), univariate, conditioner
        self.context_features = check_conditioner(conditioner)
        self.inverse_passes = len(values)
        hold_structure(self, order, order=values)

    def _params(self, x: Tensor, context: Tensor | None) -> Tensor:
        return parameters_from(self.conditioner, x, context, len(self.order), self.univariate)

    def kernel_link(self) -> Link | None:  # noqa: D102
        if type(self) is not Autoregressive:
            return None
        return autoregressive_link(self.order, self.univariate, self.conditioner)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        y, log_det = self.univariate.forward(x, self._params(x, context))
        return y, log_det.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        x, log_det = torch.zeros_like(y), y.new_zeros(y.shape[:-1])
        # Features that are not yet known stay at zero: the conditioner never sees garbage that could overflow.
        for feature in self.order.split(1):
            params = self._params(x, context).index_select(-2, feature)
            value, step = self.univariate.inverse(y.index_select(-1, feature), params)
            x = x.index_copy(-1, feature, value)
            log_det = log_det + step.squeeze(-1)
        return x, log_det
