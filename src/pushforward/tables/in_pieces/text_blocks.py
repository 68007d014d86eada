"""A long text of a table cut at lines, so that each block can be read by itself."""

import re
from collections.abc import Iterator, Sequence
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
        before: Rows before it.
        num_rows: Number of its rows.
        like: The cells of the first block without their rows: names, delimiter, and how numbers are written.
    """

    file: Path
    start: int
    size: int
    line: int
    before: int
    num_rows: int
    like: Cells

    def read(self, columns: Sequence[str] | None = None) -> Iterator[Cells]:
        """Return the block's cells, of text, as those of the whole file would be; all columns, whatever is asked."""
        data = _bytes(self.file, self.start, self.size)
        if not self.start:
            yield parse_csv(data, source=str(self.file))
            return
        assert self.like.delimiter is not None
        frame = frame_of(Lines(data, self.like.delimiter, self.line, ()), source=str(self.file))
        names = self.like.columns
        if frame.width != len(names):
            raise InputError(
                f"{self.file}: line {self.line + 1:,} has {frame.width} cells, line 1 has {len(names)} (give every line"
                " the same number of cells)"
            )
        frame.columns = list(names)
        plain = self.num_rows == data.count(b"\n") + (not data.endswith(b"\n"))
        called, before = ("line", self.line) if plain else ("row", self.before)  # cells may have line feeds
        yield replace(self.like, frame=frame, notes=(), place=lambda row: f"{called} {before + row:,}")


def text_blocks(file: Path) -> list[TextBlock]:
    """Return the blocks of a file, none of one that is short, or is no plain text of lines below a header.

    A block ends after the first line feed outside quotes once it has 32 MiB.
    """
    if file.stat().st_size <= BLOCK:
        return []
    ends, lines, rows, inside = [0], [0], [0], False
    with file.open("rb") as handle:
        while part := handle.read(BLOCK):
            pieces, inside = [part], inside ^ (part.count(b'"') % 2 == 1)
            while tail := handle.readline():  # to the end of a line, and of a cell in quotes
                pieces.append(tail)
                inside ^= tail.count(b'"') % 2 == 1
                if not inside:
                    break
            part = b"".join(pieces)
            if not _is_plain(part):
                return []
            ends.append(ends[-1] + len(part))
            lines.append(lines[-1] + part.count(b"\n"))
            outside = part if b'"' not in part else b"".join(part.split(b'"')[::2])
            rows.append(rows[-1] + outside.count(b"\n") + (not part.endswith(b"\n")))
    first = _bytes(file, 0, ends[1])
    plain = lines_of(first, source=str(file))
    head = parse_csv(first, source=str(file))
    text = first.removeprefix(BYTE_ORDER_MARK)
    width = text.partition(b"\n")[0].count(plain.delimiter.encode()) + 1
    if (
        plain.skipped
        or plain.comments
        or plain.notes
        or not text.startswith(plain.data[:4096])
        or width != len(head.columns)
    ):
        return []
    like = replace(head, frame=head.frame.clear(), known_style=(head.style,))
    header = rows[1] - head.frame.height
    return [
        TextBlock(file, ends[k], ends[k + 1] - ends[k], lines[k], max(rows[k] - header, 0), count, like)
        for k, count in enumerate(rows[k + 1] - rows[k] - (0 if k else header) for k in range(len(ends) - 1))
    ]


def _is_plain(part: bytes) -> bool:
    """Whether lines are text in UTF-8, none of them empty or a comment."""
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return re.search(rb"(?m)^(#|\r?$)", part.removesuffix(b"\n")) is None


def _bytes(file: Path, start: int, size: int) -> bytes:
    with file.open("rb") as handle:
        handle.seek(start)
        return handle.read(size)
