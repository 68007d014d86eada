"""The progress of a run in a notebook: one bar that is drawn over itself, and what was said below it."""

import time
from html import escape
from typing import Any

EVERY_SECONDS = 0.3


class NotebookBar:
    """A bar in the output of a cell, with losses, remaining time and notes.

    Args:
        display: IPython's function `display`.
        as_html: IPython's class `HTML`.
    """

    def __init__(self, display: Any, as_html: Any) -> None:
        self._as_html, self._notes = as_html, []  # type: ignore[var-annotated]
        self._started = self._drawn = time.monotonic()
        self._step, self._num_steps, self._losses = 0, 0, ""
        self._handle = display(as_html(self._html()), display_id=True)

    def update(self, step: int, num_steps: int) -> None:  # noqa: D102
        self._step, self._num_steps = step, num_steps
        if time.monotonic() - self._drawn >= EVERY_SECONDS:
            self._draw()

    def report(self, row: dict[str, Any], num_steps: int, num_rows: int) -> None:  # noqa: D102
        validation = "" if row["validation_loss"] is None else f", validation {row['validation_loss']:.4f}"
        self._losses = f"train {row['train_loss']:.4f}{validation} nats"
        self.update(row["step"], num_steps)

    def note(self, text: str) -> None:  # noqa: D102
        self._notes.append(text)
        self._draw()

    def close(self) -> None:  # noqa: D102
        self._draw(ended=True)

    def _draw(self, *, ended: bool = False) -> None:
        self._drawn = time.monotonic()
        self._handle.update(self._as_html(self._html(ended=ended)))

    def _html(self, *, ended: bool = False) -> str:
        seconds = time.monotonic() - self._started
        share = self._step / self._num_steps if self._num_steps else 0.0
        left = "" if ended or not share else f", {seconds * (1 - share) / share:.0f} s left"
        words = f"step {self._step:,} of {self._num_steps:,}, {seconds:.0f} s{left}. {self._losses}"
        notes = "".join(f"<div>{escape(note)}</div>" for note in self._notes)
        return (
            f'<div style="font-size:0.95em"><progress value="{share:.3f}" max="1" style="width:16em"></progress> '
            f"{escape(words)}{notes}</div>"
        )
