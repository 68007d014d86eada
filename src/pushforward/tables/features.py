"""Columns of every kind as plain numbers: for trees, for distances, for how much columns say of one another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pushforward.tables.number_cells import to_numbers

if TYPE_CHECKING:
    import polars as pl

MOST_CATEGORIES = 20  # of a column that have a place of their own in distances
LEVELS = 8  # of equal shares, into which numbers are cut to be compared with categories
WORDS = ("category", "boolean")


@dataclass(frozen=True)
class Features:
    """Columns as numbers, as they are learned from some rows.

    Attributes:
        kinds: The kind of each column, by name.
        rows: The rows.
    """

    kinds: Mapping[str, str]
    rows: "pl.DataFrame"

    def for_trees(self, frame: "pl.DataFrame") -> np.ndarray:
        """Return a column each, (rows, columns): numbers as they are, categories by their rank; NaN if missing.

        Columns of which the rows have no cell are left out.
        """
        return np.column_stack([
            self._plain(name, frame) for name in self.kinds if self.rows[name].null_count() < self.rows.height
        ])  # fmt: skip

    def for_distances(self, frame: "pl.DataFrame") -> np.ndarray:
        """Return numbers as normal scores of their ranks, categories each a column; of missing cells one more column.

        Two rows differ by about as much in either kind.
        """
        from scipy.special import ndtri

        parts = []
        for name, kind in self.kinds.items():
            values, known = self._plain(name, frame), self._plain(name, self.rows)
            known = np.sort(known[~np.isnan(known)])
            missing = np.isnan(values)
            if kind in WORDS:
                levels = int(known.max()) + 2 if len(known) else 0  # and one that they never had
                parts += [np.where(values == level, 1.0, 0.0) for level in range(min(MOST_CATEGORIES, levels))]
            elif len(known):
                rank = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right") + 1) / 2
                parts.append(np.where(missing, 0.0, ndtri(np.clip(rank / (len(known) + 1), 1e-4, 1 - 1e-4))))
            parts.append(missing.astype(float))
        return np.column_stack(parts)

    def levels(self, name: str, frame: "pl.DataFrame") -> np.ndarray:
        """Return the cells of a column as few levels, (rows,), integers; 0 of missing ones."""
        values = self._plain(name, frame)
        if self.kinds[name] not in WORDS:
            known = self._plain(name, self.rows)
            known = known[~np.isnan(known)]
            edges = np.unique(np.quantile(known, np.linspace(0, 1, LEVELS + 1)[1:-1])) if len(known) else known
            values = np.where(np.isnan(values), np.nan, np.searchsorted(edges, values, "right"))
        return np.where(np.isnan(values), 0, np.minimum(values, MOST_CATEGORIES) + 1).astype(int)

    def _plain(self, name: str, frame: "pl.DataFrame") -> np.ndarray:
        if self.kinds[name] not in WORDS:
            return to_numbers(self.kinds[name], frame[name])
        counts = self.rows[name].alias("value").cast(str).drop_nulls().value_counts(sort=True, name="times")
        place = {value: float(rank) for rank, value in enumerate(counts["value"].to_list())}
        return np.array([np.nan if v is None else place.get(v, len(place)) for v in frame[name].cast(str).to_list()])


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Return how much two columns of levels, (n,) each, say of one another, in nats, less what chance alone gives."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1.0)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    n, expected = table.sum(), table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    there = table > 0
    found = (table[there] / n * np.log(table[there] / expected[there])).sum()
    by_chance = (table.shape[0] - 1) * (table.shape[1] - 1) / (2 * n)  # Miller (1955)
    return max(float(found - by_chance), 0.0)
