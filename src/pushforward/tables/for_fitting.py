"""What is to be fitted, out of whatever was handed over: the columns, what each is, and what is left out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.cells import Cells
from pushforward.tables.column_kind import Kind
from pushforward.tables.column_kinds import KEEP, LeftOut, ReadColumn, read_columns, said_of_left_out
from pushforward.tables.columns import Table, names_in, quoted
from pushforward.tables.csv_dialect import NAMES
from pushforward.tables.encoders import TIED, are_atoms
from pushforward.tables.from_anything import as_table, read_cells
from pushforward.tables.in_pieces.sample import Sample, sample_of
from pushforward.tables.numeric_table import numbers_of
from pushforward.tables.problems import TableProblems
from pushforward.tables.row_numbers import without_row_numbers
from pushforward.tables.table_checks import check_rows, fitting_problems
from pushforward.tables.text_kinds import WHOLE


@dataclass(frozen=True, eq=False)
class ForFitting:
    """A table that is to be fitted.

    Attributes:
        source: What messages call it.
        columns: Its columns as they were read, in the table's order.
        left_out: Columns that are not used, and why.
        context: Names of those to condition on.
        notes: What was taken for what where a file left a choice.
        kind: As `Table.kind`.
        missing: Words that stand for missing cells besides the usual ones.
        numbers: The same as numbers, where a flow over real columns is to be fitted; None for mixed columns.
        sample: Of which rows the columns are, where the table is read piece by piece; None where they are all.
        strict: Whether nothing may be left out.
    """

    source: str
    columns: tuple[ReadColumn, ...]
    left_out: tuple[LeftOut, ...]
    context: tuple[str, ...]
    notes: tuple[str, ...]
    kind: str
    missing: tuple[str, ...]
    numbers: Table | None
    sample: Sample | None = None
    strict: bool = False

    @property
    def num_rows(self) -> int:
        """Number of rows, of the sample where there is one."""
        return len(self.columns[0].values)

    @property
    def num_rows_in_all(self) -> int:
        """Number of rows of the whole table, as far as that is known without reading it."""
        return self.num_rows if self.sample is None else self.sample.num_rows


def for_fitting(
    data: Any,
    *,
    context: str | Sequence[str] = (),
    columns: str | Sequence[str] | Mapping[str, str] | None = None,
    drop: str | Sequence[str] = (),
    missing: str | Collection[str] = (),
    recipe: str = "auto",
    strict: bool = False,
    stream: bool | None = None,
) -> ForFitting:
    """Return what is to be fitted; the arguments are those of `TableModel.fit`.

    Raises:
        InputError: If there is no such table or column, a column cannot be of the kind that is asked for, nothing is
            left to fit, or `strict` and something would be left out.
        TableProblems: All that keeps columns from being fitted by a recipe that takes numbers only.
    """
    if isinstance(data, ForFitting):
        return data
    sample = sample_of(data, stream=stream)
    if sample is not None:
        return _of_sample(
            sample, context=context, columns=columns, drop=drop, missing=missing, recipe=recipe, strict=strict
        )
    wanted, kinds = _wanted(columns)
    words = tuple(names_in(missing, ())) if isinstance(missing, str) else tuple(str(word) for word in missing)
    if recipe != "auto":
        if kinds or words:
            raise InputError(f'recipe="{recipe}" takes numbers only: kinds and missing= are for recipe="auto"')
        table = table_of_numbers(data, context=context, columns=wanted, drop=drop)
        return of_numbers(table, context)
    cells = read_cells(data)
    check_rows(cells.frame.height, cells.source)
    given = names_in(context, cells.frame.columns)
    if wanted is not None and not names_in(wanted, cells.frame.columns):
        raise InputError("columns= names no column (leave it out to take all)")
    asked = None if wanted is None else list(dict.fromkeys([*names_in(wanted, cells.frame.columns), *given]))
    notes = cells.notes
    if cells.style is not None:
        notes = (*notes, f"{NAMES[cells.delimiter or ',']} separate the cells, {cells.style.note}")
    read, left_out = read_columns(cells, columns=asked, drop=drop, kinds=kinds, missing=words, keep=given)
    if strict:
        _refuse_left_out(cells, left_out)
    if strict and (doubtful := [one for one in read if one.kind.words]):
        said = (f'"{one.name}" holds {", ".join(map(quoted, one.kind.words))}' for one in doubtful)
        lines = "\n  ".join(said)
        raise InputError(f"{cells.source}: --strict takes no word for missing (name it in --missing)\n  {lines}")
    order = cells.frame.columns if cells.named else [one.name for one in read]
    read = sorted(read, key=lambda one: order.index(one.name))
    modelled = [one for one in read if one.name not in given]
    if not modelled:
        raise InputError(f"{cells.source}: every column is context, none is left to fit (name fewer context columns)")
    numbers = None
    if not kinds and all(_is_real(one) for one in modelled) and all(_is_number(one) for one in read):
        numbers = numbers_of(cells, columns=[one.name for one in read])
    return ForFitting(
        cells.source, tuple(read), tuple(left_out), tuple(given), notes if numbers is None else numbers.notes,
        cells.kind, words, numbers,
    )  # fmt: skip


def _of_sample(sample: Sample, *, columns: Any, context: Any, drop: Any, strict: bool, **options: Any) -> ForFitting:
    """Return what is to be fitted of a table that is read piece by piece, as its sample shows it."""
    cells = sample.cells
    wanted, kinds = _wanted(columns)
    asked = {*names_in(wanted or (), cells.columns), *kinds, *names_in(context, cells.columns)}
    dropped = names_in(drop, cells.columns)
    counters = [name for name in sample.counters if name not in asked and name not in dropped] if cells.named else []
    left_out = tuple(LeftOut(name, f"it counts the rows ({KEEP})") for name in counters)
    if strict:
        _refuse_left_out(cells, left_out)
    found = for_fitting(cells, columns=columns, context=context, drop=[*dropped, *counters], strict=strict, **options)
    others = tuple(LeftOut(one.name, f"{one.why} (in the sample)") for one in found.left_out)
    notes = (*found.notes, sample.note)
    return replace(found, sample=sample, strict=strict, left_out=(*left_out, *others), notes=notes)


def _refuse_left_out(cells: Cells, left_out: Sequence[LeftOut]) -> None:
    """Raise InputError that names all columns that would be left out, if any would."""
    if left_out:
        raise InputError(f"{cells.source}: --strict leaves nothing out\n  " + "\n  ".join(said_of_left_out(left_out)))


def table_of_numbers(
    data: Any,
    *,
    context: str | Sequence[str] = (),
    columns: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
) -> Table:
    """Return columns as numbers, in the order in which they were read; one that counts the rows is left out.

    Raises:
        InputError: If there is no such table or column.
        TableProblems: All that is wrong with the columns; what could not be fitted in those that are readable included.
    """
    if isinstance(data, Table) and columns is None and not drop:
        return data
    wanted = None
    if columns is not None:
        wanted = list(dict.fromkeys([*names_in(columns, ()), *names_in(context, ())]))
    try:
        table = as_table(data, columns=wanted, drop=drop).in_order()
    except TableProblems as found:
        if found.usable is None or len(found.usable.values) < 2:
            raise
        raise found.and_others(fitting_problems(found.usable)) from None
    return table if wanted is not None else without_row_numbers(table, keep=names_in(context, table.columns))


def of_numbers(table: Table, context: str | Sequence[str]) -> ForFitting:
    """Return a table of numbers as what is to be fitted by a flow."""
    cells: Cells = read_cells(table)
    kind = Kind("real", "numbers, as the recipe takes them")
    columns = tuple(ReadColumn(name, kind, cells.frame[name], "Float64") for name in table.columns)
    given = tuple(names_in(context, table.columns))
    return ForFitting(table.source, columns, (), given, table.notes, table.kind, (), table)


def _wanted(columns: Any) -> tuple[Any, dict[str, str]]:
    """Return the columns to take, None for all, and kinds by name: a mapping, or "a,b,zip=category", holds both."""
    if isinstance(columns, Mapping):
        return None, {str(name): str(kind) for name, kind in columns.items()}
    if columns is None:
        return None, {}
    names, kinds = [], {}
    for entry in names_in(columns, ()):
        name, sign, kind = entry.rpartition("=")
        if sign:
            kinds[name.strip()] = kind.strip()
        else:
            names.append(entry)
    return [*names, *kinds] if names or not kinds else None, kinds


def _is_real(column: ReadColumn) -> bool:
    """Whether a column has a density: numbers that seldom repeat, none of them missing."""
    if column.kind.name != "real" or column.kind.form or column.values.null_count():
        return False
    _, counts = np.unique(column.values.to_numpy(), return_counts=True)
    rows = len(column.values)
    return counts[counts > 1].sum() < TIED * rows and not are_atoms(counts).any()


def _is_number(column: ReadColumn) -> bool:
    """Whether a flow can take a column as numbers: codes, too, but nothing with signs around it or missing cells."""
    kind = column.kind
    plain = kind.form == "" and kind.name in ("real", "integer", "boolean")
    codes = (kind.name, kind.form) in (("boolean", "1/0"), ("category", WHOLE))
    return (plain or codes) and column.dtype != "String" and not column.values.null_count()
