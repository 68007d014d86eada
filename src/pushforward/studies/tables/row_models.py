"""Models of whole rows that the study measures, each as one call from rows to samples."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pushforward.studies.kit import Record

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.table_model import TableModel

SECONDS, QUICK_SECONDS = 60.0, 0.5  # of a fit


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


def fit_ours(rows: "pl.DataFrame", seconds: float, seed: int, *, test: float = 0.0) -> "TableModel":
    """Fit `TableModel` to all rows but those that choose its weights, and a share that is held out."""
    import pushforward as pf

    return pf.TableModel.fit(rows, max_seconds=seconds, seed=seed, test=test, progress=False, notify=lambda line: None)


def fit_of(record: Record, label: str, rows: "pl.DataFrame", seed: int, *, test: float = 0.0) -> "TableModel":
    """Fit ours for the minute that a study gives it, or what a shorter form has of it, and keep what it took."""
    started = time.monotonic()
    model = fit_ours(rows, record.size(SECONDS * record.share, quick=QUICK_SECONDS), seed, test=test)
    seconds = time.monotonic() - started
    record.runs.append({"label": f"{label}, seed {seed}", "rows": rows.height, "seconds": round(seconds, 2)})
    record.say(f"  {label}, seed {seed}: fitted in {seconds:.0f} s")
    return model


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
