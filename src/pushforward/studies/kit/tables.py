"""Scores as cells of a table: numbers in words, and one cell for a score's values over the seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from statistics import fmean
from types import SimpleNamespace
from typing import Any


class Score(SimpleNamespace):
    """What was measured of one model, each thing under its name: numbers, scores, lists or tables of them."""


# Header of a column -> the field of a score whose values over the seeds it shows, or the cell of all these scores.
Columns = Sequence[tuple[str, str | Callable[[Sequence[Any]], Any]]]


def shown(value: Any) -> str:
    """Return a table's cell: text as it is, integers with separators, other numbers to four digits, three below 1."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 10:
        return f"{value:,.4g}" if size < 1e4 else f"{value:,.0f}"
    if size >= 1:
        return f"{value:.3f}"
    return f"{value:.1e}" if 0 < size < 1e-4 else f"{value:.3g}"


def spread(values: Sequence[float | None]) -> str:
    """Return "mean (lowest to highest)" of one number over the seeds; nothing where it was not measured."""
    measured = [value for value in values if value is not None]
    if not measured:
        return ""
    mean = sum(measured) / len(measured)
    return shown(mean) if len(measured) == 1 else f"{shown(mean)} ({shown(min(measured))} to {shown(max(measured))})"


def values(scores: Sequence[Any], field: str) -> list[Any]:
    """Return one field of every score, or, where it is named "a.b", the field b of its field a."""
    return list(map(attrgetter(field), scores))


def mean(scores: Sequence[Any], field: str) -> float:
    """Return the mean of one field over the scores."""
    return fmean(values(scores, field))


def average(scores: Sequence[Any]) -> Any:
    """Return the mean of scores in their own form: numbers, tables of them by key, or scores of either."""
    if hasattr(scores[0], "__dict__"):
        return Score(**average([vars(score) for score in scores]))
    if isinstance(scores[0], Mapping):
        return {key: average([score[key] for score in scores]) for key in scores[0]}
    return fmean(scores)


def first(field: str) -> Callable[[Sequence[Any]], Any]:
    """Return the cell of a column that shows a field of the first seed."""
    return lambda scores: values(scores, field)[0]


def largest(field: str) -> Callable[[Sequence[Any]], Any]:
    """Return the cell of a column that shows the largest value of a field over the seeds."""
    return lambda scores: max(values(scores, field))


def cells(columns: Columns, scores: Sequence[Any]) -> list[Any]:
    """Return the cells of one row, from the scores of one model over the seeds."""
    return [spread(values(scores, of)) if isinstance(of, str) else of(scores) for _, of in columns]
