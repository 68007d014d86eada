"""How rarely chance alone gives what was seen: bounds that hold exactly, whatever the number of terms."""

import math

import torch
from torch import Tensor


def of_sum(total: Tensor, variance: Tensor, bound: Tensor, slack: float) -> Tensor:
    """Return a bound on P(|S| >= |total|), S a sum of independent terms of mean zero (Bernstein's inequality).

    Args:
        total: The sum that was seen.
        variance: The sum of the terms' variances.
        bound: What no term exceeds, in absolute value.
        slack: What of the total is rounding.

    Returns:
        The bound, with the sign of the sum.
    """
    size = (total.abs() - slack).clamp(min=0)
    exponent = size.square() / (2 * (variance + bound * size / 3)).clamp(min=torch.finfo(total.dtype).tiny)
    return torch.copysign((2 * (-exponent).exp()).clamp(max=1), total)


def mean_within(values: Tensor, rate: float) -> float:
    """Return how far, but for a share `rate` of cases, a mean lies at most from what it estimates.

    Maurer & Pontil (2009), Empirical Bernstein bounds, theorem 4, both sides.

    Args:
        values: Independent values in [0, 1], (n,).
        rate: The share of cases.
    """
    log = math.log(4 / rate)
    return math.sqrt(2 * float(values.var()) * log / len(values)) + 7 * log / (3 * (len(values) - 1))


def excesses(log_weight: Tensor, place: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return by how much the scores of draws exceed their means, each draw being one of several points.

    Given its points, each draw is the k-th of them with probability proportional to exp(log_weight_k). So the excess is
    zero on average, with a variance that is known.

    Args:
        log_weight: Of each point, up to a constant a row, (n, m); that of the draw is above -inf.
        place: Which of its points the draw is, (n,).
        scores: Any functions of the points, (S, n, m).

    Returns:
        Excess and variance of each score at each draw, (S, n), and what no excess exceeds, (S, 1).
    """
    weight = log_weight.softmax(-1)
    excess = scores - (weight * scores).sum(-1, keepdim=True)
    variance = (weight * excess.square()).sum(-1)
    own = excess.gather(-1, place.expand(len(scores), -1)[..., None]).squeeze(-1)
    return own, variance, torch.where(weight > 0, excess.abs(), 0.0).flatten(1).amax(1, keepdim=True)
