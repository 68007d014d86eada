"""A long sample as blocks of rows that are each drawn by themselves, by whoever, with seeds of their own."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import require_count, require_seed
from pushforward.tables.given_context import context_table

if TYPE_CHECKING:
    import polars as pl

    from pushforward.tables.laws import Law

ROWS = 65_536  # of a block


class SampleBlocks:
    """Rows drawn from a law. Those of a block depend on the seed and the block's number, not on who draws it.

    Args:
        law: The law.
        num: Number of rows, for each row that is given.
        given: Cells of some columns, as `TableModel.sample` takes them.
        complete: Leave no cell missing.
        temperature: Below 1 gives rows nearer the mode.
        seed: Decides the rows; None for torch's global generator.
        called: What messages call what is given.
    """

    def __init__(
        self,
        law: "Law",
        num: int,
        given: Any = None,
        *,
        complete: bool = False,
        temperature: float = 1.0,
        seed: int | None = None,
        called: str = "given",
    ) -> None:
        self._law, self._num, self._given, self._seed = law, require_count("n", num, 0), given, seed
        self._options = {"complete": complete, "temperature": temperature, "called": called}
        self._known = _rows_given(law, given, called)
        self.rows = self._num * (1 if self._known is None else self._known.height)

    def __len__(self) -> int:
        return max(-(-self.rows // ROWS), 1)

    def weight(self, block: int) -> int:
        """Return how many rows a block has."""
        return min(ROWS, self.rows - block * ROWS)

    def draw(self, block: int) -> "pl.DataFrame":
        """Draw the rows of a block; those of the first are those of a sample that has no other."""
        if len(self) == 1:
            return self._law.sample(self._num, self._given, seed=self._seed, **self._options)  # type: ignore[arg-type]
        seed, rows = None if self._seed is None else seed_at(self._seed, block), self.weight(block)
        if self._known is None:
            return self._law.sample(rows, None, seed=seed, **self._options)  # type: ignore[arg-type]
        known = self._known[(block * ROWS + np.arange(rows)) // self._num]
        return self._law.sample(1, known, seed=seed, **self._options)  # type: ignore[arg-type]


def _rows_given(law: "Law", given: Any, called: str) -> "pl.DataFrame | None":
    """Return the rows of cells that are given, checked as a whole; None if none are."""
    import polars as pl

    if law.answers is not None:
        if (known := law.answers.given(given, called)) is not None:
            law.answers.check_context(known)
        return known
    context = context_table(given, law.schema, called=called)
    return None if context is None else pl.from_numpy(context.values, schema=list(context.columns))


def seed_at(seed: int, block: int, part: int = 0) -> int:
    """Return the seed of what is drawn in a block of rows, or in a part of it: the same whoever draws it.

    The first is the seed itself. Torch's generators read 32 bits: odd multiples keep those of all blocks apart.
    """
    if not block and not part:
        return require_seed(seed)
    start = int(np.random.SeedSequence((require_seed(seed), part)).generate_state(1)[0])
    return (start + block * 2_654_435_761) % 2**32
