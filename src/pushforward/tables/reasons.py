"""Why a cell is unusual, in words: what is usual given the rest of its row, and the cells that say so."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pushforward.tables.answers import Answers
from pushforward.tables.column_law import as_cells
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.number_cells import to_numbers
from pushforward.tables.row_encoder import Rows

if TYPE_CHECKING:
    import polars as pl

TELLING = 1.0  # nats by which another cell, alone, must make a cell less probable to be named
MOST_TELLING = 2
LEAST_SHARE = 1e-12
AS_USUAL = ", which is usual"
MANY = 10_000  # whole numbers from here on are written with marks


def reasons(answers: Answers, frame: "pl.DataFrame", columns: Sequence[str]) -> list[str]:
    """Return why the cell of each row in one column is unusual, "price: 12,000 where 150 to 900 is usual given ...".

    Args:
        answers: What knows.
        frame: (rows), as `Answers.read` gives them.
        columns: (rows,), the column of each.
    """
    found = [""] * frame.height
    for name in dict.fromkeys(columns):
        here = np.flatnonzero(np.asarray(columns) == name)
        part = frame[here]
        rows = answers.encode(part, range(len(answers.schema.context)))
        usual, given = _usual(answers, name, part, rows), _given(answers, name, part, rows)
        for place, what, because in zip(here, usual, given, strict=True):
            found[place] = f"{name}: {what}{because}"
    return found


def _usual(answers: Answers, name: str, frame: "pl.DataFrame", rows: Rows) -> list[str]:
    """Return "12,000 where 150 to 900 is usual" of each row's cell of a column."""
    one, law, cells = answers.fitted[name].encoder, answers.law_of(name, rows), _in_text(answers, name, frame[name])
    if not isinstance(one, NumberEncoder):
        share = np.exp(answers.columns_log_prob(rows, [name])[:, 0])
        return [
            f"{cell} (1 in {1 / max(p, LEAST_SHARE):,.0f})"
            + (f" where {usual} is usual" if usual != cell else AS_USUAL)
            for cell, p, usual in zip(cells, share, _in_text(answers, name, law[name]), strict=True)
        ]
    ends = [as_cells(one, law[end].to_numpy()) for end in ("q5", "q95")]
    if one.circle:
        place = one.circle.opened(to_numbers(one.kind, frame[name]))
        inside = (law["q5"].to_numpy() <= place) & (place <= law["q95"].to_numpy())
    else:
        inside = ((frame[name] >= ends[0]) & (frame[name] <= ends[1])).to_numpy()
    found = []
    for cell, low, high, between in zip(
        cells, *(_in_text(answers, name, end, digits=4) for end in ends), inside, strict=True
    ):
        if between:
            found.append(cell + AS_USUAL if low == high else f"{cell}, rare within {low} to {high}")
        else:
            found.append(f"{cell} where {low if low == high else f'{low} to {high}'} is usual")
    return found


def _given(answers: Answers, name: str, frame: "pl.DataFrame", rows: Rows) -> list[str]:
    """Return " given room_type=shared" of each row: the cells that alone make that of a column less probable."""
    others = [other for other in answers.schema.modelled if other != name]  # the context is always known
    if not others:
        return [""] * frame.height
    alone = _log_prob_given(answers, name, rows)
    loss = np.stack([alone - _log_prob_given(answers, name, rows, other) for other in others], 1)
    found = []
    texts = {other: _in_text(answers, other, frame[other]) for other in others}
    for row, losses in enumerate(loss):
        telling = [k for k in losses.argsort()[::-1][:MOST_TELLING] if losses[k] > TELLING]
        cells = [f"{others[k]}={texts[others[k]][row]}" for k in telling]
        found.append(f" given {' and '.join(cells)}" if cells else "")
    return found


@torch.no_grad()
def _log_prob_given(answers: Answers, name: str, rows: Rows, *others: str) -> np.ndarray:
    """Return log p(cell | context and other cells of its row) of a column, (rows,), in the measure of its places."""
    columns = answers.encoder.columns
    hidden = [d for d, one in enumerate(columns) if one not in (name, *others, *answers.schema.context)]
    cells = rows.cells.clone()
    cells[:, hidden] = -1
    return answers.questions.columns_log_prob(cells, [columns.index(name)])[:, 0].numpy()


def _in_text(answers: Answers, name: str, cells: "pl.Series", digits: int = 6) -> list[str]:
    """Return cells of a column as a sentence has them, numbers with so many digits."""
    typed = answers.fitted[name].typed(cells)
    written = answers.written_out({name: typed})[name].to_list()
    # A level that the table never had has no place in its type.
    return [_word(raw if value is None else value, digits) for value, raw in zip(written, cells.to_list(), strict=True)]


def _word(value: object, digits: int) -> str:
    if value is None:
        return "missing"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= MANY else str(value)
    if isinstance(value, float):
        return f"{value:.{digits}g}" if abs(value) < MANY else f"{value:,.0f}"
    return str(value)
