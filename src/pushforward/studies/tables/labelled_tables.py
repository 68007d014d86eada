"""Tables in which it is known which rows are anomalies: wrong cells planted in them, or rows of another class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pushforward.data import mixed_table
from pushforward.data.mixed_table import MixedLaw

if TYPE_CHECKING:
    import polars as pl

PLANTED = 0.01  # of the rows, of training and test rows alike
TRAINING = 0.7  # of the rows
MOST_HADRONS = 400


@dataclass(frozen=True)
class Labelled:
    """Rows to fit to, and rows of which some are known to be anomalies.

    Attributes:
        train: Training rows.
        test: Test rows.
        anomaly: (test rows,), whether each is one.
        told: The columns that hold all wrong cells, where that is told.
        law: The law of rows without wrong cells, where it is known.
    """

    train: "pl.DataFrame"
    test: "pl.DataFrame"
    anomaly: np.ndarray
    told: Sequence[str] = ()
    law: MixedLaw | None = None


def planted(
    rows: "pl.DataFrame", seed: int, *, told: Sequence[str] = (), share: float = PLANTED, law: MixedLaw | None = None
) -> Labelled:
    """Part rows into training and test rows, and give a share of either one wrong cell.

    Args:
        rows: A table.
        seed: Decides rows, cells and parts.
        told: Columns to put wrong cells into; all by default.
        share: Of rows with a wrong cell.
        law: See `Labelled`.
    """
    order = np.random.default_rng([seed, 1]).permutation(rows.height)
    train, test = (rows[part] for part in np.split(order, [round(TRAINING * rows.height)]))
    columns = told or rows.columns
    return Labelled(
        with_wrong_cells(train, columns, share, seed)[0], *with_wrong_cells(test, columns, share, seed), told, law
    )


def with_wrong_cells(
    rows: "pl.DataFrame", columns: Sequence[str], share: float, seed: int
) -> tuple["pl.DataFrame", np.ndarray]:
    """Replace one cell, of a random column, in random rows by that of a random row where the two differ.

    Row, column and donor are drawn anew together where they do not, so that p(row with a wrong cell) is proportional
    to the sum over columns of  p(others) m(cell) (1 - p(cell | others)), m the column's marginal; see `log_ratio`.

    Returns:
        The rows, and of each whether a cell of it was replaced, (n,).
    """
    random = np.random.default_rng(seed)
    order, donor = random.permutation(rows.height), random.integers(rows.height, size=rows.height)
    of_column = random.integers(len(columns), size=rows.height) == np.arange(len(columns))[:, None]
    differs = np.stack([rows[name].gather(donor).ne_missing(rows[name]).to_numpy() for name in columns])
    possible = (differs & of_column).any(0)
    wrong = np.zeros(rows.height, dtype=bool)
    wrong[order[possible[order]][: max(1, round(share * rows.height))]] = True
    for name, here in zip(columns, of_column, strict=True):
        source = np.where(wrong & here, donor, np.arange(rows.height))
        rows = rows.with_columns(rows[name].gather(source))
    return rows, wrong


def log_ratio(law: MixedLaw, rows: "pl.DataFrame", columns: Sequence[str]) -> np.ndarray:
    """Return log p(row | one cell of these columns is wrong) - log p(row) up to a constant, (n,): no score does better.

    Wrong cells are as `with_wrong_cells` makes them, the rows without missing ones.
    """
    terms = []
    for name in columns:
        given_others = law.log_prob(rows, given=[other for other in rows.columns if other != name])
        marginal = law.log_prob(rows.select(name))
        repeats = (rows[name] == 0).to_numpy() if rows[name].dtype.is_float() else True  # a probability, not a density
        other_before = -np.expm1(np.minimum(np.where(repeats, given_others, -np.inf), -1e-12))
        terms.append(marginal - given_others + np.log(other_before))
    return np.logaddexp.reduce(terms, 0)


def of_known_law(num_rows: int, seed: int, told: Sequence[str] = ()) -> Labelled:
    """Return rows of `mixed_table` with wrong cells."""
    rows, law = mixed_table(num_rows, missing=0.0, seed=seed)
    return planted(rows, seed, told=told, law=law)


def breast_cancer(seed: int) -> Labelled:
    """Return scikit-learn's table of breast cancer: benign rows to fit to; others, and the malignant ones."""
    import polars as pl
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return of_one_class(pl.from_numpy(data.data, schema=list(data.feature_names)), data.target == 0, seed)


def gamma_rays(rows: "pl.DataFrame", seed: int) -> Labelled:
    """Return the events of the telescope without their class: gamma rays to fit to; others, and 400 hadrons."""
    return of_one_class(rows.drop("class"), (rows["class"] == "h").to_numpy(), seed, most=MOST_HADRONS)


def of_one_class(rows: "pl.DataFrame", anomaly: np.ndarray, seed: int, *, most: int | None = None) -> Labelled:
    """Part the usual rows into training and test rows, and add anomalies to these, at most so many."""
    random = np.random.default_rng(seed)
    usual, others = (random.permutation(np.flatnonzero(which)) for which in (~anomaly, anomaly))
    train, test = np.split(usual, [math.floor(TRAINING * len(usual))])
    test = np.concatenate([test, others[:most]])
    return Labelled(rows[train], rows[test], anomaly[test])
