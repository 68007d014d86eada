"""The time that a run has used."""

import time


class Clock:
    """Wall-clock seconds of a run, those before a resume included and compiling left out.

    Args:
        used: Seconds used before.
        shared: Whether several processes go by it, which then see the time they last agreed on.

    Attributes:
        agreed: That time; None where this process goes by its own.
    """

    def __init__(self, used: float = 0.0, *, shared: bool = False) -> None:
        self._start = time.perf_counter() - used
        self.agreed = used if shared else None

    @property
    def own(self) -> float:
        """Seconds used so far, as this process sees it."""
        return time.perf_counter() - self._start

    @property
    def seconds(self) -> float:
        """Seconds used so far, for all that is decided by time."""
        return self.own if self.agreed is None else self.agreed

    def leave_out(self, seconds: float) -> None:
        """Take off seconds that do not count."""
        self._start += seconds
        if self.agreed is not None:
            self.agreed -= seconds
