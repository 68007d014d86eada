"""Missing cells filled with what is expected of them, in place of draws."""

from typing import TYPE_CHECKING

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.answers import Answers
from pushforward.tables.column_law import as_cells
from pushforward.tables.encoders import NumberEncoder

if TYPE_CHECKING:
    import polars as pl

ENDS = ("q5", "q95")


def filled_with_means(answers: Answers, frame: "pl.DataFrame", *, every: bool = False) -> "pl.DataFrame":
    """Return rows with the conditional mean of each missing number given the cells that are there, and its quantiles.

    Other cells are the most probable ones. Columns "price_q5" and "price_q95" follow for each column of numbers of
    which cells are missing; they are null beside cells that are there.

    Args:
        answers: What knows.
        frame: Rows as `Answers.read` gives them.
        every: Give every modelled column of numbers its quantiles, whether cells are missing or not.
    """
    import polars as pl

    answers.check_context(frame)
    if taken := [f"{name}_{end}" for name in frame.columns for end in ENDS if f"{name}_{end}" in frame.columns]:
        raise InputError(f'a column is called "{taken[0]}", as that of a quantile would be (rename it)')
    rows, filled, ends = answers.encode(frame), [], []
    for name in frame.columns:
        cells, one = frame[name], answers.fitted[name].encoder
        gaps = cells.is_null()
        asked = every and isinstance(one, NumberEncoder)
        if (gaps.any() or asked) and name not in answers.schema.context:
            law = answers.law_of(name, rows.select(np.flatnonzero(gaps.to_numpy())))
            if isinstance(one, NumberEncoder):
                mean, *both = (as_cells(one, law[part].to_numpy(), exact=True) for part in ("mean", *ENDS))
                cells, nothing = _put(cells, gaps, mean), pl.Series([None] * len(gaps), dtype=mean.dtype)
                for end, values in zip(ENDS, both, strict=True):
                    typed = answers.fitted[name].typed(_put(nothing, gaps, values))
                    ends.append(typed.alias(f"{name}_{end}"))
            else:
                cells = _put(cells, gaps, law[name])
        filled.append(cells.alias(name))
    return answers.typed(pl.DataFrame(filled)).hstack(ends)


def _put(cells: "pl.Series", gaps: "pl.Series", found: "pl.Series") -> "pl.Series":
    """Return cells with those in the gaps, in their order."""
    return cells.scatter(gaps.arg_true(), found.cast(cells.dtype))
