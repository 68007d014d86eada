"""All columns of a table as the rows of a density: codes, places and halves, those of the context first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pushforward.rows.cells import Places
from pushforward.tables.encoders import Encoder

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Rows:
    """Rows of a table, encoded.

    Attributes:
        cells: (n, 3 D), float32: all codes, all places, all halves.
        log_slope: (n, D), float64: what log probabilities and densities of codes and places need to be those of the
            table's cells.
        unknown: (n, D), which cells hold a category that the fitted table never had.
    """

    cells: Tensor
    log_slope: np.ndarray
    unknown: np.ndarray

    def __len__(self) -> int:
        return len(self.cells)

    def select(self, rows: np.ndarray) -> "Rows":
        """Return some of the rows, by their positions."""
        return Rows(self.cells[torch.from_numpy(rows)], self.log_slope[rows], self.unknown[rows])


class RowEncoder:
    """Encoders of all columns, by name, in the order of the density: context first.

    Args:
        encoders: They.
    """

    def __init__(self, encoders: Mapping[str, Encoder]) -> None:
        self.encoders = dict(encoders)

    @property
    def columns(self) -> list[str]:
        """Their names."""
        return list(self.encoders)

    @cached_property
    def places(self) -> list[Places]:
        """Where each column's numbers may lie, and where its single values do."""
        return [encoder.places for encoder in self.encoders.values()]

    def encode(self, frame: "pl.DataFrame", columns: Sequence[str] | None = None) -> Rows:
        """Return the rows of a frame of values: columns that it lacks, or that are not asked for, are missing cells."""
        n, width = frame.height, len(self.encoders)
        cells = np.zeros((n, 3, width), dtype=np.float32)
        cells[:, 0] = -1
        log_slope, unknown = np.zeros((n, width)), np.zeros((n, width), dtype=bool)
        for d, (name, encoder) in enumerate(self.encoders.items()):
            if name not in (frame.columns if columns is None else columns):
                continue
            encoded, unknown[:, d] = encoder.encode(frame[name])
            cells[:, 0, d], cells[:, 1, d], cells[:, 2, d] = encoded.code, encoded.z, encoded.half
            log_slope[:, d] = encoded.log_slope
        return Rows(torch.from_numpy(cells.reshape(n, 3 * width)), log_slope, unknown)

    def decode(self, code: Tensor, z: Tensor) -> "pl.DataFrame":
        """Return codes and places, (n, D) each, as a frame of values."""
        import polars as pl

        codes, places = code.cpu().numpy(), z.double().cpu().numpy()
        return pl.DataFrame(
            {name: encoder.decode(codes[:, d], places[:, d]) for d, (name, encoder) in enumerate(self.encoders.items())}
        )
