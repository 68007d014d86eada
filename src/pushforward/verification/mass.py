"""The mass of a density that can be drawn from: is it one? By bridge sampling, beside a density that is known."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.verification.chance import mean_within

MOST_STEPS = 50  # of the iteration to the mass


@dataclass(frozen=True)
class Mass:
    """The mass of a density where its draws lie.

    Attributes:
        value: The estimate.
        resolution: The relative error that it is known to.
        is_one: Whether it can be one: False by chance in a share of cases that was asked for.
    """

    value: float
    resolution: float
    is_one: bool


def bridge(own: Tensor, proposed: Tensor, rate: float) -> Mass:
    """Return the mass from log(density / proposal) at draws of both [1].

    With w = density / proposal, the mean of 1 / (w + 1) over draws of the density is that of w / (w + 1) over draws of
    the proposal if the mass is one. Both lie in [0, 1], so that their errors are bounded whatever the proposal: a bad
    one makes the result coarse, never wrong.

    Args:
        own: At draws of the density, (n,).
        proposed: At draws of the proposal, (n',).
        rate: How often the mass may be said not to be one though it is.

    References:
        [1] Meng & Wong (1996), Simulating ratios of normalizing constants via a simple identity.
    """
    log_mass = own.new_zeros(())
    for _ in range(MOST_STEPS):
        over, under = torch.sigmoid(proposed - log_mass).mean(), torch.sigmoid(log_mass - own).mean()
        change = (over / under).log().clamp(-20, 20)
        log_mass = log_mass + change
        if float(change.abs()) < 1e-6:
            break
    at_one = (torch.sigmoid(proposed), torch.sigmoid(-own))
    error = sum(mean_within(values, rate / 2) for values in at_one)
    is_one = not abs(float(at_one[0].mean() - at_one[1].mean())) > error
    there = (torch.sigmoid(proposed - log_mass), torch.sigmoid(log_mass - own))
    overlap = float(there[1].mean())
    within = sum(mean_within(values, rate / 2) for values in there)
    return Mass(float(log_mass.exp()), within / overlap if overlap > 0 else float("inf"), is_one)
