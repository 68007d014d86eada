"""The table whose law is known: how far the model's probabilities, samples and imputed cells are from the truth."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.data.mixed_table import COLUMNS, MixedLaw, mixed_table
from pushforward.studies.kit import Record
from pushforward.studies.kit.tables import Columns, Score, largest, shown
from pushforward.studies.tables import row_models
from pushforward.studies.tables.detection import detect, p_value
from pushforward.studies.tables.row_models import SECONDS, RowModel, independent_columns

if TYPE_CHECKING:
    import polars as pl

ROWS, MISSING = 20_000, 0.2
TEST_SEED = 1_000_003  # test rows never share a seed with training rows
# Name -> the columns whose cells are the event, and those that are given; cells of others are not there.
QUESTIONS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "whole rows": (COLUMNS, ()),
    "kind, given all else": (("kind",), ("trips", "paid", "speed", "load")),
    "paid, given kind and trips": (("paid",), ("kind", "trips")),
    "trips, given paid": (("trips",), ("paid",)),
    "load, given speed": (("load",), ("speed",)),
    "speed and load, given kind": (("speed", "load"), ("kind",)),
}
EXCESS: Columns = (("excess (nats)", "excess"), ("its standard error", largest("standard_error")))


def measure(record: Record) -> None:
    """Fit to rows with missing cells; compare probabilities, samples and imputed cells with the law's."""
    record.heading("A table of known law")
    num_rows, num_fresh = record.size((ROWS, 10_000), quick=(300, 200))
    seconds = record.size(SECONDS * record.share, quick=1.0)
    excess: dict[str, list[Score]] = {name: [] for name in ("whole rows, no cell missing", *QUESTIONS)}
    judged = []
    for seed in record.seeds():
        rows, law = mixed_table(num_rows, missing=MISSING, seed=seed)
        fresh = {share: mixed_table(num_fresh, missing=share, seed=TEST_SEED + seed)[0] for share in (0.0, MISSING)}
        model = row_models.fit_ours(rows, seconds, seed)
        excess["whole rows, no cell missing"].append(excess_of(model, law, fresh[0.0]))
        for name, (event, given) in QUESTIONS.items():
            excess[name].append(excess_of(model, law, only(fresh[MISSING], (*event, *given)), given))
        judged.append(
            _judged(model, rows, fresh, mixed_table(num_fresh, missing=0.0, seed=2 * TEST_SEED + seed)[0], seed)
        )
        record.number("known_law.excess", excess, again=seed != record.seed)
        record.number("known_law.samples_and_imputation", judged, again=seed != record.seed)
        record.say(f"  known law, seed {seed}: {excess['whole rows'][-1].excess:.4f} nats")
    record.scores(
        f"{num_rows:,} rows of category, count, amount with an atom at 0 and a correlated pair, a share of "
        f"{MISSING:g} of the cells missing; ours fitted for {seconds:g} s. Mean of log p(true) - log p(model) over "
        f"{num_fresh:,} fresh rows, mean over seeds (lowest to highest); 0 is perfect. Cells are missing in the fresh "
        "rows as in those fitted, but in the first line.",
        "log probability of",
        EXCESS,
        excess,
    )
    _imputation(record, judged)


def excess_of(model: RowModel, law: MixedLaw, rows: "pl.DataFrame", given: Sequence[str] = ()) -> Score:
    """Return the mean of log p(true) - log p(model) over rows, and its standard error; nats."""
    ours = model.log_prob(rows, given=list(given)) if given else model.log_prob(rows)
    difference = law.log_prob(rows, given=given) - np.asarray(ours)
    return Score(excess=difference.mean(), standard_error=difference.std(ddof=1) / math.sqrt(len(difference)))


def only(rows: "pl.DataFrame", there: Sequence[str]) -> "pl.DataFrame":
    """Return the rows without the cells of all other columns."""
    import polars as pl

    return rows.with_columns(pl.lit(None, rows.schema[name]).alias(name) for name in rows.columns if name not in there)


def filled_independently(rows: "pl.DataFrame", source: "pl.DataFrame", seed: int) -> "pl.DataFrame":
    """Return the rows with cells of other rows where some are missing: what imputation must beat."""
    others = independent_columns(source.drop_nulls(), rows.height, seed)
    return rows.select(rows[name].fill_null(others[name]) for name in rows.columns)


def _judged(model: RowModel, rows: "pl.DataFrame", fresh: dict[float, Any], other: "pl.DataFrame", seed: int) -> Score:
    """Judge samples, and rows whose missing cells were drawn, against complete rows of the law."""
    import polars as pl

    samples = model.sample(other.height, seed=seed)
    real = fresh[MISSING] if sum(samples.null_count().row(0)) else other
    gaps = fresh[MISSING].select(pl.any_horizontal(pl.all().is_null())).to_series()
    holed, whole = fresh[MISSING].filter(gaps), fresh[0.0].filter(gaps)
    filled = {
        "model": model.impute(holed, num=1, seed=seed),
        "law": whole,
        "independent": filled_independently(holed, rows, seed),
    }
    found = detect(real, samples)
    tests = {name: p_value(other, drawn, seed=seed) for name, drawn in filled.items()}
    return Score(c2st=found.score, auc=found.auc, rows=holed.height, tests=tests)


def _imputation(record: Record, judged: Sequence[Score]) -> None:
    names = {"model": "the model", "law": "the law itself", "independent": "other rows, column by column"}
    tests = {key: [one.tests[key] for one in judged] for key in names}
    record.table(
        f"Rows of which cells were missing ({judged[0].rows:,}, first seed), these drawn, against complete rows of the "
        "law: accuracy of trees on a held-out half, and how probable one as high is where the laws are equal; a value "
        "for each seed.",
        ["missing cells drawn by", "accuracy", "p"],
        [
            [names[key], *(", ".join(map(shown, one)) for one in zip(*found, strict=True))]
            for key, found in tests.items()
        ],
    )
    passed = sum(p > 0.05 for _, p in tests["model"])
    record.answer(
        "Are imputed cells draws of the true conditional?",
        f"Trees tell the imputed rows from complete ones in {len(judged) - passed} of {len(judged)} seeds at the 5 % "
        f"level (p {', '.join(shown(p) for _, p in tests['model'])}); cells drawn column by column give p "
        f"{shown(max(p for _, p in tests['independent']))} or less. Samples have a detection score of "
        f"{', '.join(shown(one.c2st) for one in judged)}.",
    )
