"""A long text of a table cut at lines, so that each block can be read by itself."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.csv_dialect import Lines, lines_of
from pushforward.tables.csv_reader import frame_of, parse_csv

BLOCK = 32 * 2**20  # bytes
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class TextBlock:
    """Some lines of a file.

    Attributes:
        file: The file.
        start: Their first byte.
        size: Number of their bytes.
        line: Lines of the file before them.
        like: The cells of the first block without their rows: names, delimiter, and how numbers are written.
    """

    file: Path
    start: int
    size: int
    line: int
    like: Cells

    def read(self) -> Iterator[Cells]:
        """Return the block's cells, of text, as those of the whole file would be."""
        data = _bytes(self.file, self.start, self.size)
        if not self.start:
            yield parse_csv(data, source=str(self.file))
            return
        assert self.like.delimiter is not None
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = self.line + data.count(b"\n", 0, error.start) + 1
            raise InputError(f"{self.file}: line {line:,} is not UTF-8 text (save the file in UTF-8)") from error
        frame = frame_of(Lines(data, self.like.delimiter, self.line, ()), source=str(self.file))
        names = self.like.columns
        if frame.width != len(names):
            raise InputError(
                f"{self.file}: line {self.line + 1:,} has {frame.width} cells, line 1 has {len(names)} (give every line"
                " the same number of cells)"
            )
        frame.columns = list(names)
        yield replace(self.like, frame=frame, notes=(), place=lambda row: f"line {self.line + row:,}")


def text_blocks(file: Path) -> list[TextBlock]:
    """Return the blocks of a file, none of one that is short, or is no plain text of lines below a header.

    A block ends after the first line feed outside quotes once it has 32 MiB.
    """
    if file.stat().st_size <= BLOCK:
        return []
    ends, lines, quotes = [0], [0], 0
    with file.open("rb") as handle:
        position = newlines = 0
        while part := handle.read(BLOCK):
            inside = (quotes + part.count(b'"')) % 2 == 1
            while tail := handle.readline():  # to the end of a line, and of a cell in quotes
                part += tail
                inside ^= tail.count(b'"') % 2 == 1
                if not inside:
                    break
            quotes = int(inside)
            position += len(part)
            newlines += part.count(b"\n")
            ends.append(position)
            lines.append(newlines)
    first = _bytes(file, 0, ends[1])
    plain = lines_of(first, source=str(file))
    text = first.removeprefix(BYTE_ORDER_MARK)
    if plain.skipped or plain.comments or plain.notes or not text.startswith(plain.data[:4096]):
        return []
    head = parse_csv(first, source=str(file))
    like = replace(head, frame=head.frame.clear(), known_style=(head.style,))
    return [TextBlock(file, a, b - a, line, like) for a, b, line in zip(ends[:-1], ends[1:], lines[:-1], strict=True)]


def _bytes(file: Path, start: int, size: int) -> bytes:
    with file.open("rb") as handle:
        handle.seek(start)
        return handle.read(size)
