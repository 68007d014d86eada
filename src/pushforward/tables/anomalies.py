"""Rows that are unlike those of the table: how unlike, the column responsible, and why in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import InputError, require_number
from pushforward.rows.conditionals import QUICK
from pushforward.tables.answers import Answers, answers_or_refused
from pushforward.tables.columns import names_in
from pushforward.tables.reasons import reasons
from pushforward.tables.usual import Judged, Usual

MOST_ROWS = 2_000  # a p-value of one in a thousand is told by so many
MOST_CELLS, FEWEST_ROWS = 40_000, 200  # fewer rows of a table of many columns: a model file keeps these

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
    names = list(modelled if columns is None else names_in(columns, law.schema.columns))
    if not names:
        raise InputError("columns names none (name those whose cells may be to blame, or leave it out for all)")
    for name in names:
        answers.position(name)
        if name not in modelled:
            raise InputError(f'"{name}" is context: the model has no law of it (name modelled columns)')
    usual = usual_of(law) if reference is None else reference
    if not isinstance(usual, Usual):
        usual = usual_among(law, usual)
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


def usual_among(law: "Law", data: Any, learned: Any = None) -> Usual:
    """Return what rows are like, of at most 2,000 of them, drawn by a seed of their own.

    Args:
        law: The law.
        data: Rows that no one trained on.
        learned: Others, to learn from what is rare; by default that is half of the first.
    """
    answers = answers_or_refused(law.answers)
    parts = [answers.read(law.table_of(part)) for part in ((data,) if learned is None else (learned, data))]
    if learned is None:
        parts = [parts[0][::2], parts[0][1::2]]
    if not all(part.height for part in parts):
        raise InputError("too few rows to compare with (give two or more that no one trained on)")
    most = min(MOST_ROWS, max(MOST_CELLS // len(law.schema.modelled), FEWEST_ROWS))
    some = (np.sort(np.random.default_rng(0).permutation(part.height)[:most]) for part in parts)
    return Usual.of(*(_columns_log_prob(answers, part[rows]) for part, rows in zip(parts, some, strict=True)))


def _columns_log_prob(answers: Answers, frame: "pl.DataFrame") -> np.ndarray:
    answers.check_context(frame)
    return answers.columns_log_prob(answers.encode(frame, range(len(answers.schema.context))), effort=QUICK)
