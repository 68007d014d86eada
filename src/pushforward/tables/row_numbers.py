"""A first column that only counts the rows, as programs write it unasked: recognised, and left out of a fit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pushforward.tables.columns import Table

# Of columns that programs write, or people add, to number the rows.
NAMES = {
    "", "index", "unnamed: 0", "__index_level_0__", "level_0", "id", "row", "rowid", "row_id", "row_number", "rownum",
    "rownames", "nr", "no", "no.", "#",
}  # fmt: skip
UNNAMED = "index"


def counts_rows(values: np.ndarray) -> bool:
    """Whether values (rows,) are 0, 1, 2, ... or 1, 2, 3, ..."""
    return len(values) > 1 and values[0] in (0.0, 1.0) and bool((np.diff(values) == 1.0).all())


def with_a_name(names: Sequence[str], first: np.ndarray) -> list[str]:
    """Return the columns' names, with one for a first column without any that counts the rows."""
    if names and names[0] == "" and counts_rows(first):
        free = UNNAMED if UNNAMED not in names else "Unnamed: 0"
        return [free, *names[1:]]
    return list(names)


def without_row_numbers(table: Table, *, keep: Sequence[str] = ()) -> Table:
    """Return a table without its first column where that has such a name and counts the rows, and a note that says so.

    Args:
        table: With names of its own; a column that made-up names stand over is data.
        keep: Columns that were asked for by name.
    """
    name = table.columns[0]
    counts = name.lower() in NAMES and len(table.columns) > 1 and counts_rows(table.values[:, 0])
    if not (table.named and counts) or name in keep:
        return table
    note = f'column 1, "{name}", counts the rows and is left out (name it among the columns to keep it)'
    return replace(table.select(table.columns[1:]), notes=(*table.notes, note))
