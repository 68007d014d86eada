"""The scale that a column of numbers is modelled on: its own distribution, carried to a standard normal."""

from dataclasses import dataclass

import numpy as np

NUMBERS_OF_KNOTS = (4, 8, 16, 32, 64)
MOST_JUDGES = 50_000  # values that choose among these
MOST_BEYOND = 700.0  # of z beyond the outer knots, so that x stays finite
FEWEST_PER_KNOT = 40  # values between two knots: fewer would put the noise of the sample into the scale


@dataclass(frozen=True, eq=False)
class Marginal:
    """A monotone rational-quadratic spline through quantiles: x -> z, z about standard normal.

    A column's edges, spikes and tails are in its marginal, which is learned here from ranks at once, so that a network
    has only the dependence on other columns to learn. Beyond the outer knots z grows with the logarithm: tails of
    the density are powers, and no outlier decides a likelihood. The spline is that of
    arXiv:1906.04032, eqs. 4-8, with the slopes at the knots from their neighbours (harmonic means).

    Attributes:
        x: Increasing knots in units of the column, at least two.
        z: Their images, increasing.
    """

    x: np.ndarray
    z: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, cells: tuple[np.ndarray, np.ndarray] | None = None) -> "Marginal":
        """Return the scale of values, (n,), finite, at least two of them distinct.

        It has as few knots as half of the values say of the other half: more only where they give that a density that
        is greater by more than chance. What is noise in a scale, no network takes out again.

        Args:
            values: (n,), in any order.
            cells: The lower and the upper ends of the cells that they stand for, (n,) each; None for themselves.
        """
        candidates = [num for num in NUMBERS_OF_KNOTS if num * FEWEST_PER_KNOT <= len(values)]
        if len(candidates) < 2:
            return cls.with_knots(values, 2 if not candidates else candidates[0])
        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(values))[:MOST_JUDGES]
        learned, judged = chosen[::2], chosen[1::2]
        x = values[judged]
        if cells is not None:
            low, high = (end[judged] for end in cells)
            x = low + rng.uniform(size=len(x)) * (high - low)
        best, best_log_prob = candidates[0], None
        for num in candidates:
            z, log_slope = cls.with_knots(values[learned], num).to_z(x)
            log_prob = log_slope - z * z / 2
            if best_log_prob is None or (gain := log_prob - best_log_prob).mean() > gain.std() / len(gain) ** 0.5:
                best, best_log_prob = num, log_prob
        return cls.with_knots(values, best)

    @classmethod
    def with_knots(cls, values: np.ndarray, num: int) -> "Marginal":
        """Return the scale of values, (n,), with about so many knots, and some for the tails."""
        from scipy.special import ndtri

        n = len(values)
        tail = 0.5 / n
        # Even steps in the middle, and steps of a factor towards both ends, where densities change fastest.
        inner = np.linspace(0, 1, num + 1)[1:-1]
        outer = (
            np.geomspace(tail, max(1 / num, tail), max(int(np.log2(n / num)), 1) + 1)[:-1] if n > 2 * num else [tail]
        )
        shares = np.unique(np.concatenate((outer, inner, 1 - np.asarray(outer))))
        x = np.quantile(values, shares, method="hazen")
        # Where values repeat, quantiles coincide: one knot there, at the middle of their ranks.
        knots, where = np.unique(x, return_inverse=True)
        middle = np.bincount(where, shares) / np.bincount(where)
        z = ndtri(middle)
        gap = 1e-9 * max(knots[-1] - knots[0], np.abs(knots).max() * 1e-6, 1e-300)
        apart = np.concatenate(([True], np.diff(knots) > gap))
        return cls(knots[apart], z[apart]) if apart.sum() > 1 else cls(*_two_knots(values))

    def to_z(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return z and log(dz/dx) at x, any shape."""
        return _spline(x, self.x, self.z, self._slopes)

    def to_x(self, z: np.ndarray) -> np.ndarray:
        """Return the x whose image is z, any shape."""
        return _inverse(z, self.x, self.z, self._slopes)

    @property
    def _slopes(self) -> np.ndarray:
        s = np.diff(self.z) / np.diff(self.x)
        if len(s) == 1:
            return np.repeat(s, 2)
        return np.concatenate((s[:1], 2 / (1 / s[1:] + 1 / s[:-1]), s[-1:]))


def _two_knots(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = float(values.min()), float(values.max())
    return np.array([low, high if high > low else low + max(abs(low), 1.0)]), np.array([-1.5, 1.5])


def _spline(x: np.ndarray, xs: np.ndarray, zs: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return z and log(dz/dx); slopes are counted in units of the bin's own, so that no scale is too small or large."""
    k = np.clip(np.searchsorted(xs, x, side="right") - 1, 0, len(xs) - 2)
    w, h = (xs[1:] - xs[:-1])[k], (zs[1:] - zs[:-1])[k]
    s = h / w
    r0, r1 = d[k] / s, d[k + 1] / s
    with np.errstate(over="ignore"):
        t = np.clip((x - xs[k]) / w, 0, 1)
    rest = t * (1 - t)
    below = 1 + (r0 + r1 - 2) * rest
    z = zs[k] + h * (t * t + r0 * rest) / below
    log_slope = np.log(s) + np.log(r1 * t * t + 2 * rest + r0 * (1 - t) ** 2) - 2 * np.log(below)
    with np.errstate(over="ignore"):
        outside = np.log1p(np.maximum(xs[0] - x, 0) * d[0] + np.maximum(x - xs[-1], 0) * d[-1])
    return z + np.where(x < xs[0], -outside, outside), log_slope - outside


def _inverse(z: np.ndarray, xs: np.ndarray, zs: np.ndarray, d: np.ndarray) -> np.ndarray:
    k = np.clip(np.searchsorted(zs, z, side="right") - 1, 0, len(zs) - 2)
    w, h = (xs[1:] - xs[:-1])[k], (zs[1:] - zs[:-1])[k]
    s = h / w
    r0, r1 = d[k] / s, d[k + 1] / s
    rise = np.clip((z - zs[k]) / h, 0, 1)
    bend = rise * (r0 + r1 - 2)
    a, b, c = 1 - r0 + bend, r0 - bend, -rise
    t = np.clip(2 * c / (-b - np.sqrt(np.maximum(b * b - 4 * a * c, 0))), 0, 1)
    low, high = (np.expm1(np.clip(beyond, 0, MOST_BEYOND)) for beyond in (zs[0] - z, z - zs[-1]))
    return xs[k] + w * t - low / d[0] + high / d[-1]
