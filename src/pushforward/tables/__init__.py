"""Tables: files, data frames and arrays in, numbers under column names out, and the way back to a file."""

from pushforward.tables.checks import check_for_fitting, column_warnings
from pushforward.tables.columns import Schema, Table
from pushforward.tables.files import read_table, write_table
from pushforward.tables.frames import as_table

__all__ = ["Schema", "Table", "as_table", "check_for_fitting", "column_warnings", "read_table", "write_table"]
