"""The table that a flow is to be fitted to, out of whatever was handed over: all that is wrong with it in one error."""

from collections.abc import Sequence
from typing import Any

from pushforward.tables.columns import Table, names_in
from pushforward.tables.from_anything import as_table
from pushforward.tables.problems import TableProblems
from pushforward.tables.row_numbers import without_row_numbers
from pushforward.tables.table_checks import fitting_problems


def table_for_fitting(
    data: Any,
    *,
    context: str | Sequence[str] = (),
    columns: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
) -> Table:
    """Return the columns to be fitted, in the order in which they were read; one that counts the rows is left out.

    Args:
        data: What `as_table` takes; a table that nothing is to be left out of is returned as it is.
        context: Columns to condition on: they are there beside `columns`.
        columns: The columns to take, and nothing else; all by default.
        drop: Columns to leave out.

    Raises:
        InputError: If there is no such table or column.
        TableProblems: All that is wrong with the columns; what could not be fitted in those that are readable included.
    """
    if isinstance(data, Table) and columns is None and not drop:
        return data
    wanted = None
    if columns is not None:
        wanted = list(dict.fromkeys([*names_in(columns, ()), *names_in(context, ())]))
    try:
        table = as_table(data, columns=wanted, drop=drop).in_order()
    except TableProblems as found:
        if found.usable is None or len(found.usable.values) < 2:
            raise
        raise found.and_others(fitting_problems(found.usable)) from None
    return table if wanted is not None else without_row_numbers(table, keep=names_in(context, table.columns))
