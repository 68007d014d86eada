"""Rows drawn from a table's flow in float64: of a million latents in float32 some 7,000 would share their value."""

import copy
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import require_seed
from pushforward.flows import Flow
from pushforward.tables.schema import Schema

PREVIEW_ROWS = 10_000
PREVIEW_CELLS = 1_000_000  # wide tables get fewer samples
CHECKED_ROWS = 64
MOST_AGAIN = 10


class Sampler:
    """Draws all columns of a table, latent -> data.

    Args:
        flow: The flow of the modelled columns. It is copied when the first rows are drawn, and taken as finished.
        schema: Names of the columns.
    """

    def __init__(self, flow: Flow, schema: Schema) -> None:
        self.flow, self.schema = flow, schema

    @cached_property
    def exact(self) -> Flow:
        """The flow in float64."""
        return copy.deepcopy(self.flow).double()

    def draw(
        self,
        n: int,
        context: np.ndarray | None = None,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        ends: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Draw n rows, for each of the rows of context (rows, C) where there are any.

        Args:
            n: Number of rows.
            context: Of each n of them.
            temperature: Below 1 gives rows nearer the mode.
            seed: Decides the rows.
            ends: Least and greatest value of each column: a row beyond is drawn again, ten times at most.

        Returns:
            (n, columns), or (rows * n, columns): all columns in the table's order.
        """
        generator = None if seed is None else torch.Generator().manual_seed(require_seed(seed))
        values = self._draw(n, context, temperature, generator)
        low, high = (-np.inf, np.inf) if ends is None else ends
        for _ in range(MOST_AGAIN):
            beyond = np.flatnonzero(((values < low) | (values > high)).any(1))
            if not len(beyond):
                break
            num, given = (len(beyond), None) if context is None else (1, context[beyond // n])
            values[beyond] = self._draw(num, given, temperature, generator)
        return values

    def _draw(
        self, n: int, context: np.ndarray | None, temperature: float, generator: torch.Generator | None
    ) -> np.ndarray:
        values = self.exact.sample(n, context, temperature=temperature, generator=generator).numpy()
        if context is not None:
            values = np.concatenate((values.reshape(-1, values.shape[-1]), np.repeat(context, n, axis=0)), axis=1)
        names = (*self.schema.modelled, *self.schema.context)
        return values[:, [names.index(name) for name in self.schema.columns]]

    @property
    def enough_to_look_at(self) -> int:
        """Number of rows of a preview, up to 10,000."""
        return max(min(PREVIEW_ROWS, PREVIEW_CELLS // len(self.schema.columns)), 1)

    def points_to_check(self, seed: int) -> tuple[Tensor, Tensor | None]:
        """Return up to 64 rows of the flow's own, (rows, D), and their context, (rows, C), on which to verify it."""
        flow, generator = self.flow, torch.Generator().manual_seed(require_seed(seed))
        rows = max(min(CHECKED_ROWS, 4096 // flow.features), 4)
        if not flow.context_features:
            return self.exact.sample(rows, generator=generator), None
        context = torch.randn(rows, flow.context_features, dtype=torch.float64, generator=generator, device="cpu")
        for part in reversed(flow.context_preprocessing):
            context, _ = part.inverse(context)  # type: ignore[operator]
        return self.exact.sample(1, context, generator=generator).squeeze(1), context
