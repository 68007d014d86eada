"""How many steps a run has, revised as time goes by."""

import math
from collections.abc import Sequence

from pushforward.training.learning_rate import rate_factor

MEASURED_SHARE = 0.06  # of the time, over which a step is timed anew at the latest
MEASURED_STEPS = 0.1  # of the steps left, after which it is
TOLERANCE = 0.1  # of the steps left: smaller revisions are not worth a kink in the learning rate


class Plan:
    """The number of steps, and every change made to it.

    Without `max_seconds` the number is fixed, or follows a recorded plan. With it, the number is what the measured
    seconds a step allow, and is revised, up or down, whenever by the measurement the run would end early or late.

    Args:
        changes: [(step, num_steps), ...]: from that step on the run has so many steps. The first is for step 0.
        schedule: Of the learning rate, see `rate_factor`.
        max_seconds: Budget in seconds, or None.
        most: Bound on the number of steps, whatever the time allows.
    """

    def __init__(
        self,
        changes: Sequence[tuple[int, int]],
        *,
        schedule: str,
        max_seconds: float | None = None,
        most: float = math.inf,
    ) -> None:
        self.changes = [(int(step), int(num_steps)) for step, num_steps in changes]
        self.schedule, self.max_seconds, self.most = schedule, max_seconds, most
        self.position = 0
        self._mark: tuple[int, float] | None = None

    @property
    def num_steps(self) -> int:
        """The number of steps in force."""
        return self.changes[self.position][1]

    def next_change(self, step: int) -> float:
        """Return the step of the next recorded change, infinity without one."""
        return next((at for at, _ in self.changes[self.position + 1 :] if at > step), math.inf)

    def rate_factor(self, step: int) -> float:
        """Return the share of the learning rate that step number `step`, counted from 0, is taken at."""
        return rate_factor(self.schedule, (step + 0.5) / self.num_steps)

    def revise(self, step: int, seconds: float, closing: float) -> None:
        """Bring the number of steps up to date, before the step number `step` is taken.

        A run does not end while there is time for another step. Half of what a stretch of steps says counts (in the
        geometric mean with the plan so far), since it may have been held up; the next stretch says the rest.

        Args:
            step: Steps taken so far.
            seconds: Seconds used so far.
            closing: Seconds that the end of the run will take (the last validation).
        """
        while self.position + 1 < len(self.changes) and self.changes[self.position + 1][0] <= step:
            self.position += 1
        if self.max_seconds is None or step >= self.most:
            return
        left = self.max_seconds - closing - seconds
        if left <= 0:
            self._change(step, min(step, self.num_steps))
            return
        if self._mark is None:
            self._mark = (step, seconds)
        taken, stretch = step - self._mark[0], seconds - self._mark[1]
        at_the_end = step >= self.num_steps
        if taken < 1 or not (
            at_the_end
            or stretch >= MEASURED_SHARE * self.max_seconds
            or taken >= MEASURED_STEPS * (self.num_steps - self._mark[0])
        ):
            return
        reachable, planned = left * taken / max(stretch, 1e-9), self.num_steps - step
        if not at_the_end:
            reachable = math.sqrt(reachable * planned)
        if abs(reachable - planned) > TOLERANCE * planned + 1 or (at_the_end and reachable >= 1):
            self._change(step, int(min(step + max(reachable, 1), self.most)))
        self._mark = (step, seconds)

    def _change(self, step: int, num_steps: int) -> None:
        if num_steps != self.num_steps:
            self.changes.append((step, max(num_steps, 1)))
            self.position += 1
