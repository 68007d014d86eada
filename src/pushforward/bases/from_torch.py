"""A base made of any univariate torch distribution."""

import math
from typing import Any

import torch
from torch import Tensor, distributions

from pushforward.bases.density import Base
from pushforward.errors import InputError, require_choice, require_count, require_kind
from pushforward.numerics.generators import drawn_from
from pushforward.specification import Specified, plain

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

    An end of the support is inside only where the density there is finite; samples never lie on an end.

    The distribution is fixed. Sampling inverts the CDF of the generator's uniforms where torch has `icdf`, and
    otherwise draws in a fork of the global random state seeded from the generator.

    Args:
        distribution: A univariate `torch.distributions.Distribution` with batch shape () or (D,).
        features: Number of features D.

    Raises:
        ValueError: If the distribution is discrete or not univariate, its batch shape does not fit, or its numbers
            require gradients.

    Example:
        >>> base = FromTorch(distributions.Uniform(0.0, 1.0), 2)
        >>> base.log_prob(torch.tensor([[0.5, 0.5], [0.5, 2.0]]))
        tensor([0., -inf])
    """

    has_temperature = False
    support = "a FromTorch base gives density only on its distribution's support"
    _inside: Tensor

    def __init__(self, distribution: distributions.Distribution, features: int) -> None:
        super().__init__()
        self.features = features = require_count("features", features)
        example = "use one such as torch.distributions.StudentT(5.0)"
        require_kind("distribution", distribution, distributions.Distribution, "a torch distribution", example)
        shape = tuple(distribution.batch_shape)
        if tuple(distribution.event_shape) != () or shape not in ((), (features,)):
            raise InputError(
                f"distribution must be univariate with batch shape () or ({features},); got batch shape {shape}, "
                f"event shape {tuple(distribution.event_shape)}."
            )
        if distribution.support.is_discrete:  # type: ignore[union-attr]
            raise InputError(f"distribution must have a density; {type(distribution).__name__} is discrete.")
        self._name = type(distribution).__name__
        names = SAVEABLE_DISTRIBUTIONS.get(self._name, ())
        self._fixed = None if names else distribution
        if _learns(distribution, names):
            raise InputError(
                f"distribution must be fixed; the numbers of this {self._name} require gradients, and a FromTorch base "
                "does not learn: give them detached, or use pf.bases.DiagonalNormal or GaussianMixture."
            )
        for name in names:
            self.register_buffer(name, getattr(distribution, name).detach().clone())
        # Stands in for points outside the support, so that their gradients are zero and not NaN.
        self.register_buffer("_inside", _point_inside(distribution))

    def specification(self) -> dict[str, Any]:
        """Return the distribution's name and the sizes of its numbers, which are buffers.

        Raises:
            InputError: If the distribution is not one that a model file can hold.
        """
        if self._fixed is not None:
            raise InputError(
                f"a FromTorch base of {self._name} cannot be saved; these can: {', '.join(SAVEABLE_DISTRIBUTIONS)}."
            )
        numbers = {name: plain(getattr(self, name)) for name in SAVEABLE_DISTRIBUTIONS[self._name]}
        return {"type": "FromTorch", "distribution": self._name, "features": self.features, **numbers}

    @classmethod
    def from_specification(cls, distribution: str, features: int, **numbers: Tensor) -> "FromTorch":
        """Build from the distribution's name and its numbers, each of shape () or (D,)."""
        for name in SAVEABLE_DISTRIBUTIONS[require_choice("distribution", distribution, SAVEABLE_DISTRIBUTIONS)]:
            number = numbers.get(name)
            # Numbers of other shapes could stretch over one another without end.
            if (
                not isinstance(number, Tensor)
                or not number.is_floating_point()
                or number.shape not in ((), (features,))
            ):
                raise InputError(f"{name} must be one floating-point number, or one a feature.")
        return cls(getattr(distributions, distribution)(**numbers, validate_args=False), features)

    @property
    def distribution(self) -> distributions.Distribution:
        """The torch distribution of one feature, with its numbers where the module is."""
        if self._fixed is not None:
            return self._fixed
        numbers = {name: getattr(self, name) for name in SAVEABLE_DISTRIBUTIONS[self._name]}
        return getattr(distributions, self._name)(**numbers, validate_args=False)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:  # noqa: D102
        distribution = self.distribution
        support, point = _support(distribution), self._inside.to(z.dtype)
        inside = support.check(z) & z.isfinite()
        for end in _ends(support, point):
            # An end counts where its density is finite; torch gives NaN or inf at ends of Kumaraswamy, Beta, Gamma.
            density = _log_density(distribution, torch.where(support.check(end), end, point))
            inside = inside & ((z != end) | density.isfinite())
        log_prob = _log_density(distribution, torch.where(inside, z, point))
        log_prob = torch.where(inside, log_prob, -math.inf)
        return torch.where(z.isnan(), z, log_prob).sum(-1)

    def _draw(
        self, shape: tuple[int, ...], context: Tensor | None, temperature: float, generator: torch.Generator | None
    ) -> Tensor:
        distribution, size = self.distribution, (*shape, self.features)
        if not math.prod(shape):  # some distributions cannot draw nothing
            return self._inside.new_empty(size)
        uniform = torch.rand(size, dtype=self._inside.dtype, device=self._inside.device, **drawn_from(generator))
        try:
            # rand gives [0, 1): 0 would be an end of the support, often infinite; the next number is half of eps. In
            # float64, because many an inverse takes 1 - u or (1 + u) / 2, which float32 rounds to 1.
            value = distribution.icdf(uniform.clamp(min=torch.finfo(uniform.dtype).eps / 2).double()).to(uniform.dtype)
        except NotImplementedError:
            value = self._drawn_by_torch(shape, generator)
        lower, upper = _ends(_support(distribution), self._inside)
        return value.clamp(min=_next(lower, 1.0), max=_next(upper, -1.0))

    def _drawn_by_torch(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        seed = int(torch.randint(2**62, (), device=self._inside.device, **drawn_from(generator)))
        with torch.random.fork_rng(devices=[self._inside.device] if self._inside.is_cuda else []):
            torch.manual_seed(seed)
            return self.distribution.expand((self.features,)).sample(torch.Size(shape))


def _support(distribution: distributions.Distribution) -> Any:
    """Return where the density is above zero; torch calls VonMises' support the whole line, with infinite mass."""
    if isinstance(distribution, distributions.VonMises):
        return distributions.constraints.interval(-math.pi, math.pi)
    return distribution.support


def _log_density(distribution: distributions.Distribution, x: Tensor) -> Tensor:
    """Return the log density inside the support; torch's Kumaraswamy takes 1 - x^a, which rounds near both ends."""
    if not isinstance(distribution, distributions.Kumaraswamy):
        return distribution.log_prob(x)
    a, b = distribution.concentration1, distribution.concentration0
    return a.log() + b.log() + torch.xlogy(a - 1, x) + torch.xlogy(b - 1, -torch.expm1(a * x.log()))


def _ends(support: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lower and the upper end of a support, infinite where it has none."""
    lower, upper = getattr(support, "lower_bound", -math.inf), getattr(support, "upper_bound", math.inf)
    return torch.as_tensor(lower).to(like), torch.as_tensor(upper).to(like)


def _next(end: Tensor, sign: float) -> Tensor:
    """Return the next number after an end, upwards (1) or downwards (-1), but none below the normal ones."""
    step = torch.where(end == 0, torch.finfo(end.dtype).tiny, 0.0)
    return torch.where(step > 0, sign * step, torch.nextafter(end, torch.full_like(end, sign * math.inf)))


def _learns(distribution: distributions.Distribution, names: tuple[str, ...]) -> bool:
    """Return whether the distribution's numbers, or what it says of a point, require gradients."""
    if names:
        return any(getattr(distribution, name).requires_grad for name in names)
    return distribution.log_prob(_point_inside(distribution)).requires_grad


def _point_inside(distribution: distributions.Distribution) -> Tensor:
    """Return a point of the support, of the distribution's batch shape."""
    numbers = [getattr(distribution, name) for name in SAVEABLE_DISTRIBUTIONS.get(type(distribution).__name__, ())]
    if numbers:  # nothing is drawn while a file is read: drawing can go on for ever where numbers are not
        return distributions.transform_to(distribution.support)(torch.zeros_like(numbers[0])).detach()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return distribution.sample().detach()
