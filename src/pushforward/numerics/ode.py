"""Ordinary differential equations dy/dt = velocity(t, y): fixed and adaptive Runge-Kutta steps, and their gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import InputError, RunError, require_choice, require_count
from pushforward.numerics.precision import own_dtype

__all__ = ["METHODS", "Tableau", "check_method", "integrate", "integrate_adjoint"]

# (t, y, context) -> dy/dt; context is what was given to `integrate`, for the rows of y
Velocity = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Tableau:
    """Butcher tableau of an explicit Runge-Kutta method.

    Attributes:
        order: Order of convergence.
        nodes: c, where in the step each stage is taken.
        stages: a, one row a stage after the first.
        weights: b, of the stages in the step.
        errors: b minus the weights of the embedded method of one order less; empty where there is none.
    """

    order: int
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    errors: tuple[float, ...] = ()


# Dormand & Prince (1980), J. Comput. Appl. Math. 6, table 2.
_DOPRI5 = Tableau(
    5,
    (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    (
        35 / 384 - 5179 / 57600, 0, 500 / 1113 - 7571 / 16695, 125 / 192 - 393 / 640,
        -2187 / 6784 + 92097 / 339200, 11 / 84 - 187 / 2100, -1 / 40,
    ),
)  # fmt: skip
# Tsitouras (2011), Comput. Math. Appl. 62, table 1.
_TSIT5 = Tableau(
    5,
    (0, 0.161, 0.327, 0.9, 0.9800255409045097, 1, 1),
    (
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
        (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
    ),
    (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774, 0),
    (
        -0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995, -0.1447110071732629,
        0.5823571654525552, -0.45808210592918697, 1 / 66,
    ),
)  # fmt: skip
METHODS: dict[str, Tableau] = {
    "euler": Tableau(1, (0,), (), (1,)),
    "midpoint": Tableau(2, (0, 1 / 2), ((1 / 2,),), (0, 1)),
    "rk4": Tableau(4, (0, 1 / 2, 1 / 2, 1), ((1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
    "dopri5": _DOPRI5,
    "tsit5": _TSIT5,
}
SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0  # of the next step against the last one


def check_method(method: str, num_steps: int | None) -> int | None:
    """Return the number of steps, or raise InputError unless there is such a method and it can do what is asked."""
    require_choice("method", method, METHODS)
    if num_steps is None and not METHODS[method].errors:
        raise InputError(f"{method} has no error estimate: give num_steps, or use dopri5 or tsit5.")
    return None if num_steps is None else require_count("num_steps", num_steps)


def integrate(
    velocity: Velocity,
    y: Tensor,
    start: float,
    end: float,
    *,
    context: Tensor | None = None,
    method: str = "dopri5",
    num_steps: int | None = None,
    tolerance: float = 1e-5,
    max_steps: int = 1000,
) -> tuple[Tensor, Tensor]:
    """Return y at `end` from y at `start`, and the number of evaluations of the velocity for each row.

    Adaptive steps are chosen row by row, so that what happens to a row does not depend on its batch-mates. Gradients go
    through the steps; `integrate_adjoint` trades them for memory.

    Args:
        velocity: (t, y, context) -> dy/dt, with t of shape () for fixed steps and (n,) for adaptive ones, where y holds
            the n rows that have not arrived.
        y: Rows, (N, S).
        start: Time of y.
        end: Time of the result, before or after `start`.
        context: (N, C), handed to the velocity with the rows, or None.
        method: "euler", "midpoint", "rk4", "dopri5" or "tsit5".
        num_steps: Number of equal steps; None for adaptive ones.
        tolerance: Largest error of an adaptive step, relative to max(1, |y|), root mean square over the row.
        max_steps: Most adaptive steps, rejected ones included.

    Raises:
        ValueError: If the method or the number of steps is not valid.
        RunError: If `max_steps` do not suffice.
    """
    check_method(method, num_steps)
    if num_steps is None:
        return _adaptive(velocity, y, context, start, end, METHODS[method], tolerance, max_steps)
    tableau = METHODS[method]
    if tableau.errors:  # the last stage serves the error estimate alone
        tableau = Tableau(tableau.order, tableau.nodes[:-1], tableau.stages[:-1], tableau.weights[:-1])
    size = (end - start) / num_steps
    for step in range(num_steps):
        y, _, _ = _step(velocity, y, context, y.new_tensor(start + step * size), y.new_tensor(size), tableau)
    return y, torch.full(y.shape[:1], num_steps * len(tableau.weights), device=y.device)


def _step(
    velocity: Velocity,
    y: Tensor,
    context: Tensor | None,
    t: Tensor,
    size: Tensor,
    tableau: Tableau,
    first: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return y one step later, its error estimate, and the last stage; t and size are (), or (N,) for rows."""
    wide = size[..., None] if size.ndim else size
    stages = [velocity(t, y, context) if first is None else first]
    for node, row in zip(tableau.nodes[1:], tableau.stages, strict=True):
        stages.append(velocity(t + node * size, y + wide * _weighted(row, stages), context))
    error = wide * _weighted(tableau.errors, stages) if tableau.errors else None
    return y + wide * _weighted(tableau.weights, stages), error, stages[-1]


