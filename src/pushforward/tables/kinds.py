"""What kind of column cells are, and why: found from the cells, or as the user says."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pushforward.errors import InputError
from pushforward.tables.columns import quoted
from pushforward.tables.missing_cells import numbers_in, without_missing
from pushforward.tables.number_text import NumberStyle, to_numbers
from pushforward.tables.row_numbers import counts_rows
from pushforward.tables.text_kinds import (
    IDENTIFIER,
    as_dates,
    as_numbers,
    as_truths,
    looks_like_prose,
)

if TYPE_CHECKING:
    import polars as pl

MODELLED = ("real", "integer", "category", "boolean", "date", "time", "moment", "duration")
MOST_CATEGORIES = 5_000
FEWEST_ROWS_A_CATEGORY = 3  # on average,
ALWAYS_CATEGORIES = 20  # but for so few words
FEW_WORDS = 5  # different ones among numbers that are taken for missing values
MOST_WORDS = 0.1  # and their share of the cells


@dataclass(frozen=True)
class Kind:
    """What a column was read as.

    Attributes:
        name: One of `MODELLED`, or what is left out: "constant", "identifier", "text", "nested", "empty".
        why: The reason, in a few words.
        form: How a text writes its values: "" plainly, "%d.%m.%Y", "yes/no", "${}", "{}%".
    """

    name: str
    why: str
    form: str = ""


def kind_of(
    cells: "pl.Series",
    *,
    missing: Collection[str] = (),
    style: NumberStyle | None = None,
    asked: str | None = None,
) -> tuple[Kind, "pl.Series"]:
    """Return the kind of a column and its values: null where a cell is missing.

    Args:
        cells: Text, or values of any type; their name is the column's.
        missing: Words, or numbers, that stand for a missing cell besides the usual ones ("NA", "?", "null", "-", ...).
        style: How numbers are written in a text.
        asked: A kind of `MODELLED` that the user wants.

    Raises:
        InputError: If the cells cannot be of the kind that was asked for, or a number is infinite.
    """
    import polars as pl

    if asked is not None and asked not in MODELLED:
        raise InputError(f'column "{cells.name}" cannot be "{asked}" (kinds: {", ".join(MODELLED)})')
    if cells.dtype in (pl.Categorical, pl.Enum):
        cells = cells.cast(pl.String)
    if cells.dtype == pl.String:
        cells = without_missing(cells, [str(word) for word in missing])
        return _asked_of_text(cells, asked, style) if asked else _of_text(cells, style)
    cells = _without_missing_numbers(cells, missing)
    return _asked_of_values(cells, asked) if asked else _of_values(cells)


# ---- values of a type ------------------------------------------------------------------------------------------------


def _without_missing_numbers(cells: "pl.Series", missing: Collection[str]) -> "pl.Series":
    if not cells.dtype.is_numeric():
        return cells
    if cells.dtype.is_float():
        cells = cells.fill_nan(None)
        if cells.is_infinite().any():
            row = int(cells.is_infinite().arg_max() or 0)
            raise InputError(
                f'column "{cells.name}", row {row + 1}: {cells[row]} is not a finite number (correct it, or leave the'
                " column out)"
            )
    for number in numbers_in([str(word) for word in missing]):
        cells = cells.set(cells == number, None)
    return cells


def _of_values(cells: "pl.Series") -> tuple[Kind, "pl.Series"]:
    import polars as pl

    if cells.dtype.is_nested() or cells.dtype in (pl.Object, pl.Binary):
        return Kind("nested", f"its cells are of type {cells.dtype}"), cells
    distinct = cells.drop_nulls().n_unique()
    if not distinct:
        return Kind("empty", "every cell is missing"), cells
    if distinct == 1 and not cells.null_count():
        return Kind("constant", f"every cell is {quoted(cells[0])}"), cells
    if cells.dtype == pl.Boolean:
        return Kind("boolean", "true and false"), cells
    temporal = {pl.Date: "date", pl.Time: "time", pl.Datetime: "moment", pl.Duration: "duration"}
    for dtype, name in temporal.items():
        if cells.dtype == dtype:
            return Kind(name, f"its type, {distinct:,} distinct values"), cells
    return _of_numbers(cells.cast(pl.Float64), distinct, whole=cells.dtype.is_integer())


def _of_numbers(numbers: "pl.Series", distinct: int, *, whole: bool, form: str = "") -> tuple[Kind, "pl.Series"]:
    """Return the kind of finite numbers; `whole`: they were written without decimals."""
    import polars as pl

    filled = numbers.drop_nulls()
    many = f"{distinct:,} distinct value{'s' * (distinct > 1)}"
    if whole and not form and set(filled.unique()) <= {0.0, 1.0}:
        return Kind("boolean", "0 and 1", "1/0"), numbers == 1.0
    if not (whole or bool((filled % 1 == 0).all())) or float(filled.abs().max() or 0) >= 2**53:  # type: ignore[arg-type]
        return Kind("real", many, form), numbers
    values = filled.to_numpy()
    if distinct == len(values) > ALWAYS_CATEGORIES and (
        IDENTIFIER.search(numbers.name) or (not numbers.null_count() and counts_rows(values))
    ):
        return Kind("identifier", f"whole numbers, each once: {_some(numbers.cast(pl.Int64))}"), numbers
    return Kind("integer", f"whole numbers, {many}", form), numbers.cast(pl.Int64)


def _asked_of_values(cells: "pl.Series", asked: str) -> tuple[Kind, "pl.Series"]:
    import polars as pl

    why = "as asked for"
    try:
        if asked in ("real", "integer"):
            numbers = cells.cast(pl.Float64)
            if asked == "integer" and not bool((numbers.drop_nulls() % 1 == 0).all()):
                raise InputError(f'column "{cells.name}" holds numbers with decimals (ask for real)')
            return Kind(asked, why), numbers if asked == "real" else numbers.cast(pl.Int64)
        if asked == "category":
            return Kind(asked, why), cells.cast(pl.String)
        if asked == "boolean":
            if cells.dtype == pl.Boolean:
                return Kind(asked, why), cells
            if set(cells.drop_nulls().unique()) <= {0, 1}:
                return Kind(asked, why, "1/0"), cells == 1
            raise InputError(f'column "{cells.name}" holds more than two values (ask for category)')
        if asked == "date" and cells.dtype.is_numeric():
            return _asked_of_text(cells.cast(pl.Int64).cast(pl.String), asked, None)
        types: dict[str, Any] = {
            "date": pl.Date,
            "time": pl.Time,
            "moment": pl.Datetime("us"),
            "duration": pl.Duration("us"),
        }
        return Kind(asked, why), cells.cast(types[asked])
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f'column "{cells.name}" cannot be read as {asked}: {reason}') from error


# ---- text ------------------------------------------------------------------------------------------------------------


def _of_text(cells: "pl.Series", style: NumberStyle | None) -> tuple[Kind, "pl.Series"]:
    distinct = cells.drop_nulls().unique(maintain_order=True)
    if not len(distinct):
        return Kind("empty", "every cell is missing"), cells
    if len(distinct) == 1 and not cells.null_count():
        return Kind("constant", f"every cell is {quoted(distinct[0])}"), cells
    if truths := as_truths(cells, distinct):
        return Kind("boolean", f"written {truths[1].replace('/', ' and ')}", truths[1]), truths[0]
    if dated := as_dates(cells, distinct):
        name, values, form, other = dated
        doubt = f"; {other} fits as well" if other else ""
        return Kind(name, f"written {form}, {len(distinct):,} distinct values{doubt}", form), values
    if distinct.str.contains(r"^0\d").any() and distinct.str.contains(r"^\d+$").all():
        return _of_words(cells, distinct, what="codes with leading zeros")
    if found := as_numbers(cells, style):
        numbers, form = found
        return _numbers_in_text(cells, numbers, form)
    numbers = to_numbers(cells, style)
    words = cells.filter(numbers.is_null()).drop_nulls()
    few = words.n_unique() <= FEW_WORDS and len(words) <= MOST_WORDS * (len(cells) - cells.null_count())
    if few and numbers.n_unique() > ALWAYS_CATEGORIES:
        kind, values = _numbers_in_text(cells.set(numbers.is_null(), None), numbers, "")
        said = f"{len(words):,} cells such as {quoted(words[0])} are no numbers and count as missing"
        return Kind(kind.name, f"{kind.why}; {said}", kind.form), values
    return _of_words(cells, distinct)


def _numbers_in_text(cells: "pl.Series", numbers: "pl.Series", form: str) -> tuple[Kind, "pl.Series"]:
    if numbers.is_infinite().any():
        row = int(numbers.is_infinite().arg_max() or 0)
        raise InputError(
            f'column "{cells.name}", row {row + 1}: {quoted(cells[row])} is not a finite number (correct it, or leave'
            " the column out)"
        )
    whole = not cells.str.contains(r"[.,]\d*[1-9]|[eE]-").any()
    distinct = numbers.drop_nulls().n_unique()
    if distinct == 1 and not numbers.null_count():
        return Kind("constant", f"every cell is {quoted(cells[0])}"), numbers
    return _of_numbers(numbers.alias(cells.name), distinct, whole=whole, form=form)


def _of_words(cells: "pl.Series", distinct: "pl.Series", what: str = "words") -> tuple[Kind, "pl.Series"]:
    filled, many = len(cells) - cells.null_count(), len(distinct)
    few = many <= ALWAYS_CATEGORIES or many * FEWEST_ROWS_A_CATEGORY <= filled
    if few and many <= MOST_CATEGORIES and not (many == filled > ALWAYS_CATEGORIES):
        return Kind("category", f"{many:,} distinct {what}"), cells
    once = "every value occurs once" if many == filled else f"{many:,} distinct values in {filled:,} cells"
    if looks_like_prose(distinct):
        return Kind("text", f"{once}: {_some(distinct)}"), cells
    return Kind("identifier", f"{once}: {_some(distinct)}"), cells


def _asked_of_text(cells: "pl.Series", asked: str, style: NumberStyle | None) -> tuple[Kind, "pl.Series"]:
    import polars as pl

    if asked == "category":
        return Kind("category", "as asked for"), cells
    distinct = cells.drop_nulls().unique(maintain_order=True)
    if asked == "boolean":
        if truths := as_truths(cells, distinct):
            return Kind("boolean", "as asked for", truths[1]), truths[0]
        if set(distinct) <= {"0", "1"}:
            return Kind("boolean", "as asked for", "1/0"), cells == "1"
    elif asked in ("real", "integer"):
        found = as_numbers(cells, style)
        numbers, form = found or (to_numbers(cells, style), "")
        bad = numbers.is_null() & cells.is_not_null()
        if not bad.any() and not (asked == "integer" and bool((numbers.drop_nulls() % 1 != 0).any())):
            return Kind(asked, "as asked for", form), numbers if asked == "real" else numbers.cast(pl.Int64)
        row = int((bad | (numbers % 1 != 0).fill_null(False)).arg_max() or 0)
        what = "a number" if asked == "real" else "a whole number"
        raise InputError(
            f'column "{cells.name}", row {row + 1}: {quoted(cells[row])} is not {what} (name the word in'
            " missing=, or ask for category)"
        )
    elif (dated := as_dates(cells, distinct, fewest=1)) and dated[0] == asked:
        return Kind(asked, "as asked for", dated[2]), dated[1]
    example = quoted(distinct[0]) if len(distinct) else "nothing"
    raise InputError(f'column "{cells.name}" cannot be read as {asked}: it holds {example} (ask for category)')


def _some(values: "pl.Series") -> str:
    some = [quoted(value) for value in values.drop_nulls().head(3)]
    return ", ".join(some) + (", ..." if len(values) > len(some) else "")
