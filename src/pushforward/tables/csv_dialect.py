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
        comments: Lines of the file between those of `data` that are left out, counted from 1.
    """

    data: bytes
    delimiter: str
    skipped: int
    notes: tuple[str, ...]
    comments: tuple[int, ...] = ()

    def number(self, line: int) -> int:
        """Return the line of the file, counted from 1, that a line of `data` was."""
        line += self.skipped
        for comment in self.comments:
            line += comment <= line
        return line


def lines_of(data: bytes, *, source: str) -> Lines:
    """Return the table in a text: comma, semicolon, tab, bar or blanks between cells, "#" before comments.

    A first line `sep=;`, as spreadsheets write it, names the delimiter.

    The last comment is the header where it has a name for every cell of the first row, as `numpy.savetxt` writes it.
    Below the header a line that begins with "#" is a comment unless it has as many cells as the header. Rows that begin
    with a name, under a header that has one cell less, are R's: the names' column gets an empty name. A delimiter that
    ends all rows but not the header, or the header alone, separates nothing.

    Raises:
        InputError: If there is no text, or it is in another encoding.
    """
    data, notes = _decoded(data, source=source)
    comments: list[bytes] = []
    skipped = 0
    while data.startswith(b"#") or (comments and re.match(rb"\s*\n", data)):
        line, _, data = data.partition(b"\n")
        comments += [line] if line.strip() else []
        skipped += 1
    if not data.strip() and len(comments) == 1:
        data, comments, skipped = comments.pop(), [], 0  # a header that begins with "#", and no rows
    named = re.match(rb'"?sep=([,;|\t])"?\r?\n', data)
    data = data[named.end() :] if named else data
    if not data.strip():
        raise InputError(f"{source}: the file is empty (it needs rows of numbers)")
    delimiter = named[1].decode() if named else _delimiter(_sample(data))
    header = re.sub(rb"^#+", b"", comments[-1]).strip() if comments else b""
    cells = header.split(None if delimiter is None else delimiter.encode())
    skipped += bool(named)
    data, passed = _without_comments(data, delimiter)
    between = tuple(line + skipped for line in passed)
    if delimiter is None:
        delimiter = "\t"
        data = re.sub(rb"(?m)^[ \t]+|[ \t\r]+$", b"", data)
        data = re.sub(rb'("[^"]*")|[ \t]+', lambda match: match[1] or b"\t", data)
    width = _sample(data)[0].count(delimiter.encode()) + 1
    if comments and len(cells) == width and not all(is_number(cell.decode()) for cell in cells):
        data = delimiter.encode().join(cells) + b"\n" + data
        skipped -= 1
    return Lines(_header_as_long_as_rows(data, delimiter.encode()), delimiter, skipped, notes, between)


def _header_as_long_as_rows(data: bytes, delimiter: bytes) -> bytes:
    """Return the text with one delimiter more or less in its first line, if all lines below have one more or less."""
    first, *below = _sample(data)
    more = {line.count(delimiter) - first.count(delimiter) for line in below}
    if len(below) < 2 or more not in ({1}, {-1}):
        return data
    if more == {-1}:
        return re.sub(rb"^([^\n]*?)" + re.escape(delimiter) + rb"[ \t]*(\r?\n)", rb"\1\2", data, count=1)
    if all(line.endswith(delimiter) for line in below):
        return re.sub(rb"(\r?\n)", delimiter.replace(b"\\", b"") + rb"\1", data, count=1)
    return delimiter + data


def _without_comments(data: bytes, delimiter: str | None) -> tuple[bytes, list[int]]:
    """Return the text without the comments between its rows, and which of its lines they were, counted from 1."""
    found: list[re.Match[bytes]] = []
    width = -1
    for match in re.finditer(rb"(?m)^#[^\n]*\n?", data):
        width = _width(_sample(data)[0], delimiter) if width < 0 else width
        if _width(_sample(match[0])[0], delimiter) != width and data.count(b'"', 0, match.start()) % 2 == 0:
            found.append(match)
    lines = [data.count(b"\n", 0, match.start()) + 1 for match in found]
    for match in reversed(found):
        data = data[: match.start()] + data[match.end() :]
    return data, lines


def _width(line: bytes, delimiter: str | None) -> int:
    return len(line.split(None if delimiter is None else delimiter.encode()))


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
    several numbers with blanks between them, or all are as many words, two or more columns of them numbers; the comma
    otherwise.
    """
    plain = [line for line in lines if not line.startswith(b"#")]
    lines = plain if len(plain) > 1 else lines
    words = [line.decode().split() for line in lines]
    below = words[1:] or words
    numbers = [line for line in below if len(line) > 1 and all(map(is_number, line))]
    widths = {len(line) for line in below}
    for mark in ("\t", ";", "|"):
        counts = [line.count(mark.encode()) for line in lines]
        if all(counts[:2]) and (mark != "|" or len(set(counts)) == 1):
            aligned = len(widths) == 1 and len(numbers) == len(below) and all(b"  " in line for line in lines)
            return None if mark == "\t" and aligned else mark
    if len(words[0]) > 1 and 2 * len(numbers) > len(below):
        return None
    commas = any("," in word and not is_number(word) for line in words for word in line)
    if len(below) > 1 and not commas and len(widths) == 1 and widths <= {len(words[0]), len(words[0]) + 1}:
        return None if sum(all(map(is_number, column)) for column in zip(*below, strict=True)) > 1 else ","
    return ","
