"""The learning rate of each step: a function of step / num_steps alone."""

import math

SCHEDULES = ("cosine", "constant")
WARM_UP = 0.05


def rate_factor(schedule: str, progress: float) -> float:
    """Return the share of the learning rate in force at `progress` = (step + 1/2) / num_steps, in (0, 1).

    "cosine" rises linearly over the first 5 % and falls to 0 by half a cosine; "constant" is 1 throughout.
    """
    if schedule == "constant":
        return 1.0
    fall = 0.5 * (1 + math.cos(math.pi * max(progress - WARM_UP, 0.0) / (1 - WARM_UP)))
    return min(progress / WARM_UP, 1.0) * fall
