"""Numbers under column names: what every reader hands over, and how columns are taken by name."""

import csv
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pushforward.errors import InputError


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of finite numbers under unique column names.

    Attributes:
        columns: The columns' names.
        values: float64, (rows, columns), every cell finite.
        source: Where the rows came from, for messages: a file's name, "data frame" or "array".
        named: False where the source had no names and the columns are called x1, x2, ...
        as_is: Everything that was read, other columns included, as `write_table(like=...)` writes it again: a polars
            frame, or None where it is no more than `values`.
        delimiter: What separates the cells of a CSV file, whose `as_is` is text; None for anything else.
        kind: What was handed over, and `of_kind` makes of other rows: "polars" (of a file, too), "array",
            "tensor", or the name of another library of data frames.
        decimal_comma: Whether the numbers of a CSV file have decimal commas.
        notes: What was taken for what where a file left a choice, one line each.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    source: str
    named: bool = True
    as_is: Any = None
    delimiter: str | None = None
    kind: str = "polars"
    decimal_comma: bool = False
    notes: tuple[str, ...] = ()

    @property
    def all_columns(self) -> tuple[str, ...]:
        """The names of all columns that were read, those left out of `values` included."""
        return self.columns if self.as_is is None else tuple(self.as_is.columns)

    def select(self, columns: str | Sequence[str]) -> "Table":
        """Return the table with these columns only, in this order.

        Args:
            columns: Names, or one string of names separated by commas.

        Raises:
            InputError: If there is no such column, or one is named twice.
        """
        positions = choose(self.columns, columns, source=self.source)
        return replace(self, columns=tuple(self.columns[p] for p in positions), values=self.values[:, positions])

    def in_order(self) -> "Table":
        """Return the table with its columns in the order in which they were read, whatever order they were asked for.

        Columns without names that were given some stay as they are: they have been taken in their order.
        """
        names = [name for name in self.all_columns if name in self.columns]
        return self.select(names) if len(names) == len(self.columns) else self

    def split(self, context: str | Sequence[str]) -> tuple["Table", "Table | None"]:
        """Return the columns to be modelled, in the table's order, and the context columns, None if there are none.

        Neither part keeps `as_is`.

        Args:
            context: Names of the context columns, or one string of names separated by commas ("label,x3"); may be
                empty.

        Raises:
            InputError: If there is no such column, one is named twice, or none is left to be modelled.
        """
        chosen = self.select(context)
        rest = [name for name in self.columns if name not in chosen.columns]
        if not rest:
            raise InputError(
                f"{self.source}: every column is context, none is left to fit (name fewer context columns)"
            )
        modelled, chosen = (replace(part, as_is=None, delimiter=None) for part in (self.select(rest), chosen))
        return modelled, chosen if chosen.columns else None


def choose(there: Sequence[str], wanted: str | Sequence[str], *, source: str, named: bool = True) -> list[int]:
    """Return the positions of the wanted columns.

    Args:
        there: The names there are.
        wanted: Names, or one string of names separated by commas.
        source: Where the columns are, for messages.
        named: False where the names there are made up: then as many columns as are wanted are taken in their order.

    Raises:
        InputError: If there is no such column, or one is wanted twice.
    """
    wanted = names_in(wanted, there)
    if twice := repeated(wanted):
        raise InputError(f'{source}: column "{twice}" is asked for twice (name it once)')
    unknown = [name for name in wanted if name not in there]
    if not unknown:
        return [there.index(name) for name in wanted]
    if not named and len(there) == len(wanted):
        return list(range(len(there)))
    if not named:
        raise InputError(
            f"{source}: has {len(there)} columns without names, wanted are {len(wanted)}: {listing(wanted)} (give the"
            " columns names, or exactly these columns in this order)"
        )
    spellings = {name.lower(): name for name in there}
    nearest = difflib.get_close_matches(unknown[0].lower(), list(spellings), n=1)
    hint = f'; did you mean "{spellings[nearest[0]]}"?' if nearest else ""
    raise InputError(f'{source}: there is no column "{unknown[0]}"{hint} (columns: {listing(there)})')


def which(
    there: Sequence[str],
    columns: str | Sequence[str] | None,
    drop: str | Sequence[str],
    *,
    source: str,
    named: bool = True,
) -> tuple[list[int], tuple[str, ...]]:
    """Return the positions and the names of the columns to take: `columns`, all by default, but for those to drop.

    Raises:
        InputError: If there is no such column, one is named twice, or none is left.
    """
    wanted, dropped = list(there) if columns is None else names_in(columns, there), names_in(drop, there)
    choose(there, dropped, source=source)
    if columns is None:
        wanted = [name for name in wanted if name not in dropped]
    elif both := [name for name in wanted if name in dropped]:
        raise InputError(f"{source}: {listing(both)} cannot be taken and dropped at once (name it once)")
    if dropped and not wanted:
        raise InputError(f"{source}: every column is dropped, none is left to fit (drop fewer)")
    return choose(there, wanted, source=source, named=named), tuple(wanted)


def names_in(wanted: str | Sequence[str], there: Sequence[str]) -> list[str]:
    """Return a list of names as it is, a string cut at its commas unless it is the name of a column there is.

    A name with a comma stands in double quotes among others, as in a CSV file: '"a, b",c'.
    """
    if not isinstance(wanted, str):
        if not isinstance(wanted, Iterable) or not all(isinstance(name, str) for name in wanted):
            raise InputError(f"columns are asked for by name; got {wanted!r} (of an array they are x1, x2, ...)")
        return list(wanted)
    return [wanted] if wanted in there else [name.strip() for name in cells_of(wanted) if name.strip()]


def cells_of(text: str) -> list[str]:
    """Return the parts of a text between its commas, but for commas in double quotes."""
    return next(csv.reader([text], skipinitialspace=True), [])


def as_text(names: Iterable[str]) -> str:
    """Return names as the text that `names_in` takes apart: with commas between, in quotes where a name holds any."""
    return ",".join('"' + name.replace('"', '""') + '"' if set(name) & {",", '"'} else name for name in names)


def numbered(num_columns: int) -> tuple[str, ...]:
    """Return the names of columns that have none: x1, x2, ..."""
    return tuple(f"x{position}" for position in range(1, num_columns + 1))


def listing(names: Sequence[str]) -> str:
    """Return the first ten names in quotes, and how many more there are."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(f'"{name}"' for name in names[:10]) + more


def repeated(names: Sequence[str]) -> str | None:
    """Return the first name that occurs before, or None."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def check_names(names: Sequence[str], *, source: str) -> None:
    """Raise InputError unless there is a column, each column has a name, and no two have the same."""
    if not names:
        raise InputError(f"{source}: there are no columns")
    if "" in names:
        raise InputError(f"{source}: column {list(names).index('') + 1} has no name (name it, or leave the column out)")
    if twice := repeated(names):
        first, second = [position for position, name in enumerate(names, 1) if name == twice][:2]
        raise InputError(f'{source}: columns {first} and {second} are both named "{twice}" (give each its own name)')


def quoted(value: object) -> str:
    """Return a value as one short line in quotes."""
    return '"' + " ".join(str(value).split())[:40] + '"'
