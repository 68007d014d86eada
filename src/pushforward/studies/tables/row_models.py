"""Models of whole rows that the study measures, each as one call from rows to samples."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import polars as pl


class RowModel(Protocol):
    """What the study asks of a model of rows; `TableModel` is one."""

    def sample(self, n: int, *, seed: int | None = None) -> Any:
        """Return drawn rows, a frame like the one that was fitted."""

    def log_prob(self, data: Any, *, given: Sequence[str] = ()) -> np.ndarray:
        """Return log probabilities of the cells that are there, given some, (rows,), nats."""

    def impute(self, data: Any, *, num: int = 1, seed: int | None = None) -> Any:
        """Return the rows with their missing cells drawn given the others."""


@dataclass(frozen=True)
class Drawn:
    """Rows, and the seconds that fit and sampling took, where a model drew them."""

    rows: "pl.DataFrame"
    fit_seconds: float | None = None
    sample_seconds: float | None = None


def fit_ours(rows: "pl.DataFrame", seconds: float, seed: int) -> RowModel:
    """Fit `TableModel` to all rows but those that choose its weights."""
    import pushforward as pf

    return pf.TableModel.fit(rows, max_seconds=seconds, seed=seed, test=0, progress=False, notify=lambda line: None)


def timed(rows: "pl.DataFrame", num_rows: int, seconds: float, seed: int) -> Drawn:
    """Fit ours and draw rows, by the clock."""
    started = time.monotonic()
    model = fit_ours(rows, seconds, seed)
    fitted = time.monotonic()
    drawn = model.sample(num_rows, seed=seed)
    return Drawn(drawn, fitted - started, time.monotonic() - fitted)


def independent_columns(rows: "pl.DataFrame", num_rows: int, seed: int) -> "pl.DataFrame":
    """Draw every column by itself from its own cells: all marginals right, and nothing else."""
    random = np.random.default_rng(seed)
    return rows.select(rows[name][random.integers(rows.height, size=num_rows)] for name in rows.columns)
