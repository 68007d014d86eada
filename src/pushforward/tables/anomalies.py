"""Rows that are unlike those of the table: how unlike, the column responsible, and why in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import InputError, require_number
from pushforward.tables.answers import Answers, answers_or_refused
from pushforward.tables.columns import names_in
from pushforward.tables.reasons import reasons
from pushforward.tables.usual import MOST_CELLS, MOST_ROWS, Judged, Usual

FEWEST_ROWS = 200  # of a table of many columns

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.laws import Law


def find_anomalies(
    law: "Law", data: Any, *, level: float, columns: str | Sequence[str] | None = None, reference: Any = None
) -> "pl.DataFrame":
    """See `TableModel.anomalies`."""
    import polars as pl

    level = require_number("level", level, above=0, below=1)
    answers, modelled = answers_or_refused(law.answers), law.schema.modelled
    names = names_in(modelled if columns is None else columns, law.schema.columns)
    if given := [name for name in names if name not in modelled]:
        raise InputError(f'"{given[0]}" is context: the model has no law of it (name modelled columns)')
    usual = usual_of(law) if reference is None else usual_among(law, reference)
    frame = answers.read(law.table_of(data))
    places = [modelled.index(name) for name in names]
    judged = usual.judge(_columns_log_prob(answers, frame), places)
    anomaly, rarest = judged.p_value <= level, np.array(names)[judged.cells[:, places].argmax(1)]
    why = np.full(len(frame), None, dtype=object)
    why[anomaly] = reasons(answers, frame.filter(anomaly), rarest[anomaly])
    return pl.DataFrame({
        "log_prob": law.log_prob_of(frame), "score": judged.score, "p_value": judged.p_value, "anomaly": anomaly,
        "column": rarest, "why": pl.Series(why.tolist(), dtype=pl.String),
    })  # fmt: skip


def judge(law: "Law", data: Any, usual: Usual) -> Judged:
    """Return what is unusual about rows by all their cells."""
    answers = answers_or_refused(law.answers)
    return usual.judge(_columns_log_prob(answers, answers.read(data)), range(len(law.schema.modelled)))


def usual_of(law: "Law") -> Usual:
    """Return what the model knows of rows that no one trained on; InputError where it knows none."""
    usual = answers_or_refused(law.answers).usual
    if usual is None:
        raise InputError("the model file does not say how rare held-out rows are (give such rows: reference)")
    return usual


def usual_among(law: "Law", data: Any) -> Usual:
    """Return what rows are like, of at most 2,000 of them, drawn by a seed of their own."""
    answers = answers_or_refused(law.answers)
    frame = answers.read(law.table_of(data))
    if not frame.height:
        raise InputError("no row to compare with (give some that no one trained on)")
    most = min(MOST_ROWS, max(MOST_CELLS // len(law.schema.modelled), FEWEST_ROWS))
    if frame.height > most:
        frame = frame[np.sort(np.random.default_rng(0).permutation(frame.height)[:most])]
    return Usual.of(_columns_log_prob(answers, frame))


def _columns_log_prob(answers: Answers, frame: "pl.DataFrame") -> np.ndarray:
    answers.check_context(frame)
    return answers.columns_log_prob(answers.encode(frame, range(len(answers.schema.context))))
