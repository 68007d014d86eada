"""Coupling: some features pass through and decide how the others are transformed."""

import torch
from torch import Tensor, nn

from pushforward.kernels.link import Link
from pushforward.specification import Specified, hold_structure, readable_mask
from pushforward.transforms.argument_checks import check_context
from pushforward.transforms.base import Transform
from pushforward.transforms.conditioning import check_conditioner, check_univariate, parameters_from
from pushforward.transforms.kernel_links import coupling_link
from pushforward.transforms.univariate import Univariate


class Coupling(Specified, Transform):
    r"""Masked coupling: y_i = x_i where mask_i, y_i = f(x_i; conditioner(x[mask], context)) elsewhere.

    With `Affine` it is eqs. 15-17 of RealNVP's masked form, y = b x + (1 - b)(x exp(s(b x)) + t(b x))
    (arXiv:1605.08803), with one network on the kept features instead of two full-width ones on b * x. The Jacobian is
    triangular up to the order of the features; log_det = sum log dy_i/dx_i over the transformed ones.

    Args:
        mask: Boolean, (D,); True passes through unchanged. At least one of each.
        univariate: The family of maps for the transformed features.
        conditioner: Any module `(kept, context) -> (*batch, num_params * num_transformed)`: the first parameter of all
            transformed features, then the second. kept: (*batch, num_kept).

    Raises:
        ValueError: If the mask is not boolean and 1-D, or keeps all or no features.

    Example:
        >>> import pushforward as pf
        >>> net = pf.nets.MLP(1, 1 * 2)
        >>> layer = Coupling(torch.tensor([True, False]), pf.transforms.Affine(), net)
        >>> layer(torch.ones(5, 2))[1].shape
        torch.Size([5])
    """

    mask: Tensor
    kept: Tensor
    transformed: Tensor
    order: Tensor

    def __init__(self, mask: Tensor, univariate: Univariate, conditioner: nn.Module) -> None:
        super().__init__()
        check_univariate(univariate)
        values = readable_mask("mask", mask)
        kept, transformed = values.nonzero().squeeze(-1), (~values).nonzero().squeeze(-1)
        self.num_kept, self.num_transformed = num_kept, num_transformed = len(kept), len(transformed)
        self.features, self.univariate, self.conditioner = len(values), univariate, conditioner
        self.context_features = check_conditioner(conditioner)
        hold_structure(self, mask, mask=values)
        # Where the kept features are the first or the last ones, two views stand for three copies by index.
        self.layout = "first" if values[:num_kept].all() else "last" if values[num_transformed:].all() else "any"
        if self.layout == "any":
            order = torch.cat((kept, transformed)).argsort()
            hold_structure(self, mask, kept=kept, transformed=transformed, order=order)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.layout == "first":
            kept, transformed = x.split((self.num_kept, self.num_transformed), -1)
            return kept, transformed
        if self.layout == "last":
            transformed, kept = x.split((self.num_transformed, self.num_kept), -1)
            return kept, transformed
        return x.index_select(-1, self.kept), x.index_select(-1, self.transformed)

    def _merge(self, kept: Tensor, transformed: Tensor) -> Tensor:
        if self.layout == "first":
            return torch.cat((kept, transformed), -1)
        if self.layout == "last":
            return torch.cat((transformed, kept), -1)
        return torch.cat((kept, transformed), -1).index_select(-1, self.order)

    def _params(self, kept: Tensor, context: Tensor | None) -> Tensor:
        check_context(self, context, kept.shape[:-1])
        return parameters_from(self.conditioner, kept, context, self.num_transformed, self.univariate)

    def kernel_link(self) -> Link | None:  # noqa: D102
        return coupling_link(self.mask, self.univariate, self.conditioner) if type(self) is Coupling else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        kept, transformed = self._split(x)
        transformed, log_det = self.univariate.forward(transformed, self._params(kept, context))
        return self._merge(kept, transformed), log_det.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        kept, transformed = self._split(y)
        transformed, log_det = self.univariate.inverse(transformed, self._params(kept, context))
        return self._merge(kept, transformed), log_det.sum(-1)
