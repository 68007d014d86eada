"""Linear mixing of features: permutations, fixed rotations, learned LU matrices."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import require_count
from pushforward.kernels.link import Link
from pushforward.numerics.generators import check_generator
from pushforward.numerics.triangular import solve_triangular
from pushforward.specification import Specified, hold_structure, readable_permutation
from pushforward.transforms.argument_checks import check_context
from pushforward.transforms.base import Transform


class Permutation(Specified, Transform):
    """y_i = x_(permutation_i), log_det = 0.

    Args:
        permutation: A permutation of 0..D-1, (D,). `reverse`, `swap_halves` and `random` make the usual ones.

    Raises:
        ValueError: If it is not a permutation.

    Example:
        >>> Permutation.reverse(3)(torch.tensor([1.0, 2.0, 3.0]))[0]
        tensor([3., 2., 1.])
    """

    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(self, permutation: Sequence[int] | Tensor) -> None:
        super().__init__()
        values = readable_permutation("permutation", permutation)
        self.features = len(values)
        hold_structure(self, permutation, permutation=values, inverse_permutation=values.argsort())

    @classmethod
    def reverse(cls, features: int) -> "Permutation":
        """Return the one that turns the order around."""
        return cls(torch.arange(require_count("features", features), device="cpu").flip(0))

    @classmethod
    def swap_halves(cls, features: int) -> "Permutation":
        """Return the one that puts the second half first."""
        features = require_count("features", features)
        return cls(torch.arange(features, device="cpu").roll(features // 2))

    @classmethod
    def random(cls, features: int, *, generator: torch.Generator | None = None) -> "Permutation":
        """Return a random one, drawn once."""
        features = require_count("features", features)
        check_generator(generator)
        return cls(torch.randperm(features, generator=generator, device="cpu"))

    def kernel_link(self) -> Link | None:  # noqa: D102
        if type(self) is not Permutation:
            return None
        order = self.permutation.to("cpu", torch.int32).numpy().copy()
        return Link("permutation", order=order)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        return x.index_select(-1, self.permutation), x.new_zeros(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        return y.index_select(-1, self.inverse_permutation), y.new_zeros(y.shape[:-1])


class Orthogonal(Specified, Transform):
    """y = Q x with a fixed random orthogonal matrix Q, log_det = 0. Q is kept in float64 and used in the dtype of x.

    Args:
        features: Number of features D.
        generator: Source of the matrix; torch's global one by default.
    """

    features: int
    matrix: Tensor

    def __init__(self, features: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        check_generator(generator)
        drawn_on = None if generator is None else generator.device
        drawn = torch.randn(features, features, dtype=torch.float64, generator=generator, device=drawn_on)
        q, r = torch.linalg.qr(drawn.to(torch.empty(0).device))
        # Signs from R make Q uniform on the orthogonal group (Mezzadri 2007, arXiv:math-ph/0609050).
        # Contiguous, as a model file brings it back: another layout is multiplied with other rounding.
        self.register_buffer("matrix", (q * r.diagonal().sign()).contiguous())

    def specification(self) -> dict[str, object]:
        """Return the size; the matrix itself is a buffer."""
        return {"type": "Orthogonal", "features": self.features}

    def kernel_link(self) -> Link | None:  # noqa: D102
        return Link("matrix", matrix=self.matrix) if type(self) is Orthogonal else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        return functional.linear(x, self.matrix.to(x.dtype)), x.new_zeros(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        return functional.linear(y, self.matrix.T.to(y.dtype)), y.new_zeros(y.shape[:-1])


class LULinear(Specified, Transform):
    """y = L U x + b, learned: L unit lower, U upper triangular with a positive diagonal (arXiv:1906.04032, 3.3).

    Starts as the identity. log_det = sum of the log diagonal of U.

    Args:
        features: Number of features D.
    """

    features: int

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        self.lower = nn.Parameter(torch.zeros(features, features))
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def kernel_link(self) -> Link | None:  # noqa: D102
        if type(self) is not LULinear:
            return None
        held = self._parameters
        return Link("lu", lambda: [held[name] for name in ("lower", "upper", "log_diagonal", "bias")])  # type: ignore[misc]

    def _factors(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(self.features, dtype=self.lower.dtype, device=self.lower.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + self.log_diagonal.exp().diag()

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        lower, upper = self._factors()
        return functional.linear(x, lower @ upper, self.bias), self.log_diagonal.sum().expand(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        lower, upper = self._factors()
        columns = (y - self.bias).reshape(-1, self.features).T  # one solve for all rows, (D, N)
        x = solve_triangular(upper, solve_triangular(lower, columns, upper=False), upper=True)
        return x.T.reshape(y.shape), -self.log_diagonal.sum().expand(y.shape[:-1])
