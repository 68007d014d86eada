"""How far a long run over rows is: rows, rate and time left, on standard error."""

import sys
import time

LINE_SECONDS, TERMINAL_SECONDS = 5.0, 0.2  # between two lines, and two looks in a terminal


class Rate:
    """Counts rows, and says how far they are.

    Args:
        weight: Of all the work, in any unit.
    """

    def __init__(self, weight: int) -> None:
        self._weight, self._passed, self._rows, self._shown = max(weight, 1), 0, 0, False
        self._began = self._last = time.monotonic()
        self._in_terminal = sys.stderr.isatty()

    def passed(self, weight: int) -> None:
        """Count some of the work as done."""
        self._passed += weight

    def count(self, rows: int) -> None:
        """Count rows, and say how far the run is, unless that was said a moment ago."""
        self._rows += rows
        now = time.monotonic()
        if now - self._last < (TERMINAL_SECONDS if self._in_terminal else LINE_SECONDS):
            return
        self._last, seconds = now, now - self._began
        line = f"{self._rows:,} rows, {self._rows / seconds:,.0f} a second"
        if self._passed:
            left = seconds / self._passed * (self._weight - self._passed)
            line += f", {self._passed / self._weight:.0%}, about {left:,.0f} s left"
        before, after = ("\r\033[K", "") if self._in_terminal else ("", "\n")
        print(f"{before}{line}", end=after, file=sys.stderr, flush=True)
        self._shown = True

    def close(self) -> None:
        """End the line of a terminal."""
        if self._in_terminal and self._shown:
            print(file=sys.stderr, flush=True)
