"""Dequantization: noise between integer levels, uniform or learned as a conditional flow q(u|x)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.bases.density import normal_log_prob
from pushforward.errors import require_count, require_kind
from pushforward.flows.flow import Flow
from pushforward.numerics.generators import check_generator
from pushforward.specification import Specified


def dequantized(x: Tensor, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Add uniform noise to integers: k -> k + u, u in (0, 1) drawn from the generator."""
    k = x.to(dtype)
    return _between_levels(k, torch.rand(k.shape, generator=generator, dtype=dtype, device=k.device))


def _between_levels(k: Tensor, u: Tensor) -> Tensor:
    """Return k + u for integers k and noise u, with neither end reached.

    A sum that rounds up to k + 1, or a u of 0, would leave a logit's domain.
    """
    return torch.minimum(k + u.clamp(min=2.0**-25), torch.nextafter(k + 1, k))


class VariationalDequantization(Specified, nn.Module):
    r"""Integers x = k as a density of k + u, u in (0, 1) drawn from a learned q(u|k) instead of the uniform law.

    log P(k) >= E_q[log p(k + u) - log q(u|k)]  (Flow++, arXiv:1902.00275, eq. 12), with q as tight as `noise` can make
    it. u = Phi(v), Phi the normal distribution function and v a sample of the flow `noise`: a new flow, the identity,
    gives uniform noise. Train both with `pf.fit(model, x, loss=pf.losses.dequantized_nll)`, without `dequantize=`.
    What p has learned stays a flow of its own: `model.flow.sample(n).floor()` gives integers.

    Args:
        flow: Density p over D features in units of a level, context allowed.
        noise: A flow over D features with D features of context, for example
            `pf.recipes.realnvp(D, context_features=D)`. Its context is 2 k / (levels - 1) - 1.
        levels: Number of integer levels.

    Raises:
        ValueError: If the flows do not fit each other, or levels is below 2.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.recipes.realnvp(4, preprocessing=pf.data.pixel_units("logit"))
        >>> model = VariationalDequantization(flow, pf.recipes.realnvp(4, context_features=4, num_layers=2))
        >>> x = torch.randint(256, (100, 4))
        >>> history = pf.fit(model, x, loss=pf.losses.dequantized_nll, num_steps=5, progress=False)
        >>> model.bound(x).shape
        torch.Size([100])
    """

    takes_integers = True

    def __init__(self, flow: Flow, noise: Flow, levels: int = 256) -> None:
        super().__init__()
        for name, value in (("flow", flow), ("noise", noise)):
            require_kind(name, value, Flow, "a Flow")
        if not flow.features == noise.features == noise.context_features:
            raise ValueError(
                f"noise must have the flow's {flow.features} features, and as many of context; got {noise.features} "
                f"features and context_features={noise.context_features}."
            )
        self.flow, self.noise, self.levels = flow, noise, require_count("levels", levels, 2)
        self.features, self.context_features = flow.features, flow.context_features
        self.eval()

    def bound(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return a lower bound of log P(x | context) in nats: (n, D) -> (n,).

        log (1/K) sum_k p(x + u_k) / q(u_k|x): on average not below the bound of one sample, rising to log P(x) with K.

        Args:
            x: (n, D), integers from 0 to levels - 1.
            context: (n, C) where the flow takes one.
            num_samples: K.
            generator: Source of the samples.

        Raises:
            ValueError: If x is not of such integers, or `num_samples` is below 1.
        """
        num_samples = require_count("num_samples", num_samples)
        check_generator(generator)
        self._check(x)
        k = x.to(next(self.noise.parameters()).dtype)
        # (n, K, D) and (n, K)
        v, log_q = self.noise.sample_and_log_prob(num_samples, self._centred(k), generator=generator)
        # log q(u) = log q(v) - log N(v; 0, 1)
        log_q = log_q - normal_log_prob(v)
        k = k[:, None]
        inside = _between_levels(k, torch.special.ndtr(v))
        log_p = self.flow.log_prob(inside, None if context is None else context[:, None])
        return torch.logsumexp(log_p - log_q, -1) - math.log(num_samples)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let both flows learn from integers with uniform noise what they learn from data, once."""
        self._check(x)
        generator = torch.Generator(x.device).manual_seed(0)
        u = torch.rand(x.shape, generator=generator, device=x.device).clamp(2.0**-10, 1 - 2.0**-10)
        self.flow.initialize(x + u, context)
        self.noise.initialize(torch.special.ndtri(u), self._centred(x.to(u.dtype)))

    def redraw(self, generator: torch.Generator) -> None:
        """Draw the random probes of estimated log_dets anew."""
        self.flow.redraw(generator)
        self.noise.redraw(generator)

    def _centred(self, k: Tensor) -> Tensor:
        """Return integers as the noise sees them, from -1 to 1."""
        return 2 * k / (self.levels - 1) - 1

    def _check(self, x: Any) -> None:
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != self.features or x.is_floating_point():
            found = f"{x.dtype}, {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x must be a tensor of integers, (n, {self.features}); got {found}.")
        if x.numel() and not (0 <= x.min().item() and x.max().item() < self.levels):
            raise ValueError(
                f"x must hold integers from 0 to {self.levels - 1}; got {x.min().item()} to {x.max().item()}."
            )
