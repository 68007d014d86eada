"""A table as it was read: names above cells of any kind, nothing demanded of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pushforward.tables.number_text import NumberStyle, style_of, to_numbers


@dataclass(frozen=True, eq=False)
class Cells:
    """What a reader hands over; `numbers_of` makes numbers of it, `read_columns` columns of every kind.

    Attributes:
        frame: A polars frame. Of a text file all cells are text, null where one is empty; of anything else they are
            typed as they were.
        source: Where the rows came from, for messages.
        named: False where the source had no names and the columns are called x1, x2, ...
        kind: What was handed over, as `Table.kind`.
        delimiter: What separates the cells of a text file; None for anything else.
        notes: What was taken for what where a file left a choice, one line each.
        known_style: (how numbers are written,) where a longer text told, of which these cells are a part; else ().
        place: Given a row counted from 1, says where it is: "row 3 (line 4)".
    """

    frame: Any
    source: str
    named: bool = True
    kind: str = "polars"
    delimiter: str | None = None
    notes: tuple[str, ...] = ()
    known_style: tuple[NumberStyle | None, ...] = ()
    place: Callable[[int], str] = "row {}".format

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self.frame.columns)

    @cached_property
    def style(self) -> NumberStyle | None:
        """How the numbers of a text file are written; None where they are plain, or were no text."""
        if self.known_style:
            return self.known_style[0]
        if self.delimiter is None:
            return None
        return style_of(self.frame, [to_numbers(column) for column in self.frame], self.delimiter)
