"""What a user fixes before drawing samples: values of the context columns, once for all samples or row by row."""

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pushforward.errors import InputError
from pushforward.tables.columns import Table, as_text
from pushforward.tables.from_anything import as_table
from pushforward.tables.schema import Schema


def context_table(given: Any, schema: Schema, *, called: str = "given") -> Table | None:
    """Turn what is given into rows of context; None for a model without context.

    Args:
        given: A mapping from each context column to a number, or to a text that is one; or rows of these columns, in
            whatever `as_table` reads, where columns that the model does not know are ignored.
        schema: The model's columns.
        called: What messages call it.

    Raises:
        InputError: If a context column is missing, a modelled or (in a mapping) any other is given, or a value is not a
            finite number.
    """
    context = schema.context
    if not context and given is None:
        return None
    if not context:
        raise InputError(
            f'the model takes no context, and only context can be given (leave {called} out; recipe="auto" takes any'
            " column)"
        )
    example = as_text(f"{name}=0" for name in context)
    if called.startswith("--"):
        example = shlex.quote(example) if '"' in example or " " in example else example
    if given is None:
        raise InputError(f"the model needs context ({called}: {example}, or rows of it)")
    if not isinstance(given, Mapping):
        table = as_table(given, columns=context, source=called)
        there = given.columns if isinstance(given, Table) else table.all_columns
        if table.named:  # columns without names are taken in their order
            _check_known([name for name in there if name in schema.modelled], context, example, called)
        return table
    _check_known(given, context, example, called)
    values = []
    for name in context:
        if name not in given:
            missing = ", ".join(name for name in context if name not in given)
            raise InputError(f"{called}: {missing} is missing (give {example})")
        try:
            values.append(float(given[name]))
        except (TypeError, ValueError) as error:
            raise InputError(f'{called}: "{given[name]}" is not a number (give {example})') from error
        if not math.isfinite(values[-1]):
            raise InputError(f"{called}: {name} must be finite; got {given[name]}")
    return Table(tuple(context), np.array([values]), called)


def _check_known(names: Iterable[str], context: Sequence[str], example: str, called: str) -> None:
    for name in names:
        if name not in context:
            raise InputError(
                f'{called}: "{name}" is no context column of the model (give {example}; recipe="auto" takes any)'
            )