def _weighted(weights: Sequence[float], stages: list[Tensor]) -> Tensor:
    parts = [weight * stage for weight, stage in zip(weights, stages, strict=True) if weight]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _adaptive(
    velocity: Velocity,
    y: Tensor,
    context: Tensor | None,
    start: float,
    end: float,
    tableau: Tableau,
    tolerance: float,
    max_steps: int,
) -> tuple[Tensor, Tensor]:
    direction = 1.0 if end >= start else -1.0
    t = y.new_full(y.shape[:1], start)
    num_evaluations = torch.zeros(y.shape[:1], dtype=torch.long, device=y.device)
    waiting = y.detach().isfinite().all(-1) & (t != end)  # a row that is not finite stays as it is
    first = velocity(t, y, context)
    num_evaluations += 1
    size = _first_size(y.detach(), first.detach(), tolerance, abs(end - start)) * direction
    for _ in range(max_steps):
        rows = _indices(waiting)
        if not len(rows):
            return y, num_evaluations
        left = end - t[rows]
        # A step that would leave a crumb takes it along.
        last = (size[rows] * 1.01).abs() >= left.abs()
        own = torch.where(last, left, size[rows])
        here, given = y[rows], None if context is None else context[rows]
        new, error, end_stage = _step(velocity, here, given, t[rows], own, tableau, first[rows])
        num_evaluations[rows] += len(tableau.weights) - 1
        assert error is not None
        with torch.no_grad():
            scale = tolerance * torch.maximum(here.abs(), new.abs()).clamp(min=1)
            ratio = (error / scale).square().mean(-1).sqrt().nan_to_num(nan=torch.inf)
            taken = ratio <= 1
            factor = (SAFETY * ratio.clamp(min=1e-10) ** (-1 / tableau.order)).clamp(SHRINK, GROW)
            size[rows] = torch.where(last & taken, size[rows], own * factor)
            moved = rows[taken]
            t[moved] = torch.where(last[taken], end, t[moved] + own[taken])
            waiting[moved] = ~last[taken]
        y = y.index_copy(0, moved, new[taken])
        first = first.index_copy(0, moved, end_stage[taken])  # both adaptive methods end where the next step begins
    raise RunError(
        f"the ODE solver took {max_steps} steps and {int(waiting.sum())} of {len(y)} rows have not arrived (the "
        f"slowest is at t = {t[waiting].min().item() if direction > 0 else t[waiting].max().item():.3g} on the way "
        f"from {start:g} to {end:g}): the velocity is stiff or unbounded there. Raise max_steps or tolerance, take "
        "fixed steps with num_steps, or regularize the velocity."
    )


