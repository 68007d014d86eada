"""Progress of a run: a bar in a terminal or a notebook, plain lines in a log, or nothing."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pushforward.display import in_notebook

LINE_SECONDS = 5.0


class Progress(Protocol):
    """What the loop tells."""

    def update(self, step: int, num_steps: int) -> None:
        """Say how far the run is."""

    def report(self, row: dict[str, Any], num_steps: int, num_rows: int) -> None:
        """Show a row of the history; so many rows of data have been learned from."""

    def note(self, text: str) -> None:
        """Say something once."""

    def close(self) -> None:
        """End the display."""


class Silent:
    """Shows nothing."""

    def update(self, step: int, num_steps: int) -> None:  # noqa: D102
        pass

    def report(self, row: dict[str, Any], num_steps: int, num_rows: int) -> None:  # noqa: D102
        pass

    def note(self, text: str) -> None:  # noqa: D102
        pass

    def close(self) -> None:  # noqa: D102
        pass


class Lines:
    """Writes a plain line to stderr every few seconds, and at the end."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._pending, self._began = "", 0.0

    def update(self, step: int, num_steps: int) -> None:  # noqa: D102
        pass

    def report(self, row: dict[str, Any], num_steps: int, num_rows: int) -> None:  # noqa: D102
        step, seconds = row["step"], max(row["seconds"], 1e-3)
        rows = f"{num_rows:,} rows, {num_rows / seconds:,.0f} a second" if step else "0 rows"
        self._began = seconds if not step else self._began
        left = f", {(seconds - self._began) * (num_steps - step) / step:.0f} s left" if step else ""
        self._pending = f"step {step}/{num_steps}  {rows}{left}  {describe(row)}"
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self.note(self._pending)
            self._pending, self._last = "", time.monotonic()

    def note(self, text: str) -> None:  # noqa: D102
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:  # noqa: D102
        self._flush()


class Bar:
    """A bar on stderr, drawn by rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("training"),
            BarColumn(bar_width=8),  # the whole line fits 80 columns
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=None, rate="")
        self._bar.start()

    def update(self, step: int, num_steps: int) -> None:  # noqa: D102
        self._bar.update(self._task, completed=step, total=num_steps)

    def report(self, row: dict[str, Any], num_steps: int, num_rows: int) -> None:  # noqa: D102
        self._bar.update(self._task, completed=row["step"], total=num_steps, description=losses(row))
        if row["seconds"]:
            self._bar.update(self._task, rate=f"{num_rows / row['seconds'] / 1000:,.1f}k rows/s")

    def note(self, text: str) -> None:  # noqa: D102
        self._bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:  # noqa: D102
        self._bar.stop()


@contextmanager
def shown(progress: bool) -> Iterator[Progress]:
    """Show a bar in a terminal (if rich is there) or a notebook, else lines, nothing if not wanted, until the end."""
    display = _make(progress)
    try:
        yield display
    finally:
        display.close()


def _make(progress: bool) -> Progress:
    if not progress:
        return Silent()
    if in_notebook():
        from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]

        from pushforward.training.notebook_bar import NotebookBar

        return NotebookBar(display, HTML)
    if sys.stderr.isatty():
        try:
            return Bar()
        except ImportError:
            pass
    return Lines()


def losses(row: dict[str, Any]) -> str:
    """Return the losses of a history row."""
    validation = "" if row["validation_loss"] is None else f"  validation {row['validation_loss']:.4f}"
    return f"train {row['train_loss']:.4f}{validation}"


def describe(row: dict[str, Any]) -> str:
    """Return a history row in a few words."""
    return f"{losses(row)}  rate {row['learning_rate']:.1e}  {row['seconds']:.0f} s"
