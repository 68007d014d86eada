"""A flow over real columns as the law of their encoded cells."""

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from pushforward.flows import Flow
from pushforward.rows.cells import split
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.row_encoder import RowEncoder


class FlowOfCells:
    """The density of encoded rows, in the measure of their places, where that of values is a flow's.

    Args:
        flow: Of the modelled columns, given those of the context.
        encoder: Of all columns, those of the context first; modelled ones have densities.
        num_context: Number of columns of context.
    """

    def __init__(self, flow: Flow, encoder: RowEncoder, num_context: int) -> None:
        self._flow, self._encoder, self._first = flow, encoder, num_context
        self._modelled = cast("list[NumberEncoder]", list(encoder.encoders.values())[num_context:])

    def whole_log_prob(self, rows: Tensor) -> Tensor:
        """Return the log density of each row, (n,), NaN where cells are missing."""
        code, z, _ = split(rows)
        return self._log_density(*self._values(z), self._context(code, z), code)

    def log_prob_with(self, rows: Tensor, column: int, code: Tensor, z: Tensor, half: Tensor) -> Tensor:
        """Return the log density of rows with other cells in one column, (n, m) like these."""
        codes, places, _ = split(rows)
        codes, num = codes.clone(), z.shape[1]
        codes[:, column] = 0
        x, log_slope = (part.repeat(num, axis=0) for part in self._values(places))
        d = column - self._first
        x[:, d], log_slope[:, d] = self._value(d, z.reshape(-1))
        context = self._context(codes, places)
        context = None if context is None else context.repeat_interleave(num, 0)
        return self._log_density(x, log_slope, context, codes.repeat_interleave(num, 0)).view(-1, num)

    def _value(self, d: int, z: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the values at places of a column, and log(dz/dx) there, (n,)."""
        marginal = self._modelled[d].marginal
        x = marginal.to_x(z.double().numpy())
        return x, marginal.to_z(x)[1]

    def _values(self, z: Tensor) -> tuple[np.ndarray, np.ndarray]:
        found = [self._value(d, z[:, self._first + d]) for d in range(len(self._modelled))]
        return np.stack([x for x, _ in found], 1), np.stack([slope for _, slope in found], 1)

    def _context(self, code: Tensor, z: Tensor) -> Tensor | None:
        if not self._first:
            return None
        given = []
        for d, one in enumerate(list(self._encoder.encoders.values())[: self._first]):
            codes, places = code[:, d].clamp(min=0).numpy(), z[:, d].double().numpy()
            if isinstance(one, NumberEncoder):
                given.append(one.given_at(codes, places))
            else:
                given.append(one.decode(codes, places).to_numpy())
        return torch.from_numpy(np.stack(given, 1).astype(np.float64))

    @torch.no_grad()
    def _log_density(self, x: np.ndarray, log_slope: np.ndarray, context: Tensor | None, code: Tensor) -> Tensor:
        found = self._flow.log_prob(torch.from_numpy(x), context).double() - torch.from_numpy(log_slope).sum(1)
        return torch.where((code >= 0).all(1), found, math.nan)