def _indices(chosen: Tensor) -> Tensor:
    """Return which rows are True, (n,); InputError inside a vmap, where they cannot be counted."""
    try:
        return chosen.nonzero().squeeze(-1)
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        raise InputError(
            "torch.func.vmap cannot pass through adaptive ODE steps, whose number is each row's own: call the flow on "
            "all rows at once (none depends on another, in gradients too), or take equal steps with num_steps."
        ) from error


def _first_size(y: Tensor, velocity: Tensor, tolerance: float, most: float) -> Tensor:
    """Return a first step for each row, (N,): a hundredth of |y| / |velocity| (Hairer et al., II.4)."""
    scale = tolerance * y.abs().clamp(min=1)
    near, fast = ((value / scale).square().mean(-1).sqrt() for value in (y, velocity))
    size = torch.where((near < 1e-5) | (fast < 1e-5), torch.full_like(near, 1e-3), 0.01 * near / fast)
    return size.clamp(1e-6 * most, most)


def integrate_adjoint(
    velocity: Velocity,
    y: Tensor,
    start: float,
    end: float,
    parameters: Sequence[Tensor],
    *,
    context: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Return what `integrate` does, with gradients by the adjoint equation: memory does not grow with the steps.

    The backward pass solves for y again, from its end, together with the adjoint da/dt = -a dv/dy
    (arXiv:1806.07366, algorithm 1), with the same method and tolerance; gradients agree with those through the steps up
    to the solver's error.

    Args:
        velocity: As in `integrate`.
        y: Rows, (N, S).
        start: Time of y.
        end: Time of the result.
        parameters: The tensors that the velocity depends on besides y and context.
        context: (N, C), or None; differentiated too.
        **options: Those of `integrate`.
    """
    return _Adjoint.apply(velocity, start, end, options, y, context, *parameters)


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, velocity: Velocity, start: float, end: float, options: Any, y: Tensor, *others: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            result, num_evaluations = integrate(velocity, y, start, end, context=others[0], **options)
        ctx.velocity, ctx.start, ctx.end, ctx.options = velocity, start, end, options
        ctx.save_for_backward(result, *others)
        ctx.mark_non_differentiable(num_evaluations)
        return result, num_evaluations

    @staticmethod
    def backward(ctx: Any, adjoint: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        if torch.is_grad_enabled():  # create_graph=True; the result would pass for a constant
            raise RuntimeError("the adjoint method has no second derivatives; use adjoint=False.")
        result, *others = ctx.saved_tensors
        context = others[0]
        wanted = [other for other in others if other is not None]
        sizes = [result.numel(), result.numel(), *(other.numel() for other in wanted)]

        def joint(t: Tensor, state: Tensor, _: Tensor | None) -> Tensor:
            """Return the derivative of y, the adjoint and the gradients so far, all in one row."""
            flat_y, flat_adjoint, *_ = state.squeeze(0).split(sizes)
            times = t.reshape(()) if ctx.options.get("num_steps") is not None else t.reshape(()).expand(len(result))
            with torch.enable_grad():
                y = flat_y.view_as(result).detach().requires_grad_()
                leaves = [other.detach().requires_grad_() if other is context else other for other in wanted]
                value = ctx.velocity(times, y, None if context is None else leaves[0])
                pulled = torch.autograd.grad(
                    value, (y, *leaves), -flat_adjoint.view_as(result), allow_unused=True, materialize_grads=True
                )
            return torch.cat([value.detach().reshape(-1), *(part.reshape(-1) for part in pulled)])[None]

        with torch.no_grad(), own_dtype(result):
            parts = [result.reshape(-1), adjoint.reshape(-1), *(result.new_zeros(size) for size in sizes[2:])]
            state, _ = integrate(joint, torch.cat(parts)[None], ctx.end, ctx.start, **ctx.options)
        _, flat_adjoint, *flat = state.squeeze(0).split(sizes)
        found = iter(part.view_as(other) for part, other in zip(flat, wanted, strict=True))
        gradients = [None if other is None else next(found) for other in others]
        return (None, None, None, None, flat_adjoint.view_as(result), *gradients)
