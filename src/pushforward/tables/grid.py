"""What the values of a column are recorded in: even steps, or levels that lie as they please."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

MOST_NEW = 0.001  # probability of a value never seen (rows whose value occurs once) up to which values are levels,
LEVEL_STEPS = 10  # where neighbours are mostly so many of the least steps apart,
MOST_LEVELS = 10_000  # and these are not too many to be kept
MOST_STEPS = 2**52  # of a number, which can be told apart


@dataclass(frozen=True, eq=False)
class Grid:
    """The values that a column of numbers is recorded in; each stands for the cell around it.

    Attributes:
        step: Between neighbours; of levels what all of them are multiples of.
        levels: The values, increasing, where these are few and far apart for the step, as in 1, 2, 5, 10, 20, 50; else
            empty: any multiple of the step is a value.
    """

    step: float
    levels: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, values: np.ndarray, unit: float, counts: np.ndarray | None = None) -> "Grid | None":
        """Return the grid of increasing values, (n,), as multiples of a unit; None if they are not.

        Args:
            values: Distinct and increasing.
            unit: Above 0.
            counts: Rows of each value; without them the grid has even steps.
        """
        ticks = (values - values[0]) / unit
        whole = np.round(ticks)
        if np.abs(ticks - whole).max(initial=0.0) > 1e-3 or np.abs(whole).max(initial=0.0) > MOST_STEPS:
            return None
        step = float(np.gcd.reduce(whole.astype(np.int64))) * unit or unit
        are_levels = (
            counts is not None and 2 < len(values) <= MOST_LEVELS and np.median(np.diff(values)) >= LEVEL_STEPS * step
        )
        if are_levels and (counts == 1).sum() <= MOST_NEW * counts.sum():  # type: ignore[union-attr]
            return cls(step, values)
        return cls(step, np.empty(0))

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Grid | None":
        """Return the grid of an encoder's stored values; ValueError if there can be none."""
        step, levels = float(stored["step"]), np.array(stored.get("levels", ()), dtype=float)
        if not (0 <= step < np.inf and levels.ndim == 1 and len(levels) != 1):
            raise ValueError("a step is finite and not negative, and levels are more than one")
        if not (np.isfinite(levels).all() and (np.diff(levels) > 0).all()):
            raise ValueError("levels increase, and all numbers are finite")
        return cls(step, levels) if step else None

    def cells(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper end of the cell around values, any shape; of levels that of the nearest."""
        if not len(self.levels):
            return values - self.step / 2, values + self.step / 2
        middles = self._middles
        k = np.searchsorted(middles, values)
        below, above = 2 * self.levels[0] - middles[0], 2 * self.levels[-1] - middles[-1]
        ends = np.concatenate(([below], middles, [above]))
        return ends[k], ends[k + 1]

    def nearest(self, values: np.ndarray, first: float) -> np.ndarray:
        """Return the values of the grid that lie nearest, any shape; even steps are counted from a first value."""
        if len(self.levels):
            return self.levels[np.searchsorted(self._middles, values)]
        return first + np.round((values - first) / self.step) * self.step

    @property
    def _middles(self) -> np.ndarray:
        return (self.levels[1:] + self.levels[:-1]) / 2
