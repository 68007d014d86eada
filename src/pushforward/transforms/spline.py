"""Monotone rational-quadratic splines inside a box, identity outside."""

from dataclasses import dataclass

from torch import Tensor

from pushforward.errors import require_count, require_number
from pushforward.kernels.rational_quadratic import rational_quadratic
from pushforward.specification import Specified
from pushforward.transforms.univariate import Univariate

MOST_BINS = 500


@dataclass(frozen=True)
class RationalQuadratic(Specified, Univariate):
    """Monotone rational-quadratic spline of K bins on [-bound, bound], identity outside (arXiv:1906.04032, eqs. 4-8).

    Parameters of one feature: K raw widths, K raw heights (softmax), K - 1 raw slopes at the inner knots (softplus);
    the slope at both ends of the box is 1, so the map is continuously differentiable. Inputs are clamped to the box
    first and the outputs chosen afterwards, so values and gradients are finite in the tails; the inverse's discriminant
    is kept above zero, where rounding could take it below.

    Args:
        bins: Number of bins K, at least 2.
        bound: Half the side of the box, in units of x, positive.

    Raises:
        InputError: If `bins` is not an integer from 2 to 500, or `bound` not above 0 and finite.
    """

    bins: int = 8
    bound: float = 5.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bins", require_count("bins", self.bins, 2, MOST_BINS))
        object.__setattr__(self, "bound", require_number("bound", self.bound, above=0))

    @property
    def num_params(self) -> int:  # noqa: D102
        return 3 * self.bins - 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return rational_quadratic(x, params, bins=self.bins, bound=self.bound, inverse=False)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return rational_quadratic(y, params, bins=self.bins, bound=self.bound, inverse=True)
