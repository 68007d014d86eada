"""Families of increasing 1-D maps: y = f(x; params), the papers' "transformer"."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import require_choice
from pushforward.numerics.precision import in_own_dtype
from pushforward.specification import Specified


class Univariate(ABC):
    """A family of increasing maps of one variable; with zero parameters each is the identity.

    Shape:
        x, y: (*batch, n). params: (*batch, n, num_params), where a batch axis of size 1 stretches. log_det: log dy/dx
        of each feature, (*batch, n), or what stretches to it where x does not matter.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        in_own_dtype(cls, "forward", "inverse")

    @property
    @abstractmethod
    def num_params(self) -> int:
        """Number of parameters a feature."""

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map x -> y, log dy/dx."""

    @abstractmethod
    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map y -> x, log dx/dy."""


@dataclass(frozen=True)
class Additive(Specified, Univariate):
    """y = x + shift, log dy/dx = 0 (NICE, arXiv:1410.8516)."""

    @property
    def num_params(self) -> int:  # noqa: D102
        return 1

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return x + params.squeeze(-1), torch.zeros_like(x)

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return y - params.squeeze(-1), torch.zeros_like(y)


LOG_SCALES = ("soft", "tanh", "plain")


@dataclass(frozen=True)
class Affine(Specified, Univariate):
    """y = exp(s) x + t, log dy/dx = s (RealNVP, arXiv:1605.08803).

    Args:
        log_scale: How the raw parameter r becomes s: "soft" s = 2 tanh(r / 2), bounded by 2 with slope 1 at zero;
            "tanh" s = tanh(r); "plain" s = r, which can overflow for inputs far away.
    """

    log_scale: str = "soft"

    def __post_init__(self) -> None:
        require_choice("log_scale", self.log_scale, LOG_SCALES)

    @property
    def num_params(self) -> int:  # noqa: D102
        return 2

    def _shift_and_log_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.unbind(-1)
        if self.log_scale == "soft":
            return shift, 2 * torch.tanh(raw / 2)
        return shift, torch.tanh(raw) if self.log_scale == "tanh" else raw

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        shift, log_scale = self._shift_and_log_scale(params)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale

    def inverse(self, y: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        shift, log_scale = self._shift_and_log_scale(params)
        return (y - shift) * (-log_scale).exp(), -log_scale
