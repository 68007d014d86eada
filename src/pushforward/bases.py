"""Base densities: what a flow carries to the data."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributions, nn

from pushforward.errors import InputError
from pushforward.specification import Specified

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def _normal_log_prob(standardized: Tensor) -> Tensor:
    """Return log N(z; 0, I) without the scale's share, summed over the last axis."""
    return -0.5 * standardized.square().sum(-1) - standardized.shape[-1] * HALF_LOG_TWO_PI


def _check_features(features: int) -> int:
    if not isinstance(features, int) or features < 1:
        raise ValueError(f"features must be an integer of at least 1; got {features!r}.")
    return features


class Base(nn.Module, ABC):
    """A density on the latent space.

    Attributes:
        features: Number of features D.
        context_features: Size of the context it needs; 0 for none.
        has_rsample: Whether `sample` is differentiable.
    """

    features: int
    context_features: int = 0
    has_rsample: bool = True

    @abstractmethod
    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(z) in nats: (*batch, D) -> (*batch,). Outside the support it is -inf."""

    @abstractmethod
    def sample(
        self,
        shape: Sequence[int],
        *,
        context: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw (*shape, D); `temperature` scales the standard deviation."""


class StandardNormal(Specified, Base):
    """N(0, I).

    Args:
        features: Number of features D.
    """

    _like: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = _check_features(features)
        # Tells samples their dtype and device.
        self.register_buffer("_like", torch.zeros(()))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: D102
        return _normal_log_prob(z)

    def sample(  # noqa: D102
        self,
        shape: Sequence[int],
        *,
        context: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return temperature * _randn((*shape, self.features), self._like, generator)


class DiagonalNormal(Specified, Base):
    """N(mean, diag exp(2 log_std)), learned; starts at N(0, I).

    Args:
        features: Number of features D.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = _check_features(features)
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_std = nn.Parameter(torch.zeros(features))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: D102
        return _normal_log_prob((z - self.mean) * (-self.log_std).exp()) - self.log_std.sum()

    def sample(  # noqa: D102
        self,
        shape: Sequence[int],
        *,
        context: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        noise = _randn((*shape, self.features), self.mean, generator)
        return self.mean + temperature * self.log_std.exp() * noise


class GaussianMixture(Specified, Base):
    """Mixture of K diagonal normals, learned; the means start spread over N(0, I) so that they can part.

    Args:
        features: Number of features D.
        num_components: Number of components K.
    """

    has_rsample = False

    def __init__(self, features: int, num_components: int = 8) -> None:
        super().__init__()
        self.features = _check_features(features)
        if not isinstance(num_components, int) or num_components < 1:
            raise ValueError(f"num_components must be an integer of at least 1; got {num_components!r}.")
        self.num_components = num_components
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.mean = nn.Parameter(torch.randn(num_components, features))
        self.log_std = nn.Parameter(torch.zeros(num_components, features))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: D102
        each = _normal_log_prob((z.unsqueeze(-2) - self.mean) * (-self.log_std).exp()) - self.log_std.sum(-1)
        # With every component at -inf the gradient of logsumexp would be NaN.
        each = each.clamp(min=torch.finfo(each.dtype).min)
        return torch.logsumexp(each + self.logits.log_softmax(-1), -1)

    def sample(  # noqa: D102
        self,
        shape: Sequence[int],
        *,
        context: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        count = math.prod(shape)
        noise = _randn((*shape, self.features), self.mean, generator)
        if count == 0:
            return noise
        component = torch.multinomial(self.logits.detach().softmax(-1), count, True, generator=generator)
        component = component.reshape(tuple(shape))
        return self.mean[component] + temperature * self.log_std.exp()[component] * noise


class Box(Specified, Base):
    """Uniform density on a box, low <= z <= high; -inf outside.

    Likelihood training on a box base works only while every point stays inside, and gradients cannot bring a point
    back: `fit` stops with an explanation.

    Args:
        features: Number of features D.
        low: Lower end, the same for every feature.
        high: Upper end.
    """

    _like: Tensor

    def __init__(self, features: int, *, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.features = _check_features(features)
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"low must be below high, both finite; got low={low}, high={high}.")
        self.low, self.high = float(low), float(high)
        self.register_buffer("_like", torch.zeros(()))

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: D102
        outside = ((z < self.low) | (z > self.high)).any(-1)
        # Adding 0 * z keeps NaN as NaN and ties the value to z's graph.
        inside = (0 * z).sum(-1) - self.features * math.log(self.high - self.low)
        return torch.where(outside & ~z.isnan().any(-1), -math.inf, inside)

    def sample(  # noqa: D102
        self,
        shape: Sequence[int],
        *,
        context: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        _refuse_temperature(self, temperature)
        uniform = torch.rand(
            (*shape, self.features), generator=generator, dtype=self._like.dtype, device=self._like.device
        )
        return self.low + (self.high - self.low) * uniform


# The distributions a model file can hold, and the arguments that define each.
SAVEABLE_DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "Beta": ("concentration1", "concentration0"),
    "Cauchy": ("loc", "scale"),
    "Chi2": ("df",),
    "Exponential": ("rate",),
    "Gamma": ("concentration", "rate"),
    "Gumbel": ("loc", "scale"),
    "HalfCauchy": ("scale",),
    "HalfNormal": ("scale",),
    "Kumaraswamy": ("concentration1", "concentration0"),
    "Laplace": ("loc", "scale"),
    "LogNormal": ("loc", "scale"),
    "Normal": ("loc", "scale"),
    "Pareto": ("scale", "alpha"),
    "StudentT": ("df", "loc", "scale"),
    "Uniform": ("low", "high"),
    "VonMises": ("loc", "concentration"),
    "Weibull": ("scale", "concentration"),
}


class FromTorch(Specified, Base):
    """Independent features, each with a univariate torch distribution; -inf outside its support.

    The distribution is fixed. Sampling inverts the CDF of the generator's uniforms where torch has `icdf`, and
    otherwise draws in a fork of the global random state seeded from the generator.

    Args:
        distribution: A univariate `torch.distributions.Distribution` with batch shape () or (D,).
        features: Number of features D.

    Raises:
        ValueError: If the distribution is discrete or not univariate, or its batch shape does not fit.

    Example:
        >>> base = FromTorch(distributions.Uniform(0.0, 1.0), 2)
        >>> base.log_prob(torch.tensor([[0.5, 0.5], [0.5, 2.0]]))
        tensor([0., -inf])
    """

    _inside: Tensor

    def __init__(self, distribution: distributions.Distribution, features: int) -> None:
        super().__init__()
        self.features = _check_features(features)
        shape = tuple(distribution.batch_shape)
        if tuple(distribution.event_shape) != () or shape not in ((), (features,)):
            raise ValueError(
                f"distribution must be univariate with batch shape () or ({features},); got batch shape {shape}, "
                f"event shape {tuple(distribution.event_shape)}."
            )
        if distribution.support.is_discrete:  # type: ignore[union-attr]
            raise ValueError(f"distribution must have a density; {type(distribution).__name__} is discrete.")
        self._name = type(distribution).__name__
        self._fixed = None if self._name in SAVEABLE_DISTRIBUTIONS else distribution
        for name in SAVEABLE_DISTRIBUTIONS.get(self._name, ()):
            self.register_buffer(name, torch.as_tensor(getattr(distribution, name)).detach().clone())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            # Stands in for points outside the support, so that their gradients are zero and not NaN.
            self.register_buffer("_inside", distribution.sample().detach())

    def specification(self) -> dict[str, Any]:
        """Return the distribution's name; its numbers are buffers.

        Raises:
            InputError: If the distribution is not one that a model file can hold.
        """
        if self._fixed is not None:
            raise InputError(
                f"a FromTorch base of {self._name} cannot be saved; these can: {', '.join(SAVEABLE_DISTRIBUTIONS)}."
            )
        return {
            "type": "FromTorch",
            "distribution": self._name,
            "shape": list(self._inside.shape),
            "features": self.features,
        }

    @classmethod
    def from_specification(cls, distribution: str, shape: Sequence[int], features: int) -> "FromTorch":
        """Build with empty numbers, which a model file brings along."""
        if distribution not in SAVEABLE_DISTRIBUTIONS:
            raise ValueError(f"distribution must be one of {', '.join(SAVEABLE_DISTRIBUTIONS)}; got {distribution!r}.")
        base = cls.__new__(cls)
        Base.__init__(base)
        base.features, base._name, base._fixed = _check_features(features), distribution, None
        for name in (*SAVEABLE_DISTRIBUTIONS[distribution], "_inside"):
            base.register_buffer(name, torch.empty(tuple(shape)))
        return base

    @property
    def distribution(self) -> distributions.Distribution:
        """The torch distribution of one feature, with its numbers where the module is."""
        if self._fixed is not None:
            return self._fixed
        numbers = {name: getattr(self, name) for name in SAVEABLE_DISTRIBUTIONS[self._name]}
        return getattr(distributions, self._name)(**numbers, validate_args=False)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: D102
        distribution = self.distribution
        inside = distribution.support.check(z) & z.isfinite()  # type: ignore[union-attr]
        if self._name == "VonMises":  # torch calls its support the whole line, on which it has infinite mass
            inside = inside & (z.abs() <= math.pi)
        log_prob = distribution.log_prob(torch.where(inside, z, self._inside.to(z.dtype)))
        log_prob = torch.where(inside, log_prob, -math.inf)
        return torch.where(z.isnan(), z, log_prob).sum(-1)

    def sample(  # noqa: D102
        self,
        shape: Sequence[int],
        *,
        context: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        _refuse_temperature(self, temperature)
        distribution, size = self.distribution, (*shape, self.features)
        if not math.prod(shape):  # some distributions cannot draw nothing
            return self._inside.new_empty(size)
        uniform = torch.rand(size, generator=generator, dtype=self._inside.dtype, device=self._inside.device)
        try:
            # rand gives [0, 1): 0 would be an end of the support, often infinite
            return distribution.icdf(uniform.clamp(min=torch.finfo(uniform.dtype).tiny))
        except NotImplementedError:
            pass
        seed = int(torch.randint(2**62, (), generator=generator, device=self._inside.device))
        with torch.random.fork_rng(devices=[self._inside.device] if self._inside.is_cuda else []):
            torch.manual_seed(seed)
            return distribution.expand((self.features,)).sample(torch.Size(shape))


def _randn(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=like.device)


def _refuse_temperature(base: Base, temperature: float) -> None:
    if temperature != 1:
        raise ValueError(f"{type(base).__name__} has no temperature; got temperature={temperature}, use 1.")
