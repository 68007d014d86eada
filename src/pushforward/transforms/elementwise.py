"""Maps that treat each feature by itself: fixed or learned scale and shift, and any univariate family."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import InputError, described, require_count, require_flag
from pushforward.specification import Specified, readable, shown
from pushforward.transforms.argument_checks import check_context
from pushforward.transforms.base import Transform
from pushforward.transforms.conditioning import check_conditioner, check_univariate, parameters_from
from pushforward.transforms.univariate import Univariate


def _hold(owner: nn.Module, name: str, value: float | Sequence[float] | Tensor, learned: bool) -> None:
    """Keep `value` as a floating-point parameter or buffer of shape () or (D,)."""
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be a number or one number a feature; got {described(value)}.") from error
    if tensor.ndim > 1 or tensor.dtype == torch.bool or tensor.is_complex() or not tensor.numel():
        raise InputError(f"{name} must be a number or one number a feature; got {shown(tensor)}.")
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.get_default_dtype())
    if tensor.ndim:
        owner.features = len(tensor)  # type: ignore[assignment]
    if require_flag("learned", learned):
        owner.register_parameter(name, nn.Parameter(tensor.clone()))
    else:
        owner.register_buffer(name, tensor.clone())


def _like(x: Tensor, value: Tensor) -> Tensor:
    """Return `value` in the dtype of x; integers are not a dtype to round it to."""
    return value.to(x.dtype) if x.is_floating_point() else value


class Scale(Specified, Transform):
    """y = factor * x, log_det = sum log|factor|.

    Args:
        factor: One number, or one a feature; negative numbers mirror, zero is refused.
        learned: Whether `fit` changes it.

    Raises:
        ValueError: If a factor is zero or not finite.

    Example:
        >>> Scale((2.0, -0.5))(torch.ones(2))
        (tensor([ 2.0000, -0.5000]), tensor(0.))
    """

    factor: Tensor

    def __init__(self, factor: float | Sequence[float] | Tensor, *, learned: bool = False) -> None:
        super().__init__()
        self.learned = learned
        _hold(self, "factor", factor, learned)
        values = readable("factor", factor)
        if not bool((values.isfinite() & (values != 0)).all()):
            raise InputError(f"factor must be finite and not zero; got {values.tolist()}.")

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        factor = _like(x, self.factor)
        return x * factor, self._log_det(x, factor)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        factor = _like(y, self.factor)
        return y / factor, -self._log_det(y, factor)

    @staticmethod
    def _log_det(x: Tensor, factor: Tensor) -> Tensor:
        return factor.abs().log().expand(x.shape[-1]).sum().expand(x.shape[:-1])


class Shift(Specified, Transform):
    """y = x + offset, log_det = 0.

    Args:
        offset: One number, or one a feature.
        learned: Whether `fit` changes it.

    Raises:
        InputError: If an offset is not finite.
    """

    offset: Tensor

    def __init__(self, offset: float | Sequence[float] | Tensor, *, learned: bool = False) -> None:
        super().__init__()
        self.learned = learned
        _hold(self, "offset", offset, learned)
        values = readable("offset", offset)
        if not bool(values.isfinite().all()):
            raise InputError(f"offset must be finite; got {values.tolist()}.")

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        offset = _like(x, self.offset)
        return x + offset, offset.new_zeros(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        offset = _like(y, self.offset)
        return y - offset, offset.new_zeros(y.shape[:-1])


class Elementwise(Specified, Transform):
    """A univariate map of each feature, y_i = f(x_i; params_i), with parameters of its own or from the context.

    Args:
        features: Number of features D.
        univariate: The family of maps.
        conditioner: None for learned parameters, or a module called with (x[..., :0], context) that returns
            (*batch, num_params * D), the first parameter of all features, then the second.

    Shape:
        x, y: (*batch, D). log_det: (*batch,), nats.
    """

    features: int

    def __init__(self, features: int, univariate: Univariate, conditioner: nn.Module | None = None) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        check_univariate(univariate)
        self.univariate, self.conditioner = univariate, conditioner
        self.context_features = check_conditioner(conditioner, optional=True)
        self.params = None if conditioner is not None else nn.Parameter(torch.zeros(features, univariate.num_params))

    def _params(self, x: Tensor, context: Tensor | None) -> Tensor:
        check_context(self, context, x.shape[:-1])
        if self.conditioner is None:
            assert self.params is not None
            # Batch axes of size 1, not stretched: a spline's knots are then computed once and not for every row.
            return self.params.view(*[1] * (x.ndim - 1), *self.params.shape)
        return parameters_from(self.conditioner, x[..., :0], context, self.features, self.univariate)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        y, log_det = self.univariate.forward(x, self._params(x, context))
        return y, log_det.sum(-1).expand(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        x, log_det = self.univariate.inverse(y, self._params(y, context))
        return x, log_det.sum(-1).expand(y.shape[:-1])
