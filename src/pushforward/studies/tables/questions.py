"""What a fitted table answers, beside models made for one question: anomalies, missing cells, a column, given rows."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from pushforward.studies.kit import Record
from pushforward.studies.tables import drawn_given, imputation, labelled_tables, outliers, prediction, row_models
from pushforward.studies.tables.features import of_known_categories
from pushforward.studies.tables.labelled_tables import PLANTED
from pushforward.studies.tables.outliers import Anomalies
from pushforward.studies.tables.prediction import Fitted
from pushforward.studies.tables.sources import real_tables, split

if TYPE_CHECKING:
    import polars as pl

TITLE = "What a fitted table answers: anomalies, missing cells, one column, rows given a value"
SOURCE = "what a user asks of a table; beside the model that answers all of it, scikit-learn's for one question each"

WRONG = f"one wrong cell, of another row, in {100 * PLANTED:g} % of training and test rows"
KNOWN_ROWS = 20_000
PREDICTED = {
    "magic04": ("fAlpha", "class"),
    "adult": ("age", "income"),
    "protein": ("x1", "x9"),
    "mixed": ("load", "kind"),
}
GIVEN = {
    "magic04": ({"class": "h"},),
    "adult": ({"education": "Masters", "sex": "Female"}, {"hours-per-week": 60}),
    "mixed": ({"kind": "car"},),
}


def run(record: Record) -> None:
    """Measure the answers to four kinds of questions on the tables that can be had."""
    record.text(
        f"Each model is fitted for {row_models.SECONDS:g} s with default options and answers every question asked "
        "of it here; what stands beside it is fitted for one question alone. One seed, but breast cancer "
        "has three."
    )
    tables = real_tables(record)
    outliers.measure(record, _anomalies(record, tables))
    imputation.measure(record, _to_impute(tables))
    fitted = {name: _fitted(record, name, rows) for name, rows in tables.items()}
    prediction.measure(record, fitted, PREDICTED)
    drawn_given.measure(record, fitted, GIVEN)


def _anomalies(record: Record, tables: "Mapping[str, pl.DataFrame]") -> dict[str, Anomalies]:
    """Return the labelled tables by name, made when their turn comes."""
    found = {
        name: Anomalies(WRONG, partial(labelled_tables.planted, tables[name]))
        for name in ("adult", "protein")
        if name in tables
    }
    if "magic04" in tables:
        gamma = partial(labelled_tables.gamma_rays, tables["magic04"])
        found["magic04"] = Anomalies("fitted to gamma rays, hadrons are anomalies; the class is no column", gamma)
    known = partial(labelled_tables.of_known_law, record.size(KNOWN_ROWS, quick=400))
    return found | {
        "breast cancer": Anomalies(
            "fitted to benign tumours, malignant ones are anomalies", labelled_tables.breast_cancer, repeated=True
        ),
        "known law": Anomalies(WRONG, known),
        "known law, paid": Anomalies(f"{WRONG}, always in the column paid", partial(known, told=["paid"])),
    }


def _to_impute(tables: "Mapping[str, pl.DataFrame]") -> "dict[str, pl.DataFrame]":
    """Return the tables of which cells are imputed: of the telescope's the real columns, and the census."""
    return {
        name: rows.drop("class") if name == "magic04" else rows for name, rows in tables.items() if name != "protein"
    }


def _fitted(record: Record, name: str, rows: "pl.DataFrame") -> Fitted:
    train, held = split(rows)
    return Fitted(row_models.fit_of(record, name, train, record.seed), train, of_known_categories(held, train))
