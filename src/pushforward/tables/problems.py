"""All that keeps the columns of a table from being used, in one error."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.columns import Table, listing, quoted

REMEDY = "fill it in or leave the row out"
MOST_TOLD = 6  # columns with cells that are no numbers, each with its first place


@dataclass(frozen=True)
class Problem:
    """What is wrong with some columns.

    Attributes:
        columns: Their names; without them the others could be used.
        what: What is wrong, and where.
        remedy: What to do about it.
    """

    columns: tuple[str, ...]
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} ({self.remedy})"


class TableProblems(InputError):
    """Columns of a table cannot be used.

    Attributes:
        source: What messages call the table.
        problems: All that was found, at least one.
        usable: The columns without a problem; None where there are none.
    """

    def __init__(self, source: str, problems: Iterable[Problem], usable: Table | None) -> None:
        self.source, self.problems, self.usable = source, tuple(problems), usable
        super().__init__(self._message())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to leave out, each once."""
        return tuple(dict.fromkeys(name for problem in self.problems for name in problem.columns))

    def and_others(self, problems: Iterable[Problem]) -> "TableProblems":
        """Return the error with further problems, those of columns that seemed usable."""
        return TableProblems(self.source, (*self.problems, *problems), self.usable)

    def _message(self) -> str:
        if len(self.problems) == 1:
            return f"{self.source}: {self.problems[0]}"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        return f"{self.source}: {len(self.problems)} problems{lines}"


def text_problem(names: Sequence[str], example: Callable[[str], str], *, kind: str = "text") -> list[Problem]:
    """Return the problem of columns that hold no numbers, if any; `example` says where one of them holds what."""
    if not names:
        return []
    columns, them = ("column {} is", "it") if len(names) == 1 else ("columns {} are", "them")
    what = f"{columns.format(listing(names))} {kind}: {example(names[0])}"
    remedy = f"only numbers can be modelled: leave {them} out, or encode {them} as numbers"
    return [Problem(tuple(names), what, remedy)]


def cell_problems(
    values: np.ndarray,
    columns: Sequence[str],
    finite: np.ndarray,
    *,
    describe: Callable[[int, int], str] | None = None,
    place: Callable[[int], str] = "row {}".format,
) -> list[Problem]:
    """Return a problem for each column with cells that are not finite, the first of them named.

    Args:
        values: (rows, columns), NaN where there was no number.
        columns: The columns' names.
        finite: (rows, columns), which cells are.
        describe: Given row and column counted from 0, says what is wrong there; by default the value is shown.
        place: Given the row counted from 1, says where it is.
    """
    bad = np.flatnonzero(~finite.all(axis=0))
    found = []
    for column in bad[:MOST_TOLD].tolist():
        row = int(np.argmin(finite[:, column]))
        what = describe(row, column) if describe else not_finite(values[row, column])
        others = len(values) - int(finite[:, column].sum()) - 1
        more = f"; {others:,} more {'cell is' if others == 1 else 'cells are'} not usable either" if others else ""
        found.append(Problem((columns[column],), f'column "{columns[column]}", {place(row + 1)}: {what}{more}', REMEDY))
    if left := tuple(columns[column] for column in bad[MOST_TOLD:].tolist()):
        cells = int((~finite[:, bad[MOST_TOLD:]]).sum())
        found.append(Problem(left, f"{cells:,} cells of {listing(left)} are not usable either", REMEDY))
    return found


def check_usable(
    values: np.ndarray,
    columns: Sequence[str],
    *,
    source: str,
    problems: Sequence[Problem] = (),
    describe: Callable[[int, int], str] | None = None,
    place: Callable[[int], str] = "row {}".format,
) -> None:
    """Raise an error unless there are rows and every cell is finite.

    Args:
        values: (rows, columns), NaN where there was no number.
        columns: The columns' names.
        source: Where the rows came from.
        problems: What is known of columns already; their cells are not looked at.
        describe: As for `cell_problems`.
        place: As for `cell_problems`.

    Raises:
        InputError: If there are no rows.
        TableProblems: If a cell is not finite, or `problems` holds any.
    """
    if not len(values):
        raise InputError(f"{source}: there are no rows")
    finite = np.isfinite(values)
    if finite.all() and not problems:
        return
    known = {name for problem in problems for name in problem.columns}
    finite[:, [name in known for name in columns]] = True
    cells = cell_problems(values, columns, finite, describe=describe, place=place)
    lost = known | {name for problem in cells for name in problem.columns}
    whole = [position for position, name in enumerate(columns) if name not in lost]
    usable = Table(tuple(columns[p] for p in whole), values[:, whole], source) if whole else None
    raise TableProblems(source, (*problems, *cells), usable)


def not_finite(value: float) -> str:
    """Say that a value is NaN or infinite."""
    return f"{'NaN' if value != value else value} is not a finite number"


def not_a_number(cell: str, number: float | None) -> str:
    """Say what a text is in place of a finite number; `number` is what it was read as, None where that failed."""
    cell = cell.strip()
    if not cell:
        return "missing value"
    return f"{quoted(cell)} is not a {'number' if number is None else 'finite number'}"
