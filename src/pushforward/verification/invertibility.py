"""Is this map invertible, and is its log_det true? A check of any transform or flow, data -> latent, on given rows."""

import copy
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.errors import InputError, require_number
from pushforward.flows import Flow
from pushforward.flows.user_rows import read_context
from pushforward.numerics.arrays import as_tensor
from pushforward.numerics.jacobian import Map, sensitivity
from pushforward.numerics.threads import threads
from pushforward.transforms.argument_checks import check_context
from pushforward.transforms.base import Transform
from pushforward.transforms.step import Step
from pushforward.verification.base_side import check_base_side
from pushforward.verification.findings import ROUNDINGS, Findings, Stopped, typical_size
from pushforward.verification.result import Verification

TOLERANCE = 1e-6


@threads(1)
def verify(
    transform_or_flow: nn.Module, x: Any, context: Any = None, *, tolerance: float | None = None
) -> Verification:
    """Check on the rows of x that a map is invertible and its log_det true.

    The checks: the batch is kept; there is one log_det a row; forward and inverse are functions of each row alone and
    change nothing; inverse undoes forward; the inverse's log_det is minus the forward's; log_det is log|det| of the
    autodiff Jacobian, whatever the orientation; a flow's log_prob is its base's plus all log_dets. They run on a copy
    in eval mode, in the dtype of its parameters; no global state is touched.

    A flow is checked from its base's side too: draws of the base, from a generator of its own, decode to finite rows
    and encode back; they fit the base's log_prob, in any dimension; the base's mass is one. These are statistics: each
    says how often it is false by chance, at most; docs/verification.md says what they cannot see.

    An error is a problem where it exceeds `tolerance` (times the column's spread over these rows for the round trip,
    times the larger of |log_det| and 1 for a log_det) plus what rounding explains through the row's own Jacobian.

    Args:
        transform_or_flow: A `Transform` or `Flow`, or any object with the `forward` and `inverse` of one.
        x: Rows of data, (*batch, D), floating-point and finite.
        context: (C,), or the batch axes of x and C, where the map takes one.
        tolerance: 1e-6 by default, or ten times the largest `tolerance` of a part whose inverse is found numerically.

    Returns:
        The report: `ok`, `problems`, what was `checked`, three errors; `str(report)` is for reading.

    Raises:
        ValueError: If x is no one array, has no rows or holds integers, NaN or infinities, or the context does not fit.

    Example:
        >>> import torch, pushforward as pf
        >>> pf.verify(pf.transforms.Scale((2.0, -0.5)), torch.randn(10, 2)).ok
        True
    """
    subject, x, context = _prepare(transform_or_flow, x, context)
    if tolerance is None:
        parts = subject.modules() if isinstance(subject, nn.Module) else ()
        stated = [getattr(part, "tolerance", None) for part in parts]
        tolerance = max(TOLERANCE, *(10 * value for value in stated if isinstance(value, float)), 0.0)
    tolerance = require_number("tolerance", tolerance, above=0)
    report = Verification(type(subject).__name__, (x[..., 0].numel(), x.shape[-1]), x.dtype, tolerance)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        findings = Findings(report)
        map_works = False
        with suppress(Stopped):
            _check(subject, x, context, findings)
            map_works = True
        if isinstance(subject, Flow):
            with suppress(Stopped):
                check_base_side(subject, _maps(subject)[0], x, context, findings, map_works=map_works)
    return report


def _prepare(subject: Any, x: Any, context: Any) -> tuple[Any, Tensor, Tensor | None]:
    """Return a copy of the subject in eval mode, and x and context as tensors that fit its parameters."""
    x, context = _rows("x", x), None if context is None else _rows("context", context)
    if isinstance(subject, Flow):
        context = read_context(subject, context, x.shape[:-1])
    if x.ndim == 0 or x.numel() == 0:
        raise ValueError(f"x must hold at least one row of at least one feature; got shape {tuple(x.shape)}.")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating-point; got {x.dtype}: convert it with x.float().")
    if not bool(x.isfinite().all()):
        row = int((~x.isfinite()).reshape(-1, x.shape[-1]).any(1).nonzero()[0])
        raise ValueError(f"x must be finite; row {row} is {x.reshape(-1, x.shape[-1])[row].tolist()}.")
    if isinstance(subject, (Transform, Flow)):
        check_context(subject, context, x.shape[:-1])
    if isinstance(subject, nn.Module):
        subject = copy.deepcopy(subject).eval()
        numbers = next((parameter for parameter in subject.parameters() if parameter.is_floating_point()), None)
        if numbers is not None:
            # A flow takes float64 through its preprocessing and casts by itself.
            x = x.to(numbers.device) if isinstance(subject, Flow) else x.to(numbers)
    if context is not None and not isinstance(subject, Flow):
        context = context.to(x)
    return subject, x, context


def _rows(name: str, value: Any) -> Tensor:
    """Return rows that a user gave as a tensor; InputError, with the remedy, where they are no one array."""
    if isinstance(value, Tensor):
        return value.detach()
    parts = (
        [tuple(getattr(part, "shape", ())) for part in value]
        if isinstance(value, (list, tuple)) and _holds_arrays(value)
        else []
    )
    if parts:
        raise InputError(
            f"{name} must be one array, with an event on its last axis; got a {type(value).__name__} of arrays of "
            f"shapes {', '.join(map(str, parts))}: join the parts of an event with torch.cat(parts, -1); a context is "
            "given on its own, verify(transform, x, context)."
        )
    return as_tensor(value, name)


def _holds_arrays(values: Sequence[Any]) -> bool:
    return any(isinstance(part, (Tensor, np.ndarray)) and part.ndim > 1 for part in values)


