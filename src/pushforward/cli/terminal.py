"""What the commands print: lines, and tables that are plain text where the output is no terminal."""

import sys
from collections.abc import Sequence


def say(line: str = "") -> None:
    """Print one line."""
    print(line, flush=True)


def warn(line: str) -> None:
    """Print a warning, on standard error."""
    print(f"warning: {line}", file=sys.stderr, flush=True)


def show(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, header_style="bold")
    for position, name in enumerate(header):
        table.add_column(name, justify="right" if position else "left", no_wrap=bool(position))
    for row in rows:
        table.add_row(*row)
    console.print(table)
