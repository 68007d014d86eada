"""What kind of column numbers are: counts, codes, truth values in 0 and 1, identifiers, or real numbers."""

from typing import TYPE_CHECKING

from pushforward.tables.column_kind import Kind
from pushforward.tables.columns import quoted
from pushforward.tables.row_numbers import counts_rows
from pushforward.tables.text_kinds import CODES, IDENTIFIER, WHOLE
from pushforward.tables.text_numbers import NumberForm

if TYPE_CHECKING:
    import polars as pl

MOST_CATEGORIES = 5_000
FEWEST_ROWS_A_CATEGORY = 3  # on average,
ALWAYS_CATEGORIES = 20  # but for so few
FEWEST_ROW_NUMBERS = 30  # fewer rows than this may count 0, 1, 2, ... by chance
EXACT = 2**53  # beyond it not every whole number is a float


def of_numbers(cells: "pl.Series", form: str = "") -> tuple[Kind, "pl.Series"]:
    """Return the kind and the values of finite numbers, null where one is missing.

    Whole numbers are codes, a category, where they take two values, or few of them under a name that says so.

    Args:
        cells: Of any numeric type, at least one of them filled.
        form: How a text writes them.
    """
    import polars as pl

    numbers, exact = cells.cast(pl.Float64), cells.drop_nulls()
    filled, distinct = numbers.drop_nulls().to_numpy(), exact.n_unique()
    many = f"{distinct:,} distinct value{'s' * (distinct > 1)}"
    once = distinct == len(filled)
    if not (filled % 1 == 0).all() or (abs(filled).max() >= EXACT and not cells.dtype.is_integer()):
        return Kind("real", many, form), numbers
    if abs(filled).max() >= EXACT:
        if once and distinct > ALWAYS_CATEGORIES:
            return Kind("identifier", f"whole numbers beyond 2^53, each once: {some_of(exact)}"), cells
        if may_be_categories(len(filled), distinct):
            return Kind("category", f"whole numbers beyond 2^53, {many}"), cells.cast(pl.String)
        return Kind("real", f"{many}, beyond 2^53", form), numbers
    whole = numbers.cast(pl.Int64)
    if not form and set(filled) <= {0.0, 1.0}:
        return Kind("boolean", "0 and 1", "1/0"), numbers == 1.0
    named = IDENTIFIER.search(cells.name) is not None
    counted = not numbers.null_count() and counts_rows(filled)
    if once and NumberForm.of(form).is_bare and distinct > 2 and (
        (named and (counted or distinct > ALWAYS_CATEGORIES)) or (counted and distinct >= FEWEST_ROW_NUMBERS)
    ):  # fmt: skip
        return Kind("identifier", f"whole numbers, each once: {some_of(whole)}"), numbers
    if not form and distinct == 2:
        return Kind("category", f"whole numbers, {many}: two codes", WHOLE), as_codes(whole)
    if not form and distinct > 2 and CODES.search(cells.name) and not once and may_be_categories(len(filled), distinct):
        return Kind("category", f"whole numbers, {many}, under a name of codes", WHOLE), as_codes(whole)
    return Kind("integer", f"whole numbers, {many}", form), whole


def may_be_categories(rows: int, distinct: int) -> bool:
    """Whether values repeat often enough to learn how frequent each is."""
    few = distinct <= ALWAYS_CATEGORIES or distinct * FEWEST_ROWS_A_CATEGORY <= rows
    return few and distinct <= MOST_CATEGORIES and not (distinct == rows > ALWAYS_CATEGORIES)


def as_codes(whole: "pl.Series") -> "pl.Series":
    """Return whole numbers as categories, in the order of the numbers."""
    import polars as pl

    levels = whole.drop_nulls().unique().sort().cast(pl.String)
    return whole.cast(pl.String).cast(pl.Enum(levels))


def some_of(values: "pl.Series") -> str:
    """Return the first three values, as examples."""
    some = [quoted(value) for value in values.drop_nulls().head(3)]
    return ", ".join(some) + (", ..." if len(values) > len(some) else "")
