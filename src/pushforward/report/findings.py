"""What the page about a table says of samples and single rows, whichever law was fitted, and its pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pushforward.report.plots.marginals import Marginal, marginals
from pushforward.report.plots.pairs_of_columns import Pair, calibration, pairs_of_columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pushforward.tables.nearness import Nearness


@dataclass(frozen=True)
class UnusualRow:
    """A held-out row that is among the least probable.

    Attributes:
        row: Its number in the table, from 1.
        log_prob: In nats.
        why: What is unusual about it, in words; "" where that is not known.
    """

    row: int
    log_prob: float
    why: str


@dataclass(frozen=True)
class Findings:
    """What was found about samples and single rows.

    Attributes:
        columns: Each column's data and samples.
        pairs: Those columns that say most of one another.
        missing: Sets of columns that are missing together, in words, with their shares of data and samples.
        accuracy: Of trees that tell held-out rows from samples, by cross-validation; NaN where rows are too few.
        accuracy_error: Its standard error.
        num_told: Rows of each kind that they were shown.
        nearness: How near samples lie to rows that trained; None where rows are too few.
        transforms: Probability integral transforms of held-out rows, by column; none of a flow, whose latent says it.
        unusual: The least probable held-out rows.
        held_out: How the held-out rows were chosen, in words; "" where none are.
    """

    columns: Sequence[Marginal]
    pairs: Sequence[Pair]
    missing: Sequence[tuple[str, float, float]]
    accuracy: float
    accuracy_error: float
    num_told: int
    nearness: "Nearness | None"
    transforms: Mapping[str, np.ndarray]
    unusual: Sequence[UnusualRow]
    held_out: str

    @property
    def differences(self) -> dict[str, float]:
        """Of each column, Kolmogorov's distance or the total variation between data and samples."""
        return {one.name: one.difference for one in self.columns}

    @property
    def zeros(self) -> dict[str, float]:
        """Of each column of numbers, the share of zeros among the cells that are there; 0 of any other."""
        return {
            one.name: float((one.data == 0).mean()) if one.data.dtype.kind in "fiub" and len(one.data) else 0.0
            for one in self.columns
        }

    def pictures(self) -> "dict[str, Figure | None]":
        """Return the pictures by name; None where there is nothing to draw."""
        return {
            "columns": marginals(self.columns),
            "pairs": pairs_of_columns(self.pairs) if self.pairs else None,
            "calibration": calibration(self.transforms) if self.transforms else None,
        }
