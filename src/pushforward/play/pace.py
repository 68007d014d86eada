"""How fast a run goes: held back, a number of steps, so many a second, or as fast as it can beside the pictures."""

import time

CHUNK = 0.05  # seconds of training between two looks at full speed
MOST_AT_ONCE = 20_000
FULL_SPEED = 0.0


class Pace:
    """Says how many steps come next.

    Attributes:
        running: Whether the run goes on by itself.
        speed: In steps a second; `FULL_SPEED` for as many as there can be.
        left: Steps to take whatever the speed.
    """

    def __init__(self) -> None:
        self.running, self.speed, self.left = False, FULL_SPEED, 0
        self._chunk, self._began, self._trained = 1, time.perf_counter(), 0.0
        self._whole = False  # whether the last steps were a whole chunk
        self._paced, self._paced_from = 0, time.perf_counter()

    def play(self, speed: float) -> None:
        """Go on at a speed."""
        self.running, self.speed = True, speed
        self._paced, self._paced_from = 0, time.perf_counter()

    def hold(self) -> None:
        """Take no more steps."""
        self.running, self.left = False, 0

    def take(self, steps: int) -> None:
        """Take a number of steps, then hold."""
        self.running, self.left = False, steps

    @property
    def moving(self) -> bool:
        """Whether there are steps to come."""
        return self.running or self.left > 0

    def came(self, steps: int) -> None:
        """Note that so many steps have been taken since `steps_now` was asked."""
        self._trained = time.perf_counter() - self._began
        self._whole = steps >= self._chunk
        self.left = max(self.left - steps, 0)

    def steps_now(self, frame_seconds: float) -> int:
        """Return how many steps to take now, 0 for none yet.

        Args:
            frame_seconds: What the last picture took; training at full speed takes twice that between two.
        """
        steps = self._steps_now(frame_seconds)
        self._began = time.perf_counter()
        return steps

    def _steps_now(self, frame_seconds: float) -> int:
        if self.left:
            return min(self.left, self._chunk_now(frame_seconds))
        if not self.running:
            return 0
        if self.speed == FULL_SPEED:
            return self._chunk_now(frame_seconds)
        due = int((time.perf_counter() - self._paced_from) * self.speed) - self._paced
        if due <= 0:
            return 0
        steps = min(due, self._chunk_now(frame_seconds))
        if steps < due:  # it cannot keep up: nothing is made up for
            self._paced, self._paced_from = 0, time.perf_counter()
        else:
            self._paced += steps
        return steps

    def _chunk_now(self, frame_seconds: float) -> int:
        """Take more steps at once where they take little time, beside that of a frame too."""
        aim = max(CHUNK, 2 * frame_seconds)
        if self._whole and self._trained < aim / 2:
            self._chunk = min(self._chunk * 2, MOST_AT_ONCE)
        elif self._trained > 2 * aim:
            self._chunk = max(self._chunk // 2, 1)
        self._whole, self._trained = False, aim  # what was learned of the last steps is used once
        return self._chunk
