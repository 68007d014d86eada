"""The law of a table's rows, a flow or a density of mixed cells: fitted to a table, or found in a model file."""

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pushforward import model_file
from pushforward.data import Density
from pushforward.errors import InputError
from pushforward.flows import Flow
from pushforward.rows import RowDensity
from pushforward.tables.answers import Answers
from pushforward.tables.fit_options import FitOptions
from pushforward.tables.flow_law import FlowLaw
from pushforward.tables.for_fitting import ForFitting
from pushforward.tables.model_folder import model_in
from pushforward.tables.row_fit import RowFit, fit_rows
from pushforward.tables.row_law import RowLaw
from pushforward.tables.table_fit import TableFit, fit_flow

Law: TypeAlias = FlowLaw | RowLaw
Fitted: TypeAlias = TableFit | RowFit


def fitted_law(
    table: ForFitting, *, recipe: str, truth: Density | None, **options: Any
) -> tuple[Law, Fitted, dict[str, Any]]:
    """Return the law fitted to a table, the fit, and what a model file keeps of it: a flow where all columns are real.

    Args:
        table: The table.
        recipe: The recipe asked for.
        truth: The true density, where it is known.
        **options: Those of `FitOptions`.
    """
    checked = FitOptions(**options)
    if table.numbers is not None:
        of_flow = fit_flow(table, checked, recipe=recipe, truth=truth)
        summary = of_flow.summary()
        return FlowLaw(of_flow.flow, of_flow.schema, summary, of_flow.answers), of_flow, summary
    if truth is not None:
        raise InputError("truth= is for a table of real columns (the columns are mixed: leave it out)")
    of_rows = fit_rows(table, checked)
    return of_rows.law, of_rows, of_rows.summary()


def law_in(path: str | os.PathLike[str], types: Mapping[str, Callable[..., Any]] | None) -> tuple[Law, dict[str, Any]]:
    """Return the law in a model file, or in the folder of a fit, and what the file says; `types` as in `pf.load`.

    Raises:
        InputError: If there is no such file, or it is damaged or of another kind.
    """
    file = model_in(path)
    module, stored = model_file.load_with_metadata(file, types, kind=(Flow, RowDensity))  # type: ignore[call-overload]
    stored["summary"] = summary = dict(stored["summary"] or {})
    try:
        return _law_of(module, stored["schema"], summary), stored
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _law_of(module: Flow | RowDensity, schema: Any, summary: Mapping[str, Any]) -> Law:
    if isinstance(module, Flow):
        return FlowLaw.of_file(module, None, schema, summary)
    answers = Answers.of_file(module.questions, schema, summary)
    if isinstance(module.joint, Flow):
        return FlowLaw.of_file(module.joint, answers, schema, summary)
    return RowLaw.of_file(module.joint, answers)
