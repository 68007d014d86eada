"""Residual maps y = x + something of low rank, with exact log_dets and inverses: planar, radial, Sylvester."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import require_choice, require_count
from pushforward.numerics.roots import bracketed_root, newton_step
from pushforward.specification import Specified
from pushforward.transforms.argument_checks import check_context
from pushforward.transforms.base import Transform
from pushforward.transforms.conditioning import asked, check_conditioner

MARGIN = 0.05  # the slope along which a map could fold stays above this, so that float32 can invert it
_ZERO = math.log(math.expm1(1 - MARGIN))  # softplus(_ZERO) = 1 - MARGIN


def _above(raw: Tensor) -> Tensor:
    """Map any number to one above -(1 - MARGIN), zero to zero, increasing."""
    return functional.softplus(raw + _ZERO) - (1 - MARGIN)


class Planar(Specified, Transform):
    r"""Planar map y = x + u tanh(w.x + b): one smooth ridge across w.

    `u` is reparametrized so that w.u > -1 + 0.05, which makes the map invertible [1, app. A.1]. `forward` goes from
    data to latent. log_det = log|1 + (1 - tanh^2) w.u|, exact. `inverse` solves a + (w.u) tanh(a + b) = w.y for
    a = w.x, one increasing equation in one unknown, to rounding (which the least slope, 0.05, can enlarge 20 times),
    with exact first derivatives.

    Args:
        features: Number of features D, at least 1.
        conditioner: None for learned parameters only, or a module called with (x[..., :0], context) whose output,
            (*batch, 2 D + 1), is added to u, w and b: an amortized flow, as in a VAE.

    Shape:
        x, y: (*batch, D). log_det: (*batch,), nats.

    Raises:
        ValueError: If `features` < 1.

    Example:
        >>> y, log_det = Planar(2)(torch.zeros(5, 2)); log_det.shape
        torch.Size([5])

    References:
        [1] Rezende & Mohamed (2015), Variational inference with normalizing flows. arXiv:1505.05770, eqs. 10-12.
    """

    features: int

    def __init__(self, features: int, *, conditioner: nn.Module | None = None) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        self.conditioner = conditioner
        self.context_features = check_conditioner(conditioner, optional=True)
        # u is zero, so the map starts as the identity; w is not, or nothing would ever train.
        self.u = nn.Parameter(torch.zeros(features))
        self.w = nn.Parameter(torch.randn(features) / features**0.5)
        self.b = nn.Parameter(torch.zeros(1))

    def _params(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return u, w, b and w.u, each with a last axis."""
        check_context(self, context, x.shape[:-1])
        u, w, b = self.u, self.w, self.b
        if self.conditioner is not None:
            more = _conditioned(self.conditioner, x, context, 2 * self.features + 1)
            du, dw, db = more.split((self.features, self.features, 1), -1)
            u, w, b = u + du, w + dw, b + db
        raw = (u * w).sum(-1, keepdim=True)
        along = _above(raw)
        return u + (along - raw) * w / w.square().sum(-1, keepdim=True).clamp(min=1e-12), w, b, along

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        u, w, b, along = self._params(x, context)
        h = torch.tanh((x * w).sum(-1, keepdim=True) + b)
        return x + u * h, torch.log1p((1 - h.square()) * along).squeeze(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        u, w, b, along = self._params(y, context)
        a = _ridge_root((y * w).sum(-1, keepdim=True), along, torch.ones_like(along), b)
        h = torch.tanh(a + b)
        return y - u * h, -torch.log1p((1 - h.square()) * along).squeeze(-1)


class Radial(Specified, Transform):
    r"""Radial map y = x + beta h (x - centre), h = 1 / (alpha + r), r = |x - centre|: in or out around a point.

    beta / alpha > -1 + 0.05, which makes the map invertible [1, app. A.2]. log_det = (D - 1) log(1 + beta h)
    + log(1 + alpha beta h^2), exact. `inverse` is in closed form: r solves r^2 + (alpha + beta - s) r = alpha s with
    s = |y - centre|.

    Args:
        features: Number of features D, at least 1.
        conditioner: None for learned parameters only, or a module called with (x[..., :0], context) whose output,
            (*batch, D + 2), is added to the centre and the raw alpha and beta.

    Shape:
        x, y: (*batch, D). log_det: (*batch,), nats.

    Raises:
        ValueError: If `features` < 1.

    Example:
        >>> y, log_det = Radial(2)(torch.zeros(5, 2)); log_det.shape
        torch.Size([5])

    References:
        [1] Rezende & Mohamed (2015), Variational inference with normalizing flows. arXiv:1505.05770, eq. 14.
    """

    features: int

    def __init__(self, features: int, *, conditioner: nn.Module | None = None) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        self.conditioner = conditioner
        self.context_features = check_conditioner(conditioner, optional=True)
        self.centre = nn.Parameter(torch.randn(features))
        self.raw_alpha = nn.Parameter(torch.zeros(1))
        self.raw_beta = nn.Parameter(torch.zeros(1))  # zero: the identity

    def _params(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return centre, alpha and beta / alpha, each with a last axis."""
        check_context(self, context, x.shape[:-1])
        centre, raw_alpha, raw_beta = self.centre, self.raw_alpha, self.raw_beta
        if self.conditioner is not None:
            more = _conditioned(self.conditioner, x, context, self.features + 2)
            moved, more_alpha, more_beta = more.split((self.features, 1, 1), -1)
            centre, raw_alpha, raw_beta = centre + moved, raw_alpha + more_alpha, raw_beta + more_beta
        return centre, functional.softplus(raw_alpha) + 1e-3, _above(raw_beta)

    def _log_det(self, stretch: Tensor, alpha_h: Tensor, ratio: Tensor) -> Tensor:
        log_det = (self.features - 1) * torch.log1p(stretch) + torch.log1p(ratio * alpha_h.square())
        return log_det.squeeze(-1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        centre, alpha, ratio = self._params(x, context)
        away = x - centre
        alpha_h = alpha / (alpha + _length(away))
        stretch = ratio * alpha_h  # beta h
        return x + stretch * away, self._log_det(stretch, alpha_h, ratio)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        centre, alpha, ratio = self._params(y, context)
        away = y - centre
        # In units of alpha; clamped where squares would overflow float32 and the map is the identity to rounding.
        s = (_length(away) / alpha).clamp(max=1e18)
        half = (s - 1 - ratio) / 2
        root = (half.square() + s).sqrt()
        # Of the two forms of the positive root, the one without cancellation.
        r = torch.where(half > 0, half + root, s / (root - half.clamp(max=0)))
        alpha_h = 1 / (1 + r)
        stretch = ratio * alpha_h
        return centre + away / (1 + stretch), -self._log_det(stretch, alpha_h, ratio)


class Sylvester(Specified, Transform):
    r"""Sylvester map y = x + Q R tanh(S Q^T x + b) with orthonormal Q (D, M) and upper triangular R, S (M, M).

    M ridges at once, that see one another. The diagonals keep R_ii S_ii > -1 + 0.05, which makes the map invertible.
    log_det = sum_i log(1 + (1 - tanh^2)_i R_ii S_ii), exact. `inverse` finds Q^T x by back-substitution: M increasing
    equations in one unknown, last to first.

    Args:
        features: Number of features D, at least 1.
        rank: M, from 1 to D; D by default.
        mode: "householder": Q is the first M columns of a product of M learned reflections; "orthogonal": Q comes
            from a learned matrix by QR decomposition.

    Shape:
        x, y: (*batch, D). log_det: (*batch,), nats.

    Raises:
        ValueError: If `features`, `rank` or `mode` is not valid.

    Example:
        >>> y, log_det = Sylvester(3, rank=2)(torch.zeros(5, 3)); log_det.shape
        torch.Size([5])

    References:
        van den Berg et al. (2018), Sylvester normalizing flows for variational inference. arXiv:1803.05649, theorem 2.
    """

    features: int

    def __init__(self, features: int, *, rank: int | None = None, mode: str = "householder") -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        self.rank = features if rank is None else require_count("rank", rank, most=features)
        self.mode = require_choice("mode", mode, ("householder", "orthogonal"))
        self.directions = nn.Parameter(torch.randn(features, self.rank))
        # R is zero, so the map starts as the identity; S is not, or nothing would ever train.
        self.outer = nn.Parameter(torch.zeros(self.rank, self.rank))
        self.inner = nn.Parameter(torch.eye(self.rank) + 0.1 * torch.randn(self.rank, self.rank))
        self.b = nn.Parameter(torch.zeros(self.rank))

    def _params(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return Q, R, S and the products R_ii S_ii."""
        if self.mode == "orthogonal":
            q = torch.linalg.qr(self.directions)[0]
        else:
            q = torch.eye(self.features, dtype=self.directions.dtype, device=self.directions.device)[:, : self.rank]
            for v in self.directions.unbind(-1):
                q = q - torch.outer(v, v @ q) * (2 / v.square().sum().clamp(min=1e-12))
        s = self.inner.triu()
        # A diagonal of S away from zero keeps R_ii = (R_ii S_ii) / S_ii finite.
        scale = functional.softplus(self.inner.diagonal()) + 1e-2
        s = s - s.diagonal().diag() + scale.diag()
        along = _above(self.outer.diagonal())
        r = self.outer.triu(1) + (along / scale).diag()
        return q, r, s, along

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        q, r, s, along = self._params()
        h = torch.tanh(functional.linear(x @ q, s, self.b))
        return x + h @ (q @ r).T, torch.log1p((1 - h.square()) * along).sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        q, r, s, along = self._params()
        targets = y @ q
        found: list[Tensor] = []  # components of Q^T x, last first
        ridges: list[Tensor] = []
        for i in reversed(range(self.rank)):
            offset, target = self.b[i].expand(y.shape[:-1]), targets[..., i]
            for back, (v, h) in enumerate(zip(found, ridges, strict=True)):
                j = self.rank - 1 - back
                offset, target = offset + s[i, j] * v, target - r[i, j] * h
            v = _ridge_root(target, r[i, i].expand_as(target), s[i, i].expand_as(target), offset)
            found.append(v)
            ridges.append(torch.tanh(s[i, i] * v + offset))
        h = torch.stack(ridges[::-1], -1)
        return y - h @ (q @ r).T, -torch.log1p((1 - h.square()) * along).sum(-1)


def _ridge_root(target: Tensor, outer: Tensor, inner: Tensor, offset: Tensor) -> Tensor:
    """Return v with v + outer tanh(inner v + offset) = target, where outer * inner > -1: increasing in v."""
    given = torch.broadcast_tensors(target, outer, inner, offset)
    target, outer, inner, offset = (tensor.detach() for tensor in given)
    root = bracketed_root(lambda v: _ridge(v, target, outer, inner, offset), target - outer.abs(), target + outer.abs())
    return newton_step(lambda v: _ridge(v, *given), root)


def _ridge(v: Tensor, target: Tensor, outer: Tensor, inner: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Return v + outer tanh(inner v + offset) - target and its slope."""
    h = torch.tanh(inner * v + offset)
    return v + outer * h - target, 1 + outer * inner * (1 - h.square())


def _conditioned(conditioner: nn.Module, x: Tensor, context: Tensor | None, size: int) -> Tensor:
    """Return what the conditioner adds to the parameters, (*batch, size)."""
    more = asked(conditioner, x[..., :0], context)
    if more.shape[-1] != size:
        raise ValueError(f"the conditioner must return {size} numbers; got {more.shape[-1]}.")
    return more


def _length(v: Tensor) -> Tensor:
    """Return |v| along the last axis, (..., 1), without overflow and with a finite gradient at 0."""
    largest = v.detach().abs().amax(-1, keepdim=True).clamp(min=1e-12)
    return largest * ((v / largest).square().sum(-1, keepdim=True) + 1e-30).sqrt()
