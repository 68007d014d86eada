"""Dropout raised while a run goes on, as far as the held-out rows ask for it."""

import statistics
from typing import Any

from torch import nn

LADDER = (0.1, 0.2, 0.35, 0.5)
REPORTS = 5  # a median of so many: one report's losses scatter
LEAST_GAP = 0.07  # nats a column
LAST_SHARE = 0.6  # of the run: after it the weights have no time to get used to more dropout


class RisingDropout:
    """The dropout of a model's networks in a run: a step up whenever the held-out rows have fallen behind.

    They have when the median, over five reports, of validation loss minus training loss is above 0.07 nats a column:
    weights that fit the training rows alone so much better have begun to learn them by heart. Sharp densities, which
    dropout blurs, keep theirs at 0 as long as the held-out rows go along. Every later step up starts its count anew.

    Args:
        model: All its `nn.Dropout` take part; `put_back` gives them the rates that they came with.
        columns: Number of columns of the data.

    Attributes:
        gaps: Validation loss minus training loss, of each report since the last step up.
    """

    def __init__(self, model: nn.Module, columns: int) -> None:
        self._layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
        self._as_found = [layer.p for layer in self._layers]
        self._least_gap = LEAST_GAP * columns
        self.gaps: list[float] = []

    def report(self, gap: float, share: float) -> float | None:
        """Take in a report at `share` of the run; return the new rate where dropout has gone a step up."""
        self.gaps.append(gap)
        behind = len(self.gaps) >= REPORTS and statistics.median(self.gaps[-REPORTS:]) > self._least_gap
        present = max((layer.p for layer in self._layers), default=1.0)
        higher = [rate for rate in LADDER if rate > present]
        if not behind or not higher or share > LAST_SHARE:
            return None
        self._set([max(layer.p, higher[0]) for layer in self._layers])
        self.gaps = []
        return higher[0]

    def state(self) -> dict[str, Any]:
        """Return what decides how it goes on, for `load`."""
        return {"rates": [layer.p for layer in self._layers], "gaps": self.gaps}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._set(state["rates"])
        self.gaps = list(state["gaps"])

    def put_back(self) -> None:
        """Give all layers the rates that they came with."""
        self._set(self._as_found)

    def _set(self, rates: list[float]) -> None:
        for layer, rate in zip(self._layers, rates, strict=True):
            layer.p = rate
