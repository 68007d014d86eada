"""From the bytes of a CSV file to a table: fast while all is well, exact about the place when something is wrong."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.columns import Table, check_names, numbered, quoted, which
from pushforward.tables.csv_dialect import NAMES, Lines, lines_of
from pushforward.tables.number_text import is_number, style_of, to_numbers
from pushforward.tables.problems import check_usable, not_a_number, text_problem
from pushforward.tables.row_numbers import UNNAMED, labels_rows

if TYPE_CHECKING:
    import polars as pl

MOST_IN_DOUBT = 3  # columns
FRACTION = r"^\s*[+-]?\d*(\.\d|\d[eE])"
# Cells that stand for a missing value or a truth value: a first row of these and numbers is data, not a header.
_NO_NAMES = {"", "na", "n/a", "nan", "null", "none", "true", "false", "inf", "-inf"}


def parse_csv(data: bytes, *, source: str) -> Cells:
    """Turn the text of a table (see `lines_of`) into its cells, all of them text.

    The first row is a header unless every cell of it is a number; numbers that count the columns, 0, 1, 2, ..., are a
    header too, which data frames without names are written with.

    Args:
        data: The file's content.
        source: The file's name.

    Raises:
        InputError: If the text is no rectangle of cells.
    """
    lines = lines_of(data, source=source)
    frame, named = name_columns(read_cells(lines, source=source), source=source)

    def place(row: int) -> str:
        line, _ = next(islice(records(lines, source=source), row - 1 + named, None))
        return f"row {row} (line {line})"

    notes = (*lines.notes, *said_of_header(frame, named))
    return Cells(frame, source, numbers_of_text, named=named, delimiter=lines.delimiter, notes=notes, place=place)


def numbers_of_text(cells: Cells, columns: str | Sequence[str] | None, drop: str | Sequence[str]) -> Table:
    """Turn text into numbers; only where that fails are decimal commas and groups of thousands looked for.

    Raises:
        InputError: If a column is missing.
        TableProblems: If a cell of the columns is no finite number.
    """
    import polars as pl

    source, delimiter, frame, place = cells.source, cells.delimiter or ",", cells.frame, cells.place
    positions, names = which(frame.columns, columns, drop, source=source, named=cells.named)
    text = frame[:, positions]
    cast = [to_numbers(column) for column in text]
    notes, decimal_comma = cells.notes, False
    style = style_of(text, cast, delimiter)
    if style is not None:
        cast, decimal_comma = [to_numbers(column, style) for column in text], style.decimal_comma
        notes = (*notes, f"{NAMES[delimiter]} separate the cells, {style.note}")
    numbers = pl.DataFrame(cast)
    values = numbers.to_numpy(order="c")

    def describe(row: int, column: int) -> str:
        cell = text[row, column] or ""
        if decimal_comma and to_numbers(text[row : row + 1, column])[0] is not None:
            return f"{quoted(cell)} has a decimal point, where other cells have decimal commas"
        return not_a_number(cell, numbers[row, column])

    def example(name: str) -> str:
        column = names.index(name)
        row = int((numbers[:, column].is_null() & is_filled(text[:, column])).arg_max() or 0)
        return f'{place(row + 1)} of "{name}" holds {quoted(text[row, column])}'

    words = [name for name, column, filled in zip(names, numbers, text, strict=True) if is_text(column, filled)]
    problems = text_problem(words, example)
    check_usable(values, names, source=source, problems=problems, describe=describe, place=place)
    return Table(
        names, values, source, named=cells.named, as_is=frame, delimiter=delimiter, decimal_comma=decimal_comma,
        notes=notes,
    )  # fmt: skip


def read_cells(lines: Lines, *, source: str) -> "pl.DataFrame":
    """Return all cells of a CSV text, the first row included, as text; empty cells are null.

    Raises:
        InputError: If the rows have different lengths, or quotes do not match.
    """
    import polars as pl

    try:
        frame = pl.read_csv(lines.data, has_header=False, infer_schema=False, separator=lines.delimiter)
    except pl.exceptions.PolarsError as error:
        check_rectangular(lines, source=source)
        reason = str(error).splitlines()[0]
        raise InputError(f"{source}: is not a well-formed CSV file: {reason} (look for stray quotes)") from error
    if frame[:, -1].null_count():  # polars lets a short row pass: it ends in null, as an empty last cell does
        check_rectangular(lines, source=source)
    return frame


def name_columns(frame: "pl.DataFrame", *, source: str) -> tuple["pl.DataFrame", bool]:
    """Take the names from the first row, or call the columns x1, x2, ... if that is data; say whether there were names.

    Raises:
        InputError: If a name is missing or occurs twice, or no rows follow.
    """
    first = [" ".join((cell or "").split("\n")).strip() for cell in frame.row(0)]
    rest = frame[1:]
    if first[-1] == "" and len(first) > 1 and rest[:, -1].null_count() == rest.height > 0:  # delimiters end all lines
        frame, rest, first = frame[:, :-1], rest[:, :-1], first[:-1]
    labelled = first[0] == "" and labels_rows(to_numbers(rest[:, 0]).to_numpy())
    if is_data(first) and not counts_columns(first[labelled:], rest[:, int(labelled) :]):
        frame.columns = numbered(len(first))
        return frame, False
    first = [UNNAMED, *first[1:]] if labelled else first
    check_names(first, source=f"{source}: line 1")
    if frame.height == 1:
        raise InputError(f"{source}: has a header but no rows (add rows of numbers)")
    rest.columns = first
    return rest, True


def is_data(cells: Sequence[str]) -> bool:
    """Whether a first row is data: numbers and marks of missing values only, at least one number."""
    numeric = [is_number(cell) for cell in cells]
    return any(numeric) and all(n or cell.lower() in _NO_NAMES for n, cell in zip(numeric, cells, strict=True))


def counts(cells: Sequence[str]) -> bool:
    """Whether cells are 0, 1, 2, ... or 1, 2, 3, ..."""
    return list(cells) in ([str(k) for k in range(start, start + len(cells))] for start in (0, 1))


def counts_columns(first: Sequence[str], rest: "pl.DataFrame") -> bool:
    """Whether a first row of numbers is a header: 0, 1, 2, ... or 1, 2, 3, ...

    Three or fewer may be a row of data as well, and are taken for one unless a fraction stands below them.
    """
    if not counts(first):
        return False
    return len(first) > MOST_IN_DOUBT or any(column.str.contains(FRACTION).any() for column in rest)


def said_of_header(frame: "pl.DataFrame", named: bool) -> list[str]:
    """Say what a first row of numbers that count the columns was taken for; it could be names or data."""
    first = list(frame.columns) if named else [cell or "" for cell in frame.row(0)]
    first = first[1:] if first[0] == UNNAMED else first
    if len(first) < 2 or not counts(first):
        return []
    cells = ", ".join(first[:4]) + (", ..." if len(first) > 4 else "")
    return [f"the first line, {cells}, is taken for {'the names of the columns' if named else 'a row, not for names'}"]


def is_text(numbers: "pl.Series", cells: "pl.Series") -> bool:
    """Whether most of a column's cells that are not empty are words."""
    return numbers.null_count() > 0 and numbers.is_not_null().sum() * 2 < is_filled(cells).sum()


def is_filled(cells: "pl.Series") -> "pl.Series":
    """Whether each cell holds more than blanks."""
    return cells.str.strip_chars().fill_null("") != ""


def records(lines: Lines, *, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's first line, counted from 1, and its cells; slow, and strict about quotes.

    Raises:
        InputError: If quotes do not match.
    """
    reader = csv.reader(io.StringIO(lines.data.decode(), newline=""), delimiter=lines.delimiter, strict=True)
    line = first = 1 + lines.skipped
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + first
    except csv.Error as error:
        raise InputError(f"{source}: line {line}: {error} (look for a stray or unclosed quote)") from error


def check_rectangular(lines: Lines, *, source: str) -> None:
    """Raise InputError naming the first line that has more or fewer cells than the first, or a stray quote."""
    width = 0
    for line, cells in records(lines, source=source):
        width = width or len(cells)
        if not width:
            raise InputError(f"{source}: line 1 is empty (begin with the column names or the first row)")
        if len(cells) != width and (cells or width > 1):  # in a single column an empty line is a missing value
            have = f"has {len(cells)} cell{'s' * (len(cells) != 1)}" if cells else "is empty"
            raise InputError(
                f"{source}: line {line} {have}, line 1 has {width} (give every line the same number of cells)"
            )
