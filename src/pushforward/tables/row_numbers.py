"""A first column that only counts the rows, as programs write it unasked: recognised, and left out of a fit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pushforward.tables.columns import Table

UNASKED = {"", "unnamed: 0", "__index_level_0__"}  # the row labels of data frames, which nobody gave a name
# Of columns that programs write, or people add, to number the rows.
NAMES = {
    "index", "level_0", "id", "row", "rowid", "row_id", "row_number", "rownum", "rownames", "nr", "no", "no.", "#",
}  # fmt: skip
UNNAMED = "Unnamed: 0"  # as pandas calls it


def counts_rows(values: np.ndarray) -> bool:
    """Whether values (rows,) are 0, 1, 2, ... or 1, 2, 3, ..."""
    return len(values) > 1 and values[0] in (0.0, 1.0) and bool((np.diff(values) == 1.0).all())


def labels_rows(values: np.ndarray) -> bool:
    """Whether values (rows,) are counts, each another: row numbers that were shuffled, or of which some are kept."""
    with np.errstate(invalid="ignore"):
        counts = bool(((values >= 0) & (values % 1 == 0)).all())
    return len(values) > 1 and counts and len(np.unique(values)) == len(values)


def numbers_the_rows(name: str, values: np.ndarray) -> str | None:
    """Say that a column numbers the rows, by its name and its values (rows,); None if it does not."""
    unasked = name.lower() in UNASKED and labels_rows(values)
    if not (unasked or (name.lower() in NAMES and counts_rows(values))):
        return None
    return "counts the rows" if counts_rows(values) else "holds row numbers, each once,"


def without_row_numbers(table: Table, *, keep: Sequence[str] = ()) -> Table:
    """Return a table without a column that has such a name and counts the rows, with a note that says so.

    Args:
        table: With names of its own; a column that made-up names stand over is data.
        keep: Columns that were asked for by name.
    """
    if len(table.columns) < 2 or not table.named:
        return table
    # pandas writes its index behind the columns
    place = len(table.columns) - 1 if table.columns[-1] == "__index_level_0__" else 0
    name = table.columns[place]
    what = None if name in keep else numbers_the_rows(name, table.values[:, place])
    if what is None:
        return table
    note = f'column {place + 1}, "{name}", {what} and is left out (name it in --columns or columns= to keep it)'
    others = (*table.columns[:place], *table.columns[place + 1 :])
    return replace(table.select(others), notes=(*table.notes, note))
