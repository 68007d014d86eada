"""Bases side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.bases.acceptance import check_base
from pushforward.bases.density import Base
from pushforward.errors import InputError, described
from pushforward.specification import Specified
from pushforward.transforms.argument_checks import shared_context


class Joint(Specified, Base):
    """Independent bases side by side: the first has the first features, the second the next.

    Args:
        bases: The bases; those that take a context share it.

    Raises:
        ValueError: If there is none, or they need contexts of different sizes.

    Example:
        >>> from pushforward.bases import Box, GaussianMixture
        >>> joint = Joint([GaussianMixture(2, 10), Box(1)])
        >>> joint.features, joint.sample((5,)).shape
        (3, torch.Size([5, 3]))
    """

    def __init__(self, bases: Sequence[Base]) -> None:
        super().__init__()
        if not isinstance(bases, Sequence) or isinstance(bases, str) or not bases:
            raise InputError(f"bases must be a list of at least one base; got {described(bases)}.")
        for position, base in enumerate(bases):
            check_base(f"bases[{position}]", base)
        self.context_features = shared_context("the bases", bases)
        self.bases = nn.ModuleList(bases)
        self.features = sum(base.features for base in bases)
        self.has_rsample = all(base.has_rsample for base in bases)
        self.support = " and ".join(dict.fromkeys(base.support for base in bases if base.support))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: D102
        parts = z.split([base.features for base in self.bases], -1)
        each = []
        for base, part in zip(self.bases, parts, strict=True):
            each.append(base.log_prob(part, context if base.context_features else None))  # type: ignore[operator]
        return torch.stack(each).sum(0)

    def _draw(
        self, shape: tuple[int, ...], context: Tensor | None, temperature: float, generator: torch.Generator | None
    ) -> Tensor:
        return self._draw_with_choice(shape, context, temperature, generator)[0]

    def _draw_with_choice(
        self, shape: tuple[int, ...], context: Tensor | None, temperature: float, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        parts, choices = [], []
        for base in self.bases:
            own = context if base.context_features else None
            part, choice = base.sample_with_choice(  # type: ignore[operator]
                shape, context=own, temperature=temperature, generator=generator
            )
            parts.append(part)
            choices += [] if choice is None else [choice]
        return torch.cat(parts, -1), torch.stack(choices).sum(0) if choices else None
