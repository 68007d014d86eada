"""Numbers that come round again after a period, such as hours and angles, cut open to a stretch of the line."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_PERIOD, MOST_PERIOD = 1e-6, 1e12  # periods of which numbers keep twelve digits


@dataclass(frozen=True)
class Circle:
    """The circle that numbers modulo a period lie on, cut where few of them are.

    Attributes:
        period: Its length in units of the column, above 0.
        cut: Where it is cut open: numbers are modelled between here and one period on.
        start: The least number of the table's own range, which is one period long: 0, -180, 1 of months.
    """

    period: float
    cut: float
    start: float

    @classmethod
    def of(cls, period: float, values: np.ndarray, everything: np.ndarray) -> "Circle":
        """Return the circle of values, (n,): cut in the widest gap of where sqrt(n) in a row are farthest apart.

        The table's own range is that of everything.
        """
        low, high = float(everything.min()), float(everything.max())
        start = next((one for one in (0.0, -period / 2, low) if one <= low and high < one + period), 0.0)
        turned = np.sort((values - start) % period)
        around, few = np.concatenate((turned, turned + period)), math.isqrt(len(turned))
        first = int((around[few : few + len(turned)] - around[: len(turned)]).argmax())
        place = first + int(np.diff(around[first : first + few + 1]).argmax())
        return cls(period, start + float(around[place] + around[place + 1]) / 2 % period, start)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Circle":
        """Return the circle of stored values; ValueError if there is none."""
        period, cut, start = (float(stored[name]) for name in ("period", "cut", "start"))
        if not (LEAST_PERIOD <= period <= MOST_PERIOD and math.isfinite(cut) and math.isfinite(start)):
            raise ValueError(f"a period is from {LEAST_PERIOD:g} to {MOST_PERIOD:g}, all numbers are finite")
        return cls(period, cut, start)

    def opened(self, values: np.ndarray) -> np.ndarray:
        """Return numbers, any shape, in the period from the cut on."""
        return self._from(self.cut, values)

    def closed(self, values: np.ndarray) -> np.ndarray:
        """Return numbers, any shape, in the table's own range."""
        turned = self._from(self.start, values)
        return np.where(turned < self.start + self.period, turned, self.start)

    def _from(self, first: float, values: np.ndarray) -> np.ndarray:
        # Rounded, so that equal numbers stay equal: 23.9 - 24 and 47.9 - 48 differ in the last digits.
        turned = values - self.period * np.floor((values - first) / self.period)
        return np.round(turned, 12 - math.ceil(math.log10(self.period)))
