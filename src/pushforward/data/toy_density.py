"""What a toy density offers: its exact log-density, its entropy and fresh draws, with and without the label."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import require_count, require_seed
from pushforward.numerics.default_device import on_the_cpu
from pushforward.numerics.generators import check_generator

# Rows evaluated at once: a chunk times a few hundred quadrature nodes stays near the processor's cache.
_CHUNK = 1024
_BLOCK = 8  # points of a grid, along each axis, of which only the middle is looked at first
_EMPTY = -100.0  # nats


class Density(ABC):
    """A density on the plane with its truth attached; everything is computed in float64.

    Attributes:
        features: Number of features D, always 2.
        label_proportions: Probability of each label; empty where points carry no label.
    """

    features: int = 2
    label_proportions: tuple[float, ...] = ()

    def __repr__(self) -> str:
        """Return the law's name and its numbers."""
        shown = (
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if not name.startswith("_") and name != "label_proportions"
            if isinstance(value, (int, float, str, Density))
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    @abstractmethod
    def _log_prob_by_label(self, x: Tensor) -> Tensor:
        """Return log p(x | label) of rows (n, 2) for every label, (n, L); one column without labels."""

    @abstractmethod
    def _draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one point for each label, (n, 2), float64."""

    @abstractmethod
    def _entropy(self, label: int | None) -> float:
        """Return the entropy of p(x), or of p(x | label)."""

    @property
    def num_labels(self) -> int:
        """Number of labels, 0 where points carry none."""
        return len(self.label_proportions)

    @on_the_cpu()
    def log_prob(self, x: Tensor, *, label: int | Tensor | None = None) -> Tensor:
        """Return the exact log-density in nats, in x's dtype.

        Args:
            x: Points, float.
            label: None for p(x); a label, or an integer tensor of x's batch shape, for p(x | label).

        Shape:
            x: (*batch, 2). Result: (*batch,).

        Raises:
            ValueError: If x is not a float tensor of points in the plane, or the label does not exist.
        """
        if x.shape[-1:] != (self.features,) or not x.is_floating_point():
            raise ValueError(f"x must be float of shape (*batch, 2); got {x.dtype} of shape {tuple(x.shape)}.")
        rows = x.reshape(-1, self.features).to("cpu", torch.float64)
        by_label = torch.cat([self._log_prob_by_label(chunk) for chunk in rows.split(_CHUNK)])
        if label is None:
            proportions = self.label_proportions or (1.0,)
            value = torch.logsumexp(by_label + by_label.new_tensor(proportions).log(), -1)
        else:
            index = torch.as_tensor(label, device="cpu")
            self._check_label(index)
            value = by_label.gather(1, index.expand(x.shape[:-1]).reshape(-1, 1)).squeeze(1)
        return value.reshape(x.shape[:-1]).to(x)

    @on_the_cpu()
    def entropy(self, *, label: int | None = None) -> float:
        """Return the entropy of p(x), or of p(x | label), in nats: by closed form or quadrature, computed once."""
        if label is not None:
            self._check_label(torch.as_tensor(label))
        entropies = self.__dict__.setdefault("_entropies", {})
        if label not in entropies:
            entropies[label] = self._entropy(label)
        return entropies[label]

    def conditional_entropy(self) -> float:
        """Return the entropy of x given its label in nats: the mean of `entropy(label=...)` over the labels."""
        if not self.label_proportions:
            raise ValueError(f"{type(self).__name__} has no labels; use entropy().")
        return sum(share * self.entropy(label=label) for label, share in enumerate(self.label_proportions))

    def sample(self, num_samples: int, seed: int, *, label: int | None = None) -> Tensor:
        """Draw fresh points of p(x), or of p(x | label): (num_samples, 2), float32.

        The stream differs from the one that made `ToyData.x`, whatever the seeds: a test set is never the training set.
        """
        return self.draw(num_samples, fresh_generator(seed), label=label)[0].float()

    def sample_with_labels(self, num_samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Draw fresh points with their labels: (num_samples, 2), float32, and (num_samples,), int64."""
        if not self.label_proportions:
            raise ValueError(f"{type(self).__name__} has no labels; use sample().")
        x, labels = self.draw(num_samples, fresh_generator(seed))
        return x.float(), labels

    @on_the_cpu()
    def draw(self, num_samples: int, generator: torch.Generator, *, label: int | None = None) -> tuple[Tensor, Tensor]:
        """Draw points, (num_samples, 2) in float64, and labels, (num_samples,), from a generator of one's own."""
        num_samples = require_count("num_samples", num_samples)
        check_generator(generator)
        if label is None:
            proportions = torch.tensor(self.label_proportions or (1.0,), dtype=torch.float64)
            labels = torch.multinomial(proportions, num_samples, replacement=True, generator=generator)
        else:
            self._check_label(torch.as_tensor(label))
            labels = torch.full((num_samples,), label)
        return self._draw(labels, generator), labels

    def _check_label(self, label: Tensor) -> None:
        if not self.label_proportions:
            raise ValueError(f"{type(self).__name__} has no labels; got label {label.tolist()}.")
        if label.is_floating_point() or bool(((label < 0) | (label >= self.num_labels)).any()):
            raise ValueError(
                f"label must be an integer from 0 to {self.num_labels - 1}; got {label.unique().tolist()}."
            )


class Standardized(Density):
    """A density in the units (x - mean) / std of each axis.

    Args:
        raw: The density in its own units.
        mean: (2,), float64.
        std: (2,), float64.
    """

    def __init__(self, raw: Density, mean: Tensor, std: Tensor) -> None:
        self.raw, self.mean, self.std = raw, mean, std
        self.label_proportions = raw.label_proportions
        self.log_scale = std.log().sum().item()

    def _log_prob_by_label(self, x: Tensor) -> Tensor:
        return self.raw._log_prob_by_label(x * self.std + self.mean) + self.log_scale

    def _draw(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        return (self.raw._draw(labels, generator) - self.mean) / self.std

    def _entropy(self, label: int | None) -> float:
        return self.raw.entropy(label=label) - self.log_scale


def data_generator(seed: int) -> torch.Generator:
    """Return the generator behind `ToyData.x`."""
    return _generator(seed, 0)


def fresh_generator(seed: int) -> torch.Generator:
    """Return the generator behind `Density.sample`: another stream than the data's for every seed."""
    return _generator(seed, 1)


def _generator(seed: int, stream: int) -> torch.Generator:
    state = np.random.SeedSequence([require_seed(seed), stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def grid_entropy(
    log_prob: Callable[[Tensor], Tensor], low: Sequence[float], high: Sequence[float], *, step: float
) -> float:
    """Return -∫ p log p over a rectangle by the trapezoid rule, in nats.

    For a smooth density that vanishes at the edges the rule converges faster than any power of `step`: at half the
    width of the noise every toy density's entropy is right to 1e-7. Blocks of points whose middle lies more than a
    dozen widths of the noise away from all data (log p below `_EMPTY`) are passed over: a thin curve leaves most of
    the plane empty.

    Args:
        log_prob: Log-density of points (n, 2).
        low: Lower corner of the rectangle.
        high: Upper corner.
        step: Largest distance between neighbouring points.
    """
    axes = [
        torch.linspace(a, b, math.ceil((b - a) / step) + 1, dtype=torch.float64) for a, b in zip(low, high, strict=True)
    ]
    area = math.prod((axis[1] - axis[0]).item() for axis in axes)
    across, up = (axis.split(_BLOCK) for axis in axes)
    heights = torch.stack([part.mean() for part in up])
    total = 0.0
    for part in across:
        full = log_prob(torch.cartesian_prod(part.mean().reshape(1), heights)) > _EMPTY
        if full.any():
            rows = torch.cat([one for one, is_full in zip(up, full.tolist(), strict=True) if is_full])
            total += torch.special.entr(log_prob(torch.cartesian_prod(part, rows)).exp()).sum().item()
    return area * total
