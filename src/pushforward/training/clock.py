"""The time that a run has used."""

import time


class Clock:
    """Wall-clock seconds of a run, those before a resume included and compiling left out.

    Args:
        used: Seconds used before.
    """

    def __init__(self, used: float = 0.0) -> None:
        self._start = time.perf_counter() - used

    @property
    def seconds(self) -> float:
        """Seconds used so far."""
        return time.perf_counter() - self._start

    def leave_out(self, seconds: float) -> None:
        """Take off seconds that do not count."""
        self._start += seconds
