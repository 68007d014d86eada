"""Transforms next to the data, learned from it once: Standardize, Asinh, ActNorm; and the logit for bounded data."""

import math

import torch
from torch import Tensor, nn

from pushforward.errors import require_count, require_number
from pushforward.specification import Specified
from pushforward.transforms.argument_checks import check_context
from pushforward.transforms.base import Transform


def _rows(x: Tensor, features: int) -> Tensor:
    """Return the rows that `initialize` learns from in float64, (N, D), checked."""
    rows = x.detach().reshape(-1, features).to(torch.float64)
    if len(rows) < 2:
        raise ValueError(f"initialize needs at least 2 rows; got {len(rows)}.")
    return rows


def _check_spread(spread: Tensor) -> Tensor:
    """Return the spread of each feature; ValueError names those that have none."""
    if not bool((spread > 0).all()):
        constant = (~(spread > 0)).nonzero().flatten().tolist()
        raise ValueError(f"features {constant} are constant or not finite and have no density: leave them out.")
    return spread


class Standardize(Specified, Transform):
    """y = (x - mean) / std, learned from the rows given to `initialize` (population std); before it, the identity.

    Mean and std are kept in float64 and used in the dtype of x.

    Args:
        features: Number of features D.
    """

    features: int
    mean: Tensor
    std: Tensor
    initialized: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("std", torch.ones(features, dtype=torch.float64))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Learn mean and standard deviation; done once, later calls change nothing."""
        if bool(self.initialized):
            return
        rows = _rows(x, self.features)
        std = _check_spread(rows.std(0, correction=0))
        self.mean.copy_(rows.mean(0))
        self.std.copy_(std)
        self.initialized.fill_(True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        log_det = -self.std.log().sum().to(x.dtype)
        return (x - self.mean.to(x.dtype)) / self.std.to(x.dtype), log_det.expand(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        log_det = self.std.log().sum().to(y.dtype)
        return y * self.std.to(y.dtype) + self.mean.to(y.dtype), log_det.expand(y.shape[:-1])


class Asinh(Specified, Transform):
    """y = (asinh((x - median) / range) - mean) / std: linear near the median, logarithmic in heavy tails.

    `initialize` learns the median, the quartile range and then mean and std of the asinh values; before it, y =
    asinh(x). Where half of a column's values are equal the quartile range is 0; the distance of the 5 % quantiles, or
    else the standard deviation, stands in. Numbers are kept in float64 and used in the dtype of x.

    Args:
        features: Number of features D.
    """

    features: int
    median: Tensor
    range: Tensor
    mean: Tensor
    std: Tensor
    initialized: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        for name, value in (("median", 0.0), ("range", 1.0), ("mean", 0.0), ("std", 1.0)):
            self.register_buffer(name, torch.full((features,), value, dtype=torch.float64))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Learn median, quartile range, mean and standard deviation; done once, later calls change nothing."""
        if bool(self.initialized):
            return
        rows = _rows(x, self.features).sort(0).values
        quantile = [rows[round(q * (len(rows) - 1))] for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
        spread = quantile[3] - quantile[1]
        spread = torch.where(spread > 0, spread, quantile[4] - quantile[0])
        spread = _check_spread(torch.where(spread > 0, spread, rows.std(0, correction=0)))
        values = torch.asinh((rows - quantile[2]) / spread)
        std = _check_spread(values.std(0, correction=0))
        for name, value in (("median", quantile[2]), ("range", spread), ("mean", values.mean(0)), ("std", std)):
            getattr(self, name).copy_(value)
        self.initialized.fill_(True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        u = (x - self.median.to(x.dtype)) / self.range.to(x.dtype)
        y = (torch.asinh(u) - self.mean.to(x.dtype)) / self.std.to(x.dtype)
        # d asinh(u)/du = 1 / sqrt(1 + u^2), which is 1 / |u| where u^2 would overflow; ONNX has no hypot
        size, far = u.abs(), 0.5 * torch.finfo(x.dtype).max ** 0.5
        near = -0.5 * torch.log1p(size.clamp(max=far).square())
        slope = torch.where(size > far, -size.clamp(min=far).log(), near)
        return y, slope.sum(-1) - (self.range.log() + self.std.log()).sum().to(x.dtype)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        v = y * self.std.to(y.dtype) + self.mean.to(y.dtype)
        x = torch.sinh(v) * self.range.to(y.dtype) + self.median.to(y.dtype)
        # log cosh v, without overflow
        slope = v.abs() + torch.log1p(torch.exp(-2 * v.abs())) - math.log(2)
        return x, slope.sum(-1) + (self.range.log() + self.std.log()).sum().to(y.dtype)


class ActNorm(Specified, Transform):
    """y = exp(log_scale) (x + shift), learned by gradient after a data-dependent start (Glow, arXiv:1807.03039, 3.1).

    Args:
        features: Number of features D.
    """

    features: int
    initialized: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start at zero mean and unit variance for these rows; done once, later calls change nothing."""
        if bool(self.initialized):
            return
        rows = _rows(x, self.features)
        std = _check_spread(rows.std(0, correction=0))
        self.shift.copy_(-rows.mean(0))
        self.log_scale.copy_(-std.log())
        self.initialized.fill_(True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        return (x + self.shift) * self.log_scale.exp(), self.log_scale.sum().expand(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        return y * (-self.log_scale).exp() - self.shift, -self.log_scale.sum().expand(y.shape[:-1])


class Logit(Specified, Transform):
    """y = logit(alpha + (1 - 2 alpha) x) for x in [0, 1] (RealNVP, arXiv:1605.08803, 4.1).

    alpha keeps the ends finite. The domain is where the argument lies in (0, 1), [0, 1] and a margin of about alpha;
    outside it log_det = -inf.

    Args:
        alpha: From 0 (both ends at infinity) to below 1/2.
    """

    def __init__(self, alpha: float = 1e-6) -> None:
        super().__init__()
        self.alpha = require_number("alpha", alpha, least=0, below=0.5)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        # 1 - x loses nothing near 1; 1 - p would.
        p, q = self.alpha + (1 - 2 * self.alpha) * x, self.alpha + (1 - 2 * self.alpha) * (1 - x)
        outside = (p <= 0) | (q <= 0)
        tiny = torch.finfo(x.dtype).tiny
        log_p, log_q = p.clamp(min=tiny).log(), q.clamp(min=tiny).log()
        log_det = torch.where(outside, -math.inf, math.log(1 - 2 * self.alpha) - log_p - log_q)
        return log_p - log_q, log_det.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        x = (torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)
        log_det = nn.functional.logsigmoid(y) + nn.functional.logsigmoid(-y) - math.log(1 - 2 * self.alpha)
        return x, log_det.sum(-1)
