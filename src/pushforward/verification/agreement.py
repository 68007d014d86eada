"""Do the draws of a base fit its log_prob? Two tests, exact in any dimension and for any constant in log_prob.

A draw is hidden among points that it could as well have been: given the points, it is the k-th with probability
proportional to the density there. So every function of the points is at the draws, on average, what those probabilities
make of it; where the draws come from another density it is not.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pushforward.verification import chance
from pushforward.verification.proposal import Proposal

NUM_POINTS = 8  # of a line, the draw included
LOWEST = -10.0  # nats below the highest point of a set, where scores that are log densities end

ROUNDING = 2e-4  # of the mean of a score, which float32 log densities of some thousand nats leave uncertain

LogProb = Callable[[Tensor], Tensor]
Chances = dict[str, Tensor]
"""By what they tell of, bounds on the chance of what is seen; each negative where the draws have too little of it."""


def along_lines(log_prob: LogProb, draws: Tensor, others: Tensor, generator: torch.Generator) -> Chances:
    """Hide each draw in a row of equal steps; return the chances of what is seen.

    The draw's place in the row is random, and so the row could have been laid from each of its points. Steps are
    differences of two other draws: every second along one feature, the others in all features at once.

    Args:
        log_prob: (n, D) -> (n,), up to a constant.
        draws: (n, D).
        others: Draws that are independent of them, (n', D).
        generator: Source of randomness.
    """
    n, features = draws.shape
    device = draws.device

    def integers(end: int) -> Tensor:
        return torch.randint(end, (n,), generator=generator, device=device)

    first, second = others[integers(len(others))], others[integers(len(others))]
    length = 0.3 + 0.7 * torch.rand(n, 1, generator=generator, dtype=draws.dtype, device=device)
    step = (first - second) * length
    number = torch.arange(n, device=device)
    along_one = number % 2 == 0
    feature = number // 2 % features
    # In D dimensions two draws lie sqrt(D) times as far apart as a density is wide along the line through them.
    shorter = torch.where(integers(4)[:, None] < 3, features**-0.5, 1.0).to(draws.dtype)
    axis = torch.nn.functional.one_hot(feature, features) * step.abs()
    step = torch.where(along_one[:, None], axis, step * shorter)
    place = integers(NUM_POINTS)
    offset = torch.arange(NUM_POINTS, device=device) - place[:, None]
    points = draws[:, None] + offset[..., None] * step[:, None]
    heights = log_prob(points.reshape(-1, features)).reshape(n, NUM_POINTS).double()

    weight = heights.softmax(-1)
    y = 2 * weight.cumsum(-1) - weight - 1  # from -1 to 1, the more even the smaller the steps
    height = (heights - heights.amax(-1, keepdim=True)).clamp(min=LOWEST)
    squared = y.square()
    moments = [y, 1.5 * squared - 0.5, (2.5 * squared - 1.5) * y, (4.375 * squared - 3.75) * squared + 0.375]
    excess, variance, bound = chance.excesses(heights, place, torch.stack([*moments, height]))

    def total(rows: slice) -> Tensor:
        return _chance(excess[:, rows], variance[:, rows], bound)

    one, between = total(slice(0, None, 2)), total(slice(1, None, 2))
    empty = excess.new_zeros(2, features)
    total_of, variance_of = (empty.index_add(1, feature[::2], values[:2, ::2]) for values in (excess, variance))
    by_feature = chance.of_sum(total_of, variance_of, bound[:2], ROUNDING * n / features)
    return {
        "their location": one[0],
        "their spread": one[1],
        "their skewness": one[2],
        "their tails": one[3],
        "their location in feature": by_feature[0],
        "their spread in feature": by_feature[1],
        "their spread along lines between draws": between[1],
        "their tails along lines between draws": between[3],
        "how likely they are": total(slice(None))[4],
    }


def among_others(log_ratio: Tensor, cells: list[Tensor]) -> Chances:
    """Hide each draw, the first of its row, among draws of a proposal; return the chances of what is seen.

    Any of the row could be the draw of the base, in proportion to base / proposal. This sees what lines do not:
    the weights of modes far apart, dependence.

    Args:
        log_ratio: log base - log proposal of every point, (n, m); first that of the base's draw.
        cells: Divisions of the space: the number of every point's cell, (n, m).
    """
    place = torch.zeros(len(log_ratio), dtype=torch.long, device=log_ratio.device)
    height = (log_ratio - log_ratio.amax(-1, keepdim=True)).clamp(min=LOWEST)
    within = [cell == number for cell in cells for number in range(int(cell.max()) + 1)][1:]
    found = _chance(*chance.excesses(log_ratio, place, torch.stack([height, *within])))
    return {
        "how likely they are against a density fitted to them": found[0],
        "their share in a part of the space": found[1:],
    }


def proposal_points(
    log_prob: LogProb, draws: Tensor, others: Tensor, num_points: int, generator: torch.Generator
) -> tuple[Tensor, list[Tensor]]:
    """Return log ratio and cells of each draw and of `num_points` - 1 draws of a proposal, (n, m).

    Args:
        log_prob: (n, D) -> (n,).
        draws: (n, D).
        others: Draws that are independent of them, (n', D): the proposal is fitted to these.
        num_points: m.
        generator: Source of randomness.
    """
    proposal = Proposal.fit(others.double(), generator)
    drawn = proposal.sample(len(draws) * (num_points - 1), generator).to(draws.dtype)
    points = torch.cat([draws[:, None], drawn.reshape(len(draws), num_points - 1, -1)], 1).flatten(0, 1)
    wide, shape = points.double(), (len(draws), num_points)
    log_ratio = log_prob(points).double() - proposal.log_prob(wide)
    return log_ratio.reshape(shape), [cells.number(wide).reshape(shape) for cells in proposal.cells]


def _chance(excess: Tensor, variance: Tensor, bound: Tensor) -> Tensor:
    """Return bounds on the chance of each score's excesses at all draws, (S, n), (S, n), (S, 1) -> (S,)."""
    return chance.of_sum(excess.sum(1), variance.sum(1), bound[:, 0], ROUNDING * excess.shape[1])
