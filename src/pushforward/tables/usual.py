"""What rows that no one trained on are like: how rare a cell is in its column, and a row among them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

DIGITS, MOST_SURPRISE = 3, 1e6  # of what a model file keeps
TAIL, FEWEST_IN_TAIL = 0.05, 10  # of the values
LEAST_SCALE = 1.0  # nats: of outcomes less probable by t nats than usual no law has a greater share than about exp(-t)


class Rarity:
    """How rare values are: -log of the share of known values that are as large, in nats.

    Beyond the last twentieth of them it goes on as if their tail were exponential, with the mean that it has, but 1 at
    least.

    Args:
        known: (n,); NaN is no value, and where there is none nothing is rare.
    """

    def __init__(self, known: np.ndarray) -> None:
        self._known = np.sort(known[~np.isnan(known)])
        num = min(max(int(TAIL * len(self._known)), FEWEST_IN_TAIL), len(self._known) - 1)
        self._start = self._known[-num - 1] if num > 0 else np.inf
        self._scale = max(float((self._known[-num:] - self._start).mean()), LEAST_SCALE) if num > 0 else 1.0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the rarity of values, any shape; 0 of NaN."""
        share = share_above(self._known, np.minimum(values, self._start))
        return np.where(np.isnan(values), 0.0, np.maximum(values - self._start, 0) / self._scale - np.log(share))


class Judged(NamedTuple):
    """What is unusual about rows.

    Attributes:
        cells: (n, columns), how rare each cell is, in nats; 0 where there is none.
        score: (n,), how rare each row is.
        p_value: (n,), the share of rows that no one trained on which are as rare.
    """

    cells: np.ndarray
    score: np.ndarray
    p_value: np.ndarray


@dataclass(frozen=True, eq=False)
class Usual:
    """The surprises of rows that no one trained on, among which those of other rows are rare or not.

    What is rare is learned from some rows, and p-values compare with others: rows that took part in both would score
    higher than new ones, and p-values be too small.

    Attributes:
        learned: (m, columns), -log p(cell | all other cells) in nats; NaN where no cell is.
        compared: (n, columns), likewise, of the rows that p-values compare with.
    """

    learned: np.ndarray
    compared: np.ndarray

    @classmethod
    def of(cls, learned: np.ndarray, compared: np.ndarray) -> "Usual":
        """Return what rows are like of log p(cell | the others), (m, columns) and (n, columns), at least one each."""
        return cls(_surprises(learned), _surprises(compared))

    @classmethod
    def from_dict(cls, stored: Any, num_columns: int) -> "Usual":
        """Return what `to_dict` stored; ValueError, KeyError or TypeError for anything else."""
        parts = [np.array(stored[name], dtype=float) for name in ("learned", "compared")]
        for part in parts:
            if part.ndim != 2 or part.shape[1] != num_columns or not len(part) or np.isinf(part).any():
                raise ValueError("held-out rows have a number in every column")
        return cls(*parts)

    def to_dict(self) -> dict[str, list[list[float | None]]]:
        """Return plain values for JSON."""
        return {
            name: [[None if np.isnan(value) else value for value in row] for row in getattr(self, name).tolist()]
            for name in ("learned", "compared")
        }

    def judge(self, columns_log_prob: np.ndarray, columns: Sequence[int]) -> Judged:
        """Judge rows by some of their cells.

        A cell is as rare as its surprise is among those of its column; a row as its rarest cell, or as the sum over its
        cells (Fisher's way to combine), whichever fewer rows surpass. The p-value is conformal, (1 + k) / (1 + n) where
        k of the n known rows have the row's score or a higher one.

        Args:
            columns_log_prob: (rows, columns), log p(cell | the others); NaN where no cell is.
            columns: Positions of those that count.
        """
        cells = self._rare(_surprises(columns_log_prob))
        score, known = self._scores(columns)
        found = score(cells[:, columns])
        return Judged(cells, found, share_above(known, found))

    def threshold(self, level: float) -> float:
        """Return the score above which p-values are at most a level; the highest known one where these are too few."""
        known = self._scores(range(self.compared.shape[1]))[1]
        num = max(math.floor(level * (1 + len(known))) - 1, 0)
        return float(known[-num - 1])

    def _scores(self, columns: Sequence[int]) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
        """Return the score of rows by their cells, (n, columns) -> (n,), and those of the known rows, increasing."""
        learned, compared = (cells[:, columns] for cells in self._known_cells)
        rarest, together = Rarity(learned.max(1)), Rarity(learned.sum(1))

        def score(cells: np.ndarray) -> np.ndarray:
            return np.maximum(rarest(cells.max(1)), together(cells.sum(1)))

        return score, np.sort(score(compared))

    @cached_property
    def _columns(self) -> list[Rarity]:
        return [Rarity(known) for known in self.learned.T]

    @cached_property
    def _known_cells(self) -> tuple[np.ndarray, np.ndarray]:
        return self._rare(self.learned), self._rare(self.compared)

    def _rare(self, surprises: np.ndarray) -> np.ndarray:
        return np.stack([one(each) for one, each in zip(self._columns, surprises.T, strict=True)], 1)


def _surprises(columns_log_prob: np.ndarray) -> np.ndarray:
    """Return surprises as they are kept: what is equal stays equal."""
    return np.round(np.minimum(-columns_log_prob, MOST_SURPRISE), DIGITS)


def share_above(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the share of known values, (n,), increasing, that are at least as large, and one more of them."""
    return (1 + len(known) - np.searchsorted(known, values)) / (1 + len(known))
