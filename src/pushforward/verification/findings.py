"""What a check of a map finds: problems in words, with the check, the row and the size of the error."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from pushforward.numerics.jacobian import Map
from pushforward.transforms.argument_checks import takes
from pushforward.verification.result import Verification

# Roundings allowed for: a flow makes a few dozen operations on a number.
ROUNDINGS = 64


class Stopped(Exception):  # noqa: N818
    """No further check is possible."""


@dataclass(frozen=True)
class Findings:
    """Writes what checks find into a report."""

    report: Verification

    def stop(self, problem: str) -> NoReturn:
        """Add a problem after which nothing more can be checked."""
        self.report.problems.append(problem)
        raise Stopped

    def takes_context(self, subject: Any) -> None:
        """Report a layer that cannot be a part: a `Compose` or `Flow` calls each with a context, which may be None."""
        for name in ("forward", "inverse"):
            if not takes(getattr(subject, name), 2):
                found = self.report.problems if isinstance(subject, nn.Module) else self.report.notes
                found.append(
                    f"{name} takes no context, so that it fails as a part of a Compose or Flow, which call {name}(x, "
                    f"context): write def {name}(self, x, context=None)."
                )

    def attempt(self, name: str, function: Callable[[], Tensor]) -> Tensor:
        """Call a function; stop where it raises."""
        try:
            return function()
        except Exception as error:
            self.stop(f"{name} raised {type(error).__name__}: {error}")

    def call(self, name: str, function: Map, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """Call twice on a copy; stop where the call raises or the result has another shape than the contract's."""
        copied = x.clone()
        try:
            result = function(copied, *context)
            again = function(x.clone(), *context)
        except Exception as error:
            self.stop(f"{name} raised {type(error).__name__}: {error}")
        if not (isinstance(result, tuple) and len(result) == 2 and all(isinstance(part, Tensor) for part in result)):
            self.stop(f"{name} must return two tensors, value and log_det; it returned {type(result).__name__}.")
        value, log_det = result
        if value.shape != x.shape:
            self.stop(
                f"batch: {name} made shape {tuple(value.shape)} of shape {tuple(x.shape)}; both axes must be kept.",
            )
        if log_det.shape != x.shape[:-1]:
            hint = " (a sum over the batch?)" if log_det.numel() == 1 else ""
            self.stop(
                f"log_det: {name} returned shape {tuple(log_det.shape)}{hint}; it must be one number a row, shape "
                f"{tuple(x.shape[:-1])}.",
            )
        if not torch.equal(copied.nan_to_num(), x.nan_to_num()):
            self.report.problems.append(f"{name} writes on its input; it must leave it as it is.")
        if not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(result, again, strict=True)):
            self.report.problems.append(f"{name} gives another result when it is called again on the same rows.")
        return value, log_det

    def finite_rows(self, name: str, value: Tensor, log_det: Tensor, rows: Tensor) -> Tensor:
        """Return which of `rows` are finite; those outside the domain (log_det = -inf) are noted, others problems."""
        outside = rows & (log_det == -math.inf)
        if bool(outside.any()):
            self.report.notes.append(
                f"{int(outside.sum())} rows lie outside the domain of {name} (log_det = -inf): left out."
            )
        rows = rows & ~outside
        for what, numbers in (("value", value), ("log_det", log_det[..., None])):
            wrong = rows & ~numbers.isfinite().all(-1)
            if bool(wrong.any()):
                first = int(wrong.reshape(-1).nonzero()[0])
                got = numbers.reshape(-1, numbers.shape[-1])[first].tolist()
                self.report.problems.append(
                    f"{name}: {what} not finite in {int(wrong.sum())} rows; row {first} has {got}."
                )
            rows = rows & ~wrong
        return rows

    def compare(
        self,
        check: str,
        problem: str,
        got: Tensor,
        expected: Tensor,
        number: Tensor,
        size: Tensor,
        rounding: Tensor,
    ) -> float:
        """Report where |got - expected| exceeds tolerance * size + rounding; return the largest difference."""
        error = torch.where(got == expected, 0.0, (got - expected).abs())
        # Beyond the square root of the precision, rounding is named as a cause but excuses nothing.
        most = ROUNDINGS / 2 * math.sqrt(torch.finfo(self.report.dtype).eps)
        allowed = self.report.tolerance * size + torch.minimum(rounding.nan_to_num(nan=math.inf), most * size)
        wrong = ~(error <= allowed)  # so that NaN is wrong
        if bool(wrong.any()):
            worst = int(torch.where(wrong, error / allowed, 0.0).nan_to_num(nan=math.inf).argmax())
            row, feature = divmod(worst, error[0].numel())
            cause = ""
            if error.ndim == 1 and bool(((got + expected).abs() <= allowed).all()):
                cause = " It has the wrong sign."
            elif bool(expected.isinf().any()):
                cause = " The Jacobian is singular: the map is not invertible there, or its value is detached from x."
            elif bool((error <= rounding)[wrong].all()):
                cause = f" Rounding explains it: the map is too steep there for {self.report.precision}."
            self.report.problems.append(
                f"{check}: {problem}: {got.flatten()[worst]:.6g} against {expected.flatten()[worst]:.6g}, off by "
                f"{error.flatten()[worst]:.3g} (allowed {allowed.flatten()[worst]:.1g}) at row {int(number[row])}"
                f"{f', feature {feature}' if error.ndim == 2 else ''}; "
                f"{int(wrong.reshape(len(error), -1).any(1).sum())} of {len(error)} rows are wrong.{cause}"
            )
        return float(error.max())


def typical_size(rows: Tensor) -> Tensor:
    """Return the magnitude that errors are measured against: |x|, at least the feature's median (1 where that is 0)."""
    typical = rows.abs().median(0).values
    return torch.maximum(rows.abs(), torch.where(typical > 0, typical, 1.0))
