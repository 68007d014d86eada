"""From the bytes of a CSV file to a table: fast while all is well, exact about the place when something is wrong."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.columns import (
    Table,
    check_cells,
    check_names,
    check_numeric,
    choose,
    names_in,
    numbered,
    quoted,
)

if TYPE_CHECKING:
    import polars as pl

MOST_IN_DOUBT = 3  # columns
FRACTION = r"^\s*[+-]?\d*(\.\d|\d[eE])"
# Cells that stand for a missing value or a truth value: a first row of these and numbers is data, not a header.
_NO_NAMES = {"", "na", "n/a", "nan", "null", "none", "true", "false", "inf", "-inf"}


def parse_csv(data: bytes, *, columns: str | Sequence[str] | None, source: str) -> Table:
    """Turn the text of a CSV file (comma, semicolon or tab; UTF-8) into a table.

    The first row is a header unless every cell of it is a number; numbers that count the columns, 0, 1, 2, ..., are a
    header too, which data frames without names are written with. All cells are read as text, which `Table.as_is`
    keeps, and then cast; only when that fails does a slow pass look for the place.

    Args:
        data: The file's content.
        columns: The columns that must be there and hold numbers; all by default.
        source: The file's name.

    Raises:
        InputError: If the text is no rectangle of cells, or a cell of the columns is no finite number.
    """
    import polars as pl

    data = check_text(data, source=source)
    delimiter = find_delimiter(data)
    frame, named = name_columns(read_cells(data, delimiter, source=source), source=source)
    there = frame.columns
    positions = choose(there, there if columns is None else columns, source=source, named=named)
    names = tuple(there if columns is None else names_in(columns, there))

    text = frame[:, positions]
    numbers = pl.DataFrame([to_numbers(column) for column in text])
    values = numbers.to_numpy(order="c")

    def place(row: int) -> str:
        line, _ = next(islice(records(data, delimiter, source=source), row - 1 + named, None))
        return f"row {row} (line {line})"

    def describe(row: int, column: int) -> str:
        cell = (text[row, column] or "").strip()
        if not cell:
            return "missing value"
        return f"{quoted(cell)} is not a {'number' if numbers[row, column] is None else 'finite number'}"

    def example(name: str) -> str:
        column = names.index(name)
        row = int((numbers[:, column].is_null() & is_filled(text[:, column])).arg_max() or 0)
        return f'{place(row + 1)} of "{name}" holds {quoted(text[row, column])}'

    words = [name for name, column, cells in zip(names, numbers, text, strict=True) if is_text(column, cells)]
    check_numeric(words, example, source=source)
    check_cells(values, names, source=source, describe=describe, place=place)
    return Table(names, values, source, named=named, as_is=frame, delimiter=delimiter)


def read_cells(data: bytes, delimiter: str, *, source: str) -> "pl.DataFrame":
    """Return all cells of a CSV text, the first row included, as text; empty cells are null.

    Raises:
        InputError: If the rows have different lengths, or quotes do not match.
    """
    import polars as pl

    try:
        frame = pl.read_csv(data, has_header=False, infer_schema=False, separator=delimiter)
    except pl.exceptions.PolarsError as error:
        check_rectangular(data, delimiter, source=source)
        reason = str(error).splitlines()[0]
        raise InputError(f"{source}: is not a well-formed CSV file: {reason} (look for stray quotes)") from error
    if frame[:, -1].null_count():  # polars lets a short row pass: it ends in null, as an empty last cell does
        check_rectangular(data, delimiter, source=source)
    return frame


def name_columns(frame: "pl.DataFrame", *, source: str) -> tuple["pl.DataFrame", bool]:
    """Take the names from the first row, or call the columns x1, x2, ... if that is data; say whether there were names.

    Raises:
        InputError: If a name is missing or occurs twice, or no rows follow.
    """
    first = [" ".join((cell or "").split("\n")).strip() for cell in frame.row(0)]
    if is_data(first) and not counts_columns(first, frame[1:]):
        frame.columns = numbered(len(first))
        return frame, False
    check_names(first, source=f"{source}: line 1")
    if frame.height == 1:
        raise InputError(f"{source}: has a header but no rows (add rows of numbers)")
    frame = frame[1:]
    frame.columns = first
    return frame, True


def check_text(data: bytes, *, source: str) -> bytes:
    """Return the text in UTF-8 without byte order mark and closing blank lines.

    Raises:
        InputError: If it is empty or in another encoding.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise InputError(f"{source}: is UTF-16 or a binary file, not UTF-8 text (save it as CSV in UTF-8)")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise InputError(
                f"{source}: line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text (save the file in UTF-8)"
            ) from error
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    if data.endswith((b"\n\n", b"\n\r\n")):
        data = data.rstrip(b"\r\n")
    if not data.strip():
        raise InputError(f"{source}: the file is empty (it needs rows of numbers)")
    return data


