"""What is kept of a run: the curve of its losses, and frames for a page without a server and an animation."""

from typing import Any, Generic, TypeVar

MOST_POINTS, MOST_FRAMES = 400, 32
Item = TypeVar("Item")


class Thinned(Generic[Item]):
    """Items of steps, at about equal distances: the first, the last, and so many in all that they stay few.

    Args:
        most: Of them.
    """

    def __init__(self, most: int) -> None:
        self._most, self._every = most, 1.0
        self._steps: list[int] = []
        self._items: list[Item] = []

    @property
    def items(self) -> list[Item]:
        """What is kept, oldest first."""
        return list(self._items)

    @property
    def last(self) -> int:
        """The step of the last item, -1 if there is none."""
        return self._steps[-1] if self._steps else -1

    def add(self, step: int, item: Item) -> None:
        """Add an item; it takes the place of the last one where that lies too near to the one before."""
        if len(self._steps) > 1 and self._steps[-1] - self._steps[-2] < self._every:
            self._steps[-1], self._items[-1] = step, item
        else:
            self._steps, self._items = [*self._steps, step], [*self._items, item]
        if len(self._steps) > self._most:
            self._steps = [*self._steps[:-1:2], self._steps[-1]]
            self._items = [*self._items[:-1:2], self._items[-1]]
            self._every = (step - self._steps[0]) / (self._most / 2)


class Film:
    """The curve, {"step": ..., and the losses there}, and messages of `frames.packed`."""

    def __init__(self) -> None:
        self.curve: Thinned[dict[str, Any]] = Thinned(MOST_POINTS)
        self.frames: Thinned[bytes] = Thinned(MOST_FRAMES)
