"""Roots of increasing functions of one variable: bracketed, with a fixed number of steps, and differentiable."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["bracketed_root", "newton_step"]

ITERATIONS = 48


def bracketed_root(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], low: Tensor, high: Tensor, *, num_iterations: int = ITERATIONS
) -> Tensor:
    """Return v in [low, high] with function(v) = 0, elementwise, by Newton's method kept inside a shrinking bracket.

    A Newton step that leaves the bracket, or is more than half as long as the step before the last, gives way to a
    bisection (Press et al., Numerical Recipes, section 9.4). The number of steps is fixed, so it compiles. The result
    has no gradient: follow it by one `newton_step`.

    Args:
        function: v -> (value, slope), increasing in v; its tensors must be detached.
        low: Lower ends of the brackets.
        high: Upper ends, of the same shape.
        num_iterations: Number of steps.
    """
    v = (low + high) / 2
    step = before = high - low
    for _ in range(num_iterations):
        value, slope = function(v)
        low, high = torch.where(value < 0, v, low), torch.where(value < 0, high, v)
        newton, middle = v - value / slope, (low + high) / 2
        shrinking = (newton - v).abs() <= before / 2
        take = (newton >= low) & (newton <= high) & shrinking
        before, step = step, torch.where(take, (newton - v).abs(), (high - low) / 2)
        v = torch.where(take, newton, middle)
    return v


def newton_step(function: Callable[[Tensor], tuple[Tensor, Tensor]], v: Tensor) -> Tensor:
    """Return v - value / slope: at a root, the implicit function's value and exact first derivatives in all it uses.

    Args:
        function: v -> (value, slope), with everything the root is to be differentiated by.
        v: The root, detached.
    """
    value, slope = function(v)
    return v - value / slope
