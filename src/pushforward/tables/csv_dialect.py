"""From the bytes of a text file, as programs write tables, to UTF-8 text with one delimiter and a header or none."""

import re
from dataclasses import dataclass

from pushforward.errors import InputError
from pushforward.tables.number_text import is_number

LOOKED_AT = 1_000_000  # bytes
LINES = 20
NAMES = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}


@dataclass(frozen=True)
class Lines:
    """The text of a table.

    Attributes:
        data: UTF-8, its cells separated by `delimiter`.
        delimiter: Of one character.
        skipped: Lines of the file before the first one of `data`.
        notes: What was taken for what, one line each.
    """

    data: bytes
    delimiter: str
    skipped: int
    notes: tuple[str, ...]


def lines_of(data: bytes, *, source: str) -> Lines:
    """Return the table in a text: comma, semicolon, tab, bar or blanks between cells, "#" before leading comments.

    A first line `sep=;`, as spreadsheets write it, names the delimiter.

    The last comment is the header where it has a name for every cell of the first row, as `numpy.savetxt` writes it.
    Rows that begin with a name, under a header that has one cell less, are R's: the names' column gets an empty name.

    Raises:
        InputError: If there is no text, or it is in another encoding.
    """
    data, notes = _decoded(data, source=source)
    comments = []
    while data.startswith(b"#"):
        line, _, data = data.partition(b"\n")
        comments.append(line)
    if comments and not data.strip() and len(comments) == 1:
        data, comments = comments.pop(), []  # a header that begins with "#", and no rows
    named = re.match(rb'"?sep=([,;|\t])"?\r?\n', data)
    data = data[named.end() :] if named else data
    if not data.strip():
        raise InputError(f"{source}: the file is empty (it needs rows of numbers)")
    delimiter = named[1].decode() if named else _delimiter(_sample(data))
    header = re.sub(rb"^#+", b"", comments[-1]).strip() if comments else b""
    cells = header.split(None if delimiter is None else delimiter.encode())
    if delimiter is None:
        delimiter = "\t"
        data = re.sub(rb"(?m)^[ \t]+|[ \t\r]+$", b"", data)
        data = re.sub(rb'("[^"]*")|[ \t]+', lambda match: match[1] or b"\t", data)
    rows = _sample(data)
    width = rows[0].count(delimiter.encode()) + 1
    skipped = len(comments) + bool(named)
    if comments and len(cells) == width and not all(is_number(cell.decode()) for cell in cells):
        data = delimiter.encode().join(cells) + b"\n" + data
        skipped -= 1
    counts = {line.count(delimiter.encode()) + 1 for line in rows[1:]}
    if len(rows) > 2 and counts == {width + 1}:
        data = delimiter.encode() + data
    return Lines(data, delimiter, skipped, notes)


def _decoded(data: bytes, *, source: str) -> tuple[bytes, tuple[str, ...]]:
    """Return the text in UTF-8 with line feeds, without byte order mark and closing blank lines; and what was done."""
    notes: tuple[str, ...] = ()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise InputError(f"{source}: is damaged or a binary file (save it as CSV in UTF-8)") from error
    if b"\0" in data:
        raise InputError(f"{source}: is a binary file, not text (save it as CSV in UTF-8)")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            try:
                data = data.decode("cp1252").encode()
            except UnicodeDecodeError:
                raise InputError(
                    f"{source}: line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text (save the file in UTF-8)"
                ) from error
            notes = (f"line {line} is not UTF-8: the text is taken to be in Windows-1252",)
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    if data.endswith((b"\n\n", b"\n\r\n")):
        data = data.rstrip(b"\r\n")
    return data, notes


def _sample(data: bytes) -> list[bytes]:
    """Return the first lines, with 0 for what stands in quotes."""
    head = data[:LOOKED_AT]
    lines = re.sub(rb'"[^"]*"', b"0", head).split(b"\n")
    if len(data) > LOOKED_AT and len(lines) > 1:
        lines.pop()  # cut short
    return [line.rstrip(b"\r") for line in lines if line.strip()][:LINES] or [b""]


def _delimiter(lines: list[bytes]) -> str | None:
    """Return what separates the cells of these lines: a character, or None for runs of blanks.

    The tab, semicolon or bar if it is in both of the first two lines; then blanks, if most lines below the first are
    several numbers with blanks between them; the comma otherwise.
    """
    for mark in ("\t", ";", "|"):
        counts = [line.count(mark.encode()) for line in lines]
        if all(counts[:2]) and (mark != "|" or len(set(counts)) == 1):
            return mark
    words = [line.decode().split() for line in lines]
    below = words[1:] or words
    numbers = [line for line in below if len(line) > 1 and all(map(is_number, line))]
    if len(words[0]) > 1 and 2 * len(numbers) > len(below):
        return None
    return ","
