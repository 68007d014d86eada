"""Public tables in the form in which they are passed on, from the folder of data."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.errors import InputError
from pushforward.tables.column_kinds import read_columns
from pushforward.tables.from_anything import as_cells

if TYPE_CHECKING:
    import polars as pl

FOLDER_VARIABLE = "PUSHFORWARD_DATA"
ORIGINS = {
    "magic04": "archive.ics.uci.edu, MAGIC Gamma Telescope (Bock et al. 2004)",
    "adult": "archive.ics.uci.edu, Adult (Becker & Kohavi 1996)",
}


def real_table(name: str) -> "pl.DataFrame":
    """Return a table as values: tables/NAME.csv.gz in the folder that the variable PUSHFORWARD_DATA names.

    Raises:
        InputError: If it is not there.
    """
    import polars as pl

    folder = os.environ.get(FOLDER_VARIABLE)
    path = Path(folder or "", "tables", f"{name}.csv.gz")
    if not folder or not path.exists():
        raise InputError(
            f"{name}: the table is not there ({ORIGINS[name]}: save it as tables/{name}.csv.gz, with a header, in a"
            f" folder, and set {FOLDER_VARIABLE} to that)"
        )
    columns, _ = read_columns(as_cells(path))
    return pl.DataFrame([one.values.alias(one.name) for one in columns])
