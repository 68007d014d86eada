"""From the bytes of a CSV file to its cells: fast while all is well, exact about the place when something is wrong."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.columns import check_names, numbered
from pushforward.tables.csv_dialect import Lines, lines_of
from pushforward.tables.missing_cells import MISSING, without_missing
from pushforward.tables.number_text import is_number, to_numbers
from pushforward.tables.row_numbers import UNNAMED, labels_rows

if TYPE_CHECKING:
    import polars as pl

MOST_IN_DOUBT = 3  # columns
LOOKED_AT = 1000  # rows, to tell whether a column holds numbers
STARTS_AS_NUMBER = r"^[+-]?[.,]?\d"
FRACTION = r"^\s*[+-]?\d*(\.\d|\d[eE])"
# Cells that stand for a missing value or a truth value: a first row of these and numbers is data, not a header.
_NO_NAMES = MISSING | {"true", "false", "inf", "-inf"}


def parse_csv(data: bytes, *, source: str) -> Cells:
    """Turn the text of a table (see `lines_of`) into cells of text.

    The first row is a header unless every cell of it is a number; numbers that count the columns, 0, 1, 2, ..., are a
    header too, which data frames without names are written with.

    Args:
        data: The file's content.
        source: The file's name.

    Raises:
        InputError: If the text is no rectangle of cells.
    """
    lines = lines_of(data, source=source)
    frame, named = name_columns(frame_of(lines, source=source), source=source)

    def place(row: int) -> str:
        line, _ = next(islice(records(lines, source=source), row - 1 + named, None))
        return f"row {row} (line {line})"

    notes = (*lines.notes, *said_of_header(frame, named))
    return Cells(frame, source, named=named, delimiter=lines.delimiter, notes=notes, place=place)


def frame_of(lines: Lines, *, source: str) -> "pl.DataFrame":
    """Return all cells of a CSV text, the first row included, as text; empty cells are null.

    Raises:
        InputError: If the rows have different lengths, or quotes do not match.
    """
    import polars as pl

    try:
        frame = pl.read_csv(lines.data, has_header=False, infer_schema=False, separator=lines.delimiter, null_values="")
    except pl.exceptions.PolarsError as error:
        check_rectangular(lines, source=source)
        reason = str(error).splitlines()[0]
        raise InputError(f"{source}: is not a well-formed CSV file: {reason} (look for stray quotes)") from error
    # polars lets a short row pass: it ends in null, as an empty last cell does, and lacks delimiters
    if frame[:, -1].null_count() and delimiters(lines) != frame.height * (frame.width - 1):
        check_rectangular(lines, source=source)
    return frame


def delimiters(lines: Lines) -> int:
    """Return how many delimiters there are outside quotes."""
    mark = lines.delimiter.encode()
    if b'"' not in lines.data:
        return lines.data.count(mark)
    return lines.data.count(mark) - sum(quoted.count(mark) for quoted in re.findall(rb'"[^"]*"', lines.data))


def name_columns(frame: "pl.DataFrame", *, source: str) -> tuple["pl.DataFrame", bool]:
    """Take the names from the first row, or call the columns x1, x2, ... if that is data; say whether there were names.

    Columns without a name and without a cell are none: delimiters end all lines, or are spacers of a spreadsheet.

    Raises:
        InputError: If a name is missing or occurs twice, or no rows follow.
    """
    first = [" ".join((cell or "").split("\n")).strip() for cell in frame.row(0)]
    rest = frame[1:]
    there = [p for p, cell in enumerate(first) if cell or rest[:, p].null_count() < rest.height or not rest.height]
    if 0 < len(there) < len(first):
        frame, rest, first = frame[:, there], rest[:, there], [first[p] for p in there]
    labelled = first[0] == "" and names_rows(rest[:, 0])
    counted = counts_columns(first[labelled:], rest[:, int(labelled) :])
    if (is_data(first) and not counted) or words_recur(first, rest):
        frame.columns = numbered(len(first))
        return frame, False
    first = [UNNAMED, *first[1:]] if labelled else first
    check_names(first, source=f"{source}: line 1")
    if frame.height == 1:
        raise InputError(f"{source}: has a header but no rows (add rows of numbers)")
    rest.columns = first
    return rest, True


def names_rows(text: "pl.Series") -> bool:
    """Whether cells are row numbers, or words each of which is another."""
    numbers = to_numbers(text)
    if numbers.null_count() < len(text):
        return labels_rows(numbers.to_numpy())
    return len(text) > 1 and text.null_count() == 0 and text.n_unique() == len(text)


def is_data(cells: Sequence[str]) -> bool:
    """Whether a first row is data: numbers and marks of missing values only, at least one number."""
    numeric = [is_number(cell) for cell in cells]
    return any(numeric) and all(n or cell.lower() in _NO_NAMES for n, cell in zip(numeric, cells, strict=True))


def words_recur(first: Sequence[str], rest: "pl.DataFrame") -> bool:
    """Whether a first row with words is data: no word stands above numbers, and words stand in their column again.

    All of them if the row has no number, as a name may by chance be a word of its column.
    """
    words = again = numbers = 0
    for cell, column in zip(first, rest, strict=True):
        if cell.lower() in MISSING:
            continue
        if is_number(cell):
            numbers += 1
            continue
        seen = without_missing(column.head(LOOKED_AT)).drop_nulls()
        if 2 * seen.str.contains(STARTS_AS_NUMBER).sum() > len(seen):
            return False
        words += 1
        again += bool((column.str.strip_chars() == cell).any())
    return again > 0 and (again == words or numbers > 0)


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
    """Say what a first row was taken for that could be names or data: numbers that count the columns, or with words."""
    first = list(frame.columns) if named else [(cell or "").strip() for cell in frame.row(0)]
    first = first[1:] if first[0] == UNNAMED else first
    doubt = counts(first) if named or is_data(first) else True
    if not doubt or (len(first) < 2 and counts(first)):
        return []
    cells = ", ".join(first[:4]) + (", ..." if len(first) > 4 else "")
    return [f"the first line, {cells}, is taken for {'the names of the columns' if named else 'a row, not for names'}"]


def records(lines: Lines, *, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's first line, counted from 1, and its cells; slow, and strict about quotes.

    Raises:
        InputError: If quotes do not match.
    """
    reader = csv.reader(io.StringIO(lines.data.decode(), newline=""), delimiter=lines.delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield lines.number(line), cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{source}: line {lines.number(line)}: {error} (look for a stray or unclosed quote)"
        ) from error


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
