"""From numbers to the codes and places that a density of rows is learned on, and back."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pushforward.rows.cells import Places
from pushforward.rows.marginal import FEWEST_PER_KNOT, Marginal
from pushforward.tables.category_encoder import CategoryEncoder
from pushforward.tables.circle import Circle
from pushforward.tables.encoded import Encoded
from pushforward.tables.grid import Grid
from pushforward.tables.number_cells import (
    counts_months,
    days_of_months,
    decimals_of,
    from_numbers,
    to_numbers,
)

if TYPE_CHECKING:
    import polars as pl

NUMBER_KINDS = ("real", "integer", "date", "month", "time", "moment", "duration", "periodic")
MOST_ATOMS = 256
FEWEST_OF_AN_ATOM = 10  # rows that a single value must have to be given a probability of its own,
ATOM_SHARE = 0.01  # and their share, where the column has a density or more than so many values;
LEAST_ATOM_SHARE, STANDS_OUT = 0.001, 10  # or this share, where it has so many times the rows of other frequent values
LEAST_STEP = 2.0**-48  # of a number, of which halves can be told apart
TIED = 0.5  # share of the rows whose value another row has, from which a column has cells instead of a density
# What is counted: days, months, microseconds.
UNITS = {"date": 1.0, "month": 1.0, "time": 1e-6, "moment": 1e-6, "duration": 1e-6}


@dataclass(frozen=True)
class NumberEncoder:
    """A column of numbers: frequent single values are atoms with codes of their own, the others have places.

    Dates are counted in days, or in months where all are the first of one; times, moments and durations in seconds.

    Attributes:
        kind: "real", "integer", "date", "month", "time", "moment", "duration" or "periodic".
        decimals: With how many the values of a real or periodic column are recorded; None where these are more than 9.
        grid: What values are recorded in: each then is the cell around it, with a probability; None: it has a density.
        low: Least value, of a periodic column counted from the cut of its circle on.
        high: Greatest value, likewise.
        atoms: Frequent values, in order.
        marginal: The scale.
        circle: That of a periodic column.
    """

    kind: str
    decimals: int | None
    grid: Grid | None
    low: float
    high: float
    atoms: np.ndarray = field(repr=False)
    marginal: Marginal = field(repr=False)
    circle: Circle | None = None
    is_number: ClassVar[bool] = True

    @classmethod
    def of(
        cls,
        kind: str,
        cells: "pl.Series",
        training: np.ndarray | None = None,
        *,
        density: bool = False,
        period: float = 0.0,
    ) -> "NumberEncoder":
        """Return the encoder of a column's cells.

        Args:
            kind: Its kind.
            cells: All of them: they give range, decimals and step.
            training: Positions of the rows that atoms and scale are learned from; all by default.
            density: Give every value a density, whatever repeats: neither atoms nor steps.
            period: Of a periodic column.
        """
        everything = to_numbers(kind, cells)
        if kind == "date" and counts_months(np.unique(everything[~np.isnan(everything)])):
            return cls.of("month", cells, training)
        values = everything if training is None else everything[training]
        everything, values = (part[~np.isnan(part)] for part in (everything, values))
        values = values if len(values) else everything
        circle = Circle.of(period, values, everything) if kind == "periodic" else None
        if circle:
            everything, values = circle.opened(everything), circle.opened(values)
        all_values, rows = np.unique(everything, return_counts=True)
        distinct, counts = np.unique(values, return_counts=True)
        decimals = decimals_of(all_values) if kind in ("real", "periodic") else None
        unit = 1.0 if kind == "integer" else UNITS.get(kind, 0.0 if decimals is None else 10.0**-decimals)
        tied = counts[counts > 1].sum() >= TIED * len(values)
        counted = kind != "real" if circle is None else decimals == 0
        grid = None
        if unit and not density and (counted or tied):
            on_line = circle is None
            grid = (
                Grid.of(all_values, unit, rows)
                if on_line
                else Grid.of(np.append(all_values, all_values[0] + period), unit)
            )
        few_cells = grid and len(distinct) <= MOST_ATOMS
        frequent = counts >= FEWEST_OF_AN_ATOM if few_cells else are_atoms(counts)
        atoms = distinct[frequent & (not density)]
        others = values[~np.isin(values, atoms)]
        others = others if len(others) > FEWEST_PER_KNOT else values
        marginal = Marginal.of(others, grid.cells(others) if grid else None)
        return cls(kind, decimals, grid, float(all_values[0]), float(all_values[-1]), atoms, marginal, circle)

    @property
    def is_density(self) -> bool:
        """Whether every value has a density, and none a probability."""
        return self.grid is None and not len(self.atoms)

    @property
    def num_codes(self) -> int:
        """One for each atom, and one for "a number"."""
        return len(self.atoms) + 1

    @property
    def places(self) -> Places:
        """Where its numbers may lie, and its atoms do."""
        ends = np.array([self.low, self.high])
        if self.grid:
            below, above = self.grid.cells(ends)
            ends = np.array([below[0], above[1]])
        low, high = self.marginal.to_z(ends)[0].tolist()
        return Places(low, high, tuple(self._cells(self.atoms)[0].tolist()), self._cells_at if self.grid else None)

    def _cells_at(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the middles and halves of the cells that places lie in, any shape, float64."""
        middle, half = self._cells(self.values_at(z.numpy()))
        return torch.from_numpy(middle), torch.from_numpy(half)

    def _cells(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the middles and halves of the cells around values, in z; of a column with a density z and 0."""
        if not self.grid:
            return self.marginal.to_z(values)[0], np.zeros(len(values))
        low, high = (self.marginal.to_z(end)[0] for end in self.grid.cells(values))
        # Numbers too large for halves of a step have a width by the slope at the value.
        coarse = (np.abs(values) * LEAST_STEP > self.grid.step) | (high <= low)
        width = np.where(coarse, np.exp(self.marginal.to_z(values)[1]) * self.grid.step, high - low)
        return (low + high) / 2, width / 2

    def encode(self, cells: "pl.Series") -> tuple[Encoded, np.ndarray]:
        """Return codes and places, and which cells no code stands for: none."""
        values = to_numbers(self.kind, cells)
        if self.circle:
            values = self.circle.opened(values)
        missing = np.isnan(values)
        values[missing] = self.low
        code = np.full(len(values), len(self.atoms))
        if len(self.atoms):
            place = np.searchsorted(self.atoms, values).clip(max=len(self.atoms) - 1)
            code = np.where(self.atoms[place] == values, place, code)
        code[missing] = -1
        if self.grid:
            (z, half), log_slope = self._cells(values), np.zeros(len(values))
        else:
            z, log_slope = self.marginal.to_z(values)
            half, log_slope = np.zeros(len(values)), np.where(code == len(self.atoms), log_slope, 0.0)
        return Encoded(code, z, half, log_slope), np.zeros(len(values), dtype=bool)

    def decode(self, code: np.ndarray, z: np.ndarray) -> "pl.Series":
        """Return cells with these codes and places, null for -1: as exact as the column, nothing beyond its range."""
        values = self.values_at(z.astype(float))
        if len(self.atoms):
            values = np.where(code < len(self.atoms), self.atoms[code.clip(0, len(self.atoms) - 1)], values)
        if self.circle:
            values = self.circle.closed(values)
        return from_numbers(self.kind, np.where(code < 0, np.nan, values))

    def given_at(self, code: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the numbers with these codes and places, (n,) each, which may lie beyond the column's range."""
        values = self.marginal.to_x(z.astype(float))
        if self.grid:
            values = self.grid.nearest(values, self.low)
        if len(self.atoms):
            values = np.where(code < len(self.atoms), self.atoms[code.clip(0, len(self.atoms) - 1)], values)
        return self.circle.closed(values) if self.circle else values

    def values_at(self, z: np.ndarray) -> np.ndarray:
        """Return the numbers at places, any shape, as exact as the column is recorded."""
        return self.as_recorded(self.marginal.to_x(z))

    def as_recorded(self, values: np.ndarray) -> np.ndarray:
        """Return numbers, any shape, with the column's steps and decimals, and within its range."""
        if self.grid:
            values = self.grid.nearest(values, self.low)
        if self.decimals is not None:
            values = np.round(values, self.decimals)
        return np.clip(values, self.low, self.high)

    @property
    def ends(self) -> tuple[float, float]:
        """Least and greatest value as a user is told them; of a periodic column the ends of its range."""
        if self.circle:
            return self.circle.start, self.circle.start + self.circle.period
        low, high = self.told(np.array([self.low, self.high])).tolist()
        return low, high

    def told(self, values: np.ndarray) -> np.ndarray:
        """Return numbers as a user is told them, any shape: dates in days, also where months are counted."""
        return days_of_months(values) if self.kind == "month" else values

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "kind": self.kind, "decimals": self.decimals, "low": self.low, "high": self.high,
            "step": self.grid.step if self.grid else 0.0, "levels": self.grid.levels.tolist() if self.grid else [],
            "atoms": self.atoms.tolist(), "x": self.marginal.x.tolist(), "z": self.marginal.z.tolist(),
            "circle": None if self.circle is None else asdict(self.circle),
        }  # fmt: skip


Encoder = CategoryEncoder | NumberEncoder


def are_atoms(counts: np.ndarray) -> np.ndarray:
    """Whether values of a density are so frequent, by how many rows each has, that no density has them by chance."""
    rows, usual = counts.sum(), np.quantile(counts, 0.99)
    stands_out = (counts >= LEAST_ATOM_SHARE * rows) & (counts >= STANDS_OUT * usual)
    return (counts >= FEWEST_OF_AN_ATOM) & ((counts >= ATOM_SHARE * rows) | stands_out)


def encoder_of(
    kind: str, cells: "pl.Series", training: np.ndarray | None = None, *, density: bool = False, period: float = 0.0
) -> Encoder:
    """Return the encoder of a column of a kind; the other arguments as in `NumberEncoder.of`."""
    if kind in ("category", "boolean"):
        return CategoryEncoder.of(kind, cells)
    return NumberEncoder.of(kind, cells, training, density=density, period=period)