def find_delimiter(data: bytes) -> str:
    """Return the tab or semicolon if one is outside quotes in both of the first two lines, else the comma."""
    lines = [re.sub(rb'"[^"]*"', b"", line) for line in data[:1_000_000].split(b"\n", 2)[:2]]
    return next((d for d in ("\t", ";") if all(d.encode() in line for line in lines)), ",")


def is_data(cells: Sequence[str]) -> bool:
    """Whether a first row is data: numbers and marks of missing values only, at least one number."""
    numeric = [is_number(cell) for cell in cells]
    return any(numeric) and all(n or cell.lower() in _NO_NAMES for n, cell in zip(numeric, cells, strict=True))


def counts_columns(first: Sequence[str], rest: "pl.DataFrame") -> bool:
    """Whether a first row of numbers is a header: 0, 1, 2, ... or 1, 2, 3, ...

    Three or fewer may be a row of data as well, and are taken for one unless a fraction stands below them.
    """
    if list(first) not in ([str(k) for k in range(start, start + len(first))] for start in (0, 1)):
        return False
    return len(first) > MOST_IN_DOUBT or any(column.str.contains(FRACTION).any() for column in rest)


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def to_numbers(column: "pl.Series") -> "pl.Series":
    """Cast text to float64, null where it is not a number; a column of true and false becomes 1 and 0."""
    import polars as pl

    numbers = column.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0:
        return numbers
    column = column.str.strip_chars()
    lower = column.str.to_lowercase()
    if lower.is_in(["true", "false"]).all():
        return (lower == "true").cast(pl.Float64)
    return column.cast(pl.Float64, strict=False)


def is_text(numbers: "pl.Series", cells: "pl.Series") -> bool:
    """Whether most of a column's cells that are not empty are words."""
    return numbers.null_count() > 0 and numbers.is_not_null().sum() * 2 < is_filled(cells).sum()


def is_filled(cells: "pl.Series") -> "pl.Series":
    """Whether each cell holds more than blanks."""
    return cells.str.strip_chars().fill_null("") != ""


def records(data: bytes, delimiter: str, *, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's first line, counted from 1, and its cells; slow, and strict about quotes.

    Raises:
        InputError: If quotes do not match.
    """
    reader = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{source}: line {line}: {error} (look for a stray or unclosed quote)") from error


def check_rectangular(data: bytes, delimiter: str, *, source: str) -> None:
    """Raise InputError naming the first line that has more or fewer cells than the first, or a stray quote."""
    width = 0
    for line, cells in records(data, delimiter, source=source):
        width = width or len(cells)
        if not width:
            raise InputError(f"{source}: line 1 is empty (begin with the column names or the first row)")
        if len(cells) != width and (cells or width > 1):  # in a single column an empty line is a missing value
            have = f"has {len(cells)} cell{'s' * (len(cells) != 1)}" if cells else "is empty"
            raise InputError(
                f"{source}: line {line} {have}, line 1 has {width} (give every line the same number of cells)"
            )
