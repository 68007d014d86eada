"""A table cut into the rows that train, those that pick the best weights, and those held out from everything."""

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import InputError, require_number
from pushforward.tables.columns import Table, listing

MOST_TEST_ROWS = 20_000  # no more than tells the figures to three digits
ENOUGH_VALIDATION_ROWS = 1_000  # to tell one step's weights from another's: more would be missed in training
MOST_VALIDATION_ROWS = 10_000
FEWEST_ROWS_TO_SPLIT = 10
LARGEST_TEST = 0.8


@dataclass(frozen=True)
class Part:
    """Some rows of a table as tensors.

    Attributes:
        x: (n, D), float64, the columns to be modelled.
        context: (n, C), float64, or None.
    """

    x: Tensor
    context: Tensor | None

    @classmethod
    def of(cls, modelled: Table, given: Table | None, rows: np.ndarray | slice = slice(None)) -> "Part":
        """Return some rows of the columns to be modelled and of the context columns, as `Table.split` gives them."""
        x = torch.from_numpy(modelled.values[rows])
        return cls(x, None if given is None else torch.from_numpy(given.values[rows]))

    def __len__(self) -> int:
        return len(self.x)


Some = TypeVar("Some", bound=Sized)


@dataclass(frozen=True)
class Split(Generic[Some]):
    """A table cut into three by a permutation drawn from the seed; `test` is held out from everything.

    Attributes:
        train: The rows the model learns from.
        validation: A tenth of the rows or less, on which the best weights are picked; None where rows are too few.
        test: The rows held out; the training rows where none are.
    """

    train: Some
    validation: Some | None
    test: Some

    @classmethod
    def of(cls, positions: tuple[np.ndarray, np.ndarray, np.ndarray], select: Callable[[np.ndarray], Some]) -> Self:
        """Return the rows at the positions that `split_positions` gives."""
        train, validation, test = positions
        first = select(train)
        return cls(first, select(validation) if len(validation) else None, select(test) if len(test) else first)

    @property
    def held_out(self) -> bool:
        """Whether any rows are held out."""
        return self.test is not self.train


def split_positions(num_rows: int, *, seed: int, test: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the positions of the rows that train, validate and test: see `split_rows`."""
    test = require_number("test", test, least=0, most=LARGEST_TEST)
    order = np.random.default_rng(seed).permutation(num_rows)
    num_test = max(min(int(test * num_rows), MOST_TEST_ROWS), 2) if test else 0
    num_validation = min(num_rows // 10, max(num_rows // 20, ENOUGH_VALIDATION_ROWS), MOST_VALIDATION_ROWS)
    if num_rows < FEWEST_ROWS_TO_SPLIT:
        num_test = num_validation = 0
    first, last = num_rows - num_validation - num_test, num_rows - num_test
    return order[:first], order[first:last], order[last:]


def split_rows(modelled: Table, given: Table | None, *, seed: int, test: float = 0.1) -> Split[Part]:
    """Cut a permutation of the rows in three: test, by default a tenth, at its end, validation before it, the rest.

    Validation has a tenth of the rows of small tables, a twentieth of large ones, 1,000 between, and at most 10,000;
    test has at most 20,000. Below 10 rows nothing is held out.

    Args:
        modelled: The columns to be modelled.
        given: The context columns, or None.
        seed: Seed of the permutation.
        test: Share of the rows to hold out, from 0 to 0.8.

    Raises:
        InputError: If the share is another, or a column is constant in the training rows.
    """
    positions = split_positions(len(modelled.values), seed=seed, test=test)
    split = Split.of(positions, lambda rows: Part.of(modelled, given, rows))
    _check_varies(split.train.x, modelled)
    if split.train.context is not None and given is not None:
        _check_varies(split.train.context, given)
    return split


def _check_varies(x: Tensor, table: Table) -> None:
    constant = [name for name, column in zip(table.columns, x.T, strict=True) if bool((column == column[0]).all())]
    if constant:
        raise InputError(
            f"{table.source}: column {listing(constant)} is constant in the {len(x):,} rows drawn for training: too few"
            " rows differ to show a density (leave it out)"
        )
