"""What is kept of a run: the curve of its losses, and frames for a page without a server and an animation."""

from typing import Any

MOST_POINTS = 400  # of the curve; beyond, every second one goes
MOST_FRAMES = 32


class Film:
    """Thins itself out, so that a run of any length stays small.

    Attributes:
        curve: {"step": ..., and the losses there}, oldest first.
        frames: Messages of `frames.packed`, oldest first.
    """

    def __init__(self) -> None:
        self.curve: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self._every, self._last = 1, 0

    @property
    def step(self) -> int:
        """The step of the last point of the curve; -1 if there is none."""
        return self.curve[-1]["step"] if self.curve else -1

    def add(self, step: int, losses: dict[str, Any]) -> None:
        """Add a point to the curve."""
        self.curve.append({"step": step, **losses})
        if len(self.curve) > MOST_POINTS:
            self.curve = [*self.curve[:-1:2], self.curve[-1]]

    def wants(self, step: int) -> bool:
        """Return whether `keep` would keep a frame of this step."""
        return not self.frames or step >= self._last + self._every

    def keep(self, step: int, frame: bytes) -> None:
        """Keep a frame now and then."""
        if not self.wants(step):
            return
        self.frames, self._last = [*self.frames, frame], step
        if len(self.frames) > MOST_FRAMES:
            self.frames, self._every = self.frames[::2], 2 * self._every
