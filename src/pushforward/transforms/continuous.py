"""The continuous flow: an ordinary differential equation carries data to latent and back."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import InputError, require_choice, require_count, require_flag, require_kind, require_number
from pushforward.numerics.ode import check_method, integrate, integrate_adjoint
from pushforward.numerics.precision import own_dtype
from pushforward.specification import Specified
from pushforward.transforms.argument_checks import check_context, takes
from pushforward.transforms.base import Transform
from pushforward.transforms.conditioning import bounded
from pushforward.transforms.step import Step

SEGMENTS = 8  # that `steps` shows
TRACES = ("exact", "hutchinson")


class Continuous(Specified, Transform):
    r"""dx/dt = velocity(t, x, context), latent at t = 0 and data at t = 1: `forward` integrates from 1 to 0.

    log_det = -int_0^1 div velocity dt (arXiv:1806.07366, theorem 1), solved along with x: by the velocity's own
    `with_divergence(t, x, context) -> (velocity, divergence)` where it has one, else from its Jacobian by forward-mode
    differentiation, or estimated from random probes e as e.(dv/dx e) (Hutchinson, arXiv:1810.01367). `inverse` undoes
    `forward` up to the solver's error: the tolerance of a step, times the number of steps, times how far the flow
    stretches.

    Args:
        velocity: Module (t, x, context) -> (N, D), t of shape () or (N,), with attributes `features` and, where it
            takes context, `context_features`.
        method: "dopri5", "tsit5", "rk4", "midpoint" or "euler".
        num_steps: Number of equal steps; None (with dopri5 or tsit5) for adaptive ones, chosen row by row. Equal steps
            are a promise about the velocity: where it bends too fast for them, log_det is no longer that of the map,
            and maximum likelihood drives it there, to likelihoods above the truth. `pf.verify` tells.
        train_steps: Number of equal steps in train() mode; None for as many as otherwise. With it the flow trains with
            few steps, which also compile, while validation, scoring and sampling stay adaptive and true.
        tolerance: Largest error of an adaptive step, relative to max(1, |x|).
        max_steps: Most adaptive steps.
        trace: "exact" or "hutchinson".
        num_probes: Probes of the Hutchinson estimate; they stay the same until `redraw`, which `fit` calls every step.
        adjoint: Gradients by the adjoint equation, whose memory does not grow with the steps.

    Shape:
        x, y: (*batch, D). context: as for every transform. log_det: (*batch,), nats.

    Raises:
        ValueError: If an option is not valid, or the velocity has no `features`.
        RunError: From `forward` and `inverse`, if adaptive steps do not arrive within `max_steps`.

    Example:
        >>> import pushforward as pf
        >>> transform = Continuous(pf.nets.TimeMLP(2), method="rk4", num_steps=8)
        >>> y, log_det = transform(torch.zeros(5, 2)); log_det.shape
        torch.Size([5])
    """

    features: int
    probes: Tensor

    def __init__(
        self,
        velocity: nn.Module,
        *,
        method: str = "dopri5",
        num_steps: int | None = None,
        train_steps: int | None = None,
        tolerance: float = 1e-5,
        max_steps: int = 1000,
        trace: str = "exact",
        num_probes: int = 1,
        adjoint: bool = False,
    ) -> None:
        super().__init__()
        self.method, self.num_steps = method, check_method(method, num_steps)
        self.train_steps = None if train_steps is None else require_count("train_steps", train_steps)
        self.tolerance = require_number("tolerance", tolerance, above=0)
        self.max_steps = require_count("max_steps", max_steps)
        self.trace, self.adjoint = require_choice("trace", trace, TRACES), require_flag("adjoint", adjoint)
        self.num_probes = num_probes = require_count("num_probes", num_probes)
        example = "such as pf.nets.TimeMLP(features)"
        require_kind("velocity", velocity, nn.Module, "a module (t, x, context) -> dx/dt", example)
        features = getattr(velocity, "features", None)
        if not isinstance(features, int):
            raise InputError(f"{type(velocity).__name__} needs an integer attribute `features`, the number it moves.")
        self.velocity, self.features = velocity, features
        self.context_features = getattr(velocity, "context_features", 0)
        if not takes(velocity.forward, 3):
            raise InputError(
                f"velocity must take (t, x, context); {type(velocity).__name__} does not: give its forward these "
                "arguments, context=None last."
            )
        self.exact_log_det = trace == "exact"
        self.register_buffer("probes", torch.randint(0, 2, (num_probes, features)).float() * 2 - 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self._carried(x, context, 1.0, 0.0, self._steps)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self._carried(y, context, 0.0, 1.0, self._steps)

    @property
    def _steps(self) -> int | None:
        return self.num_steps if self.train_steps is None or not self.training else self.train_steps

    def redraw(self, generator: torch.Generator) -> None:
        """Draw new probes of independent signs."""
        signs = torch.randint(0, 2, self.probes.shape, generator=generator, device=generator.device)
        self.probes.copy_(signs * 2 - 1)

    def steps(self, x: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return the states on the way from t = 1 to t = 0, in 8 parts where fixed steps allow it."""
        return self._segments(x, context, 1.0, 0.0)

    def steps_inverse(self, y: Tensor, context: Tensor | None = None) -> list[Step]:
        """Return the states on the way from t = 0 to t = 1."""
        return self._segments(y, context, 0.0, 1.0)

    def _segments(self, x: Tensor, context: Tensor | None, start: float, end: float) -> list[Step]:
        number, each = SEGMENTS, None
        if self._steps is not None:
            number = max(count for count in range(1, SEGMENTS + 1) if self._steps % count == 0)
            each = self._steps // number
        times = torch.linspace(start, end, number + 1, dtype=torch.float64).tolist()
        start_x, found = x, []
        for left, right in zip(times[:-1], times[1:], strict=True):
            x, log_det = self._carried(x, context, left, right, each)
            found.append(Step(f"t = {right:.3g}", x, log_det))
        if each is None:
            # Adaptive steps fall elsewhere when taken in parts: the last part makes up for the solver's error.
            result, total = self._carried(start_x, context, start, end, None)
            found[-1] = Step(found[-1].name, result, total - sum(step.log_det for step in found[:-1]))
        return found

    def energies(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        r"""Return latent, log_det, int |v|^2 dt and int |dv/dx e|^2 dt of the first probe e; the last three (*batch,).

        The last two are what RNODE keeps small so that few evaluations suffice (arXiv:2002.02798, eqs. 9-10).
        """
        result, _ = self._solved(x, context, 1.0, 0.0, self._steps, self._with_energies, 3)
        log_det, kinetic, stretch = result[..., self.features :].unbind(-1)
        return result[..., : self.features], log_det, -kinetic, -stretch

    @torch.no_grad()
    def num_evaluations(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return how many times `forward` evaluates the velocity for each row, (*batch,)."""
        return self._solved(x, context, 1.0, 0.0, self._steps, self._with_divergence, 1)[1]

    def _carried(
        self, x: Tensor, context: Tensor | None, start: float, end: float, num_steps: int | None
    ) -> tuple[Tensor, Tensor]:
        result, _ = self._solved(x, context, start, end, num_steps, self._with_divergence, 1)
        return result[..., : self.features], result[..., -1]

    def _solved(
        self,
        x: Tensor,
        context: Tensor | None,
        start: float,
        end: float,
        num_steps: int | None,
        derivative: Callable[[Tensor, Tensor, Tensor | None], Tensor],
        num_integrals: int,
    ) -> tuple[Tensor, Tensor]:
        """Return x and the integrals beside it at `end`, (*batch, D + num_integrals), and evaluations, (*batch,)."""
        check_context(self, context, x.shape[:-1])
        batch = x.shape[:-1]
        rows = torch.cat((x, x.new_zeros(*batch, num_integrals)), -1).reshape(-1, self.features + num_integrals)
        if context is not None:
            context = bounded(context.expand(*batch, self.context_features)).reshape(-1, self.context_features)
        options = {
            "method": self.method,
            "num_steps": num_steps,
            "tolerance": self.tolerance,
            "max_steps": self.max_steps,
        }
        with own_dtype(x):
            if self.adjoint and torch.is_grad_enabled():
                parameters: Sequence[Tensor] = [value for value in self.velocity.parameters() if value.requires_grad]
                result, number = integrate_adjoint(derivative, rows, start, end, parameters, context=context, **options)
            else:
                result, number = integrate(derivative, rows, start, end, context=context, **options)  # type: ignore[arg-type]
        return result.reshape(*batch, self.features + num_integrals), number.reshape(batch)

    def _with_divergence(self, t: Tensor, state: Tensor, context: Tensor | None) -> Tensor:
        """Return the derivative of (x, log_det)."""
        x = state[..., : self.features]
        if self.trace == "hutchinson":
            velocity, pushed = self._pushed(t, x, context, self.probes)
            divergence = (pushed * self.probes.to(x.dtype)[:, None]).sum(-1).mean(0)
        elif hasattr(self.velocity, "with_divergence"):
            velocity, divergence = self.velocity.with_divergence(t, x, context)  # type: ignore[operator]
            self._check_shape("with_divergence's velocity", velocity, x.shape)
            self._check_shape("with_divergence's divergence", divergence, x.shape[:-1])
        else:
            velocity, pushed = self._pushed(t, x, context, torch.eye(self.features, device=x.device))
            divergence = pushed.diagonal(dim1=0, dim2=-1).sum(-1)
        return torch.cat((velocity, divergence[..., None]), -1)

    def _check_shape(self, what: str, value: Tensor, shape: torch.Size) -> None:
        if value.shape != shape:
            raise ValueError(
                f"the {what} of {type(self.velocity).__name__} must have shape {tuple(shape)} for {shape[0]} rows of "
                f"{self.features} features; got {tuple(value.shape)}."
            )

    def _with_energies(self, t: Tensor, state: Tensor, context: Tensor | None) -> Tensor:
        """Return the derivative of (x, log_det, kinetic energy, stretch)."""
        x = state[..., : self.features]
        moved = self._with_divergence(t, state, context)
        velocity, pushed = self._pushed(t, x, context, self.probes[:1])
        more = torch.stack((velocity.square().sum(-1), pushed[0].square().sum(-1)), -1)
        return torch.cat((moved, more), -1)

    def _pushed(self, t: Tensor, x: Tensor, context: Tensor | None, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the velocity and dv/dx e for each direction e, (k, N, D), by forward-mode differentiation."""

        def moved(x: Tensor) -> Tensor:
            velocity = self.velocity(t, x, context)
            self._check_shape("velocity", velocity, x.shape)
            return velocity

        def along(direction: Tensor) -> tuple[Tensor, Tensor]:
            velocity, pushed = torch.func.jvp(moved, (x,), (direction.to(x.dtype).expand_as(x),))  # type: ignore[misc]
            return velocity, pushed

        velocity, pushed = torch.func.vmap(along, randomness="same")(directions)
        return velocity[0], pushed
