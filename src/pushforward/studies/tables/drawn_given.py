"""Rows drawn given a value: do trees tell them from the rows of the table that have it?"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.studies.kit import Record
from pushforward.studies.kit.tables import Columns, Score, shown
from pushforward.studies.tables.detection import FOLDS, SEEDS, detect
from pushforward.studies.tables.prediction import Fitted
from pushforward.tables.answers import answers_or_refused

if TYPE_CHECKING:
    import polars as pl

DRAWN, ALONE = "drawn given the value", "drawn by the questions alone"
REAL, ANY = "other real rows with it", "real rows, whatever their value"
COLUMNS: Columns = (("AUC", "auc"), ("standard error of equal laws", "standard_error"))


def measure(record: Record, fitted: Mapping[str, Fitted], given: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Judge rows drawn given each value beside the rows of the table that have it."""
    record.heading("Rows given a value")
    record.text(
        f"AUC of trees between half of the real rows with a value and four other sets of as many rows, over {FOLDS} "
        f"folds and {len(SEEDS)} seeds of these; 0.5 where the laws are equal. What is given is no feature. Rows that "
        "are drawn given cells have none missing, so real rows with missing cells are left out."
    )
    scores: dict[tuple[str, str, str], list[Score]] = {}
    said = []
    for name, one in fitted.items():
        for values in given.get(name, ()):
            asked = ", ".join(f"{column}={value}" for column, value in values.items())
            found = _judged(record, one, values)
            record.number(f"given.{name}.{asked}", found)
            scores |= {(name, asked, who): [score] for who, score in found.items()}
            said.append(f"{name}, {asked}: {shown(found[DRAWN].auc)}, halves of real rows {shown(found[REAL].auc)}")
    record.scores(
        "Half of the real rows with a value against other rows.",
        ("table", "given", "rows"),
        (("rows of each", lambda found: found[0].rows), *COLUMNS),
        scores,
    )
    record.answer("Do trees tell rows drawn given a value from real rows that have it?", "; ".join(said) + ".")


def _judged(record: Record, one: Fitted, values: Mapping[str, Any]) -> dict[str, Score]:
    import polars as pl

    whole = pl.concat([one.train, one.held]).drop_nulls()
    whole = whole[np.random.default_rng(record.seed).permutation(whole.height)]
    with_it = having(whole, values)
    half = with_it.height // 2
    answers = answers_or_refused(one.model.law.answers)
    known = answers.given(values, "given")
    assert known is not None
    reference = with_it[:half]
    others = {
        DRAWN: one.model.sample(half, given=values, seed=record.seed),
        ALONE: answers.alone().fill(known, half, seed=record.seed),
        REAL: with_it[half : 2 * half],
        ANY: whole[:half],
    }
    seeds = record.size(SEEDS, quick=SEEDS[:1])
    error = math.sqrt((2 * half + 1) / (12 * half**2))  # of Mann and Whitney's statistic where both laws are one
    found = {who: detect(reference.drop(*values), rows.drop(*values), seeds=seeds) for who, rows in others.items()}
    return {who: Score(auc=score.auc, standard_error=error, rows=half) for who, score in found.items()}


def having(rows: "pl.DataFrame", values: Mapping[str, Any]) -> "pl.DataFrame":
    """Return the rows that have these values."""
    import polars as pl

    return rows.filter(*(pl.col(column) == value for column, value in values.items()))