def _maps(subject: Any) -> tuple[Map, Map]:
    """Return forward and inverse as functions of x and, perhaps, context."""
    if not isinstance(subject, Flow):
        return subject.forward, subject.inverse

    def total(x: Tensor, steps: list[Step]) -> tuple[Tensor, Tensor]:
        return steps[-1].value if steps else x, sum((step.log_det for step in steps), x.new_zeros(x.shape[:-1]))

    return lambda x, *c: total(x, subject.steps(x, *c)), lambda z, *c: total(z, subject.steps_inverse(z, *c))


def _check(subject: Any, x: Tensor, context: Tensor | None, findings: Findings) -> None:
    report = findings.report
    forward, inverse = _maps(subject)
    if context is None and not isinstance(subject, Flow):
        findings.takes_context(subject)
    given = () if context is None else (context,)
    with torch.no_grad():
        y, log_det = findings.call("forward", forward, x, *given)
        report.dtype = y.dtype
        rows = findings.finite_rows("forward", y, log_det, torch.ones_like(log_det, dtype=torch.bool))
        back, inverse_log_det = findings.call("inverse", inverse, y, *given)
        rows = findings.finite_rows("inverse", back, inverse_log_det, rows)
    if not bool(rows.any()):
        findings.stop("no row could be checked: none has finite values both ways.")
    unit = ROUNDINGS * torch.finfo(report.dtype).eps
    if bool(((y - x).abs() <= unit * x.abs()).all()):
        report.notes.append(
            "on these rows it is the identity, so every check is empty: a wrong map would pass as well. Train it, or "
            "perturb its parameters first."
        )

    # From here on float64 and one row axis; `number` is the row's number in x.
    number = rows.reshape(-1).nonzero().squeeze(-1)

    def flat(values: Tensor) -> Tensor:
        return values.reshape(rows.numel(), *values.shape[rows.ndim :])[number]

    x_, y_, back_, ld, inverse_ld = (flat(t).double() for t in (x, y, back, log_det, inverse_log_det))
    x_size, y_size, ld_size = typical_size(x_), typical_size(y_), ld.abs().clamp(min=1)
    # First-order rounding: a relative error eps in y becomes eps |J^-1| |y| in x, in J it becomes eps tr(|J^-1| |J|) in
    # log|det J|, and an error of x changes log_det by its slope.
    spread, unit_x = _spread(x_), ROUNDINGS * torch.finfo(back.dtype).eps  # in the units of the data may be more digits
    in_x = unit_x * x_size + unit * spread
    rounding_x, rounding_y, rounding_ld = in_x, unit * y_size, unit * ld_size
    true_ld, slope = None, torch.zeros_like(x_)
    if getattr(subject, "exact_log_det", True):
        own = [flat(x), *(flat(part.expand(*x.shape[:-1], -1)) for part in given)]
        try:
            true_ld, slope, of_x, of_y, of_ld = sensitivity(forward, x_size, y_size, *own)
        except Exception as error:
            findings.stop(f"log_det: no Jacobian could be computed, {type(error).__name__}: {error}")
        rounding_x, rounding_y = rounding_x + unit * of_x, rounding_y + unit * of_y
        rounding_ld = rounding_ld + unit * (of_ld + (slope.abs() * x_size).sum(-1))
        # A few rows alone: what mixes rows mixes all of them.
        few = torch.linspace(0, len(number) - 1, min(len(number), 8), device=number.device).long()
        alone = torch.cat([forward(*(part[i : i + 1] for part in own))[0] for i in few]).detach().double()
        problem = "a row's value alone differs from its value among the others"
        findings.compare("batch", problem, alone, y_[few], number[few], y_size[few], rounding_y[few])
    else:
        report.notes.append("log_det is an estimate, so it was not compared with the Jacobian's.")
    problem = "inverse(forward(x)) differs from x"
    findings.compare("round trip", problem, back_, x_, number, spread, rounding_x)
    report.round_trip_error = float(((back_ - x_).abs() / spread).max())
    problem = "the inverse's log_det is not minus the forward's"
    both = rounding_ld + (slope.abs() * rounding_x).sum(-1)
    report.inverse_log_det_error = findings.compare("inverse log_det", problem, inverse_ld, -ld, number, ld_size, both)
    if true_ld is not None:
        problem = "forward's log_det is not log|det| of the autodiff Jacobian"
        report.log_det_error = findings.compare("log_det", problem, ld, true_ld, number, ld_size, rounding_ld)
    if isinstance(subject, Flow):
        with torch.no_grad():
            _, _, latent_context = subject.preprocess(x, *given)
            base = flat(subject.base.log_prob(y, latent_context if subject.base.context_features else None)).double()
            encoded, decoded = flat(subject.encode(x, *given)).double(), flat(subject.decode(y, *given)).double()
            log_prob = flat(subject.log_prob(x, *given)).double()
        # Computed in one piece, as a kernel does, they are rounded otherwise.
        problem = "it is not the last step's value"
        findings.compare("encode", problem, encoded, y_, number, y_size, rounding_y)
        findings.compare("decode", problem, decoded, back_, number, spread, rounding_x)
        problem, size = "it is not the base's plus all log_dets", base.abs() + ld_size
        findings.compare("log_prob", problem, log_prob, base + ld, number, size, unit * size)


def _spread(rows: Tensor) -> Tensor:
    """Return what a round trip is measured against: the column's standard deviation, at least the distance from its
    mean; the magnitude where all rows are equal.
    """
    std = rows.std(0, correction=0)
    return torch.where(std > 0, torch.maximum((rows - rows.mean(0)).abs(), std), typical_size(rows))
