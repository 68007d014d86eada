"""Tables: files, data frames and arrays in, numbers under column names out, the model of them, and the way back."""

from pushforward.tables.columns import Table
from pushforward.tables.file_reader import read_table
from pushforward.tables.from_anything import as_table
from pushforward.tables.schema import Column, Schema
from pushforward.tables.table_checks import check_for_fitting, column_warnings
from pushforward.tables.writers import write_table

__all__ = [
    "Column",
    "Schema",
    "Table",
    "as_table",
    "check_for_fitting",
    "column_warnings",
    "read_table",
    "write_table",
]
