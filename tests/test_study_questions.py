"""The study of questions: its figures are what they are called, and its short form runs."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

import pushforward as pf
from pushforward.studies.kit import Record
from pushforward.studies.tables import questions
from pushforward.studies.tables.imputation import with_gaps
from pushforward.studies.tables.labelled_tables import log_ratio, of_known_law, of_one_class, with_wrong_cells
from pushforward.studies.tables.outliers import error_of_area
from pushforward.studies.tables.proper_scores import (
    LEVELS,
    crps_of_draws,
    crps_of_quantiles,
    error_of_share,
    share_inside,
)

RNG = np.random.default_rng(0)


def crps_of_normal(y):
    return y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / np.sqrt(np.pi)


def test_the_crps_of_many_draws_is_that_of_their_law():
    y = np.array([0.0, 0.7, -2.0])
    draws = RNG.normal(size=(20_000, 3))
    np.testing.assert_allclose(crps_of_draws(draws, y), crps_of_normal(y), atol=0.02)
    np.testing.assert_allclose(crps_of_draws(np.ones((1, 3)), y), np.abs(y - 1))


def test_the_crps_of_quantiles_is_least_for_the_true_ones():
    y = RNG.normal(size=20_000)
    true = np.broadcast_to(norm.ppf(LEVELS), (len(y), len(LEVELS)))
    least = crps_of_quantiles(true, y).mean()
    for wrong in (true + 0.3, true * 0.7, true * 1.4):
        assert crps_of_quantiles(wrong, y).mean() > least + 0.01
    assert share_inside(true[:, 0], true[:, -1], y) == pytest.approx(0.9, abs=0.01)


def test_wrong_cells_are_those_of_other_rows_one_a_row():
    rows = pl.DataFrame({"a": RNG.normal(size=1000), "k": RNG.choice(["x", "y"], 1000)})
    found, wrong = with_wrong_cells(rows, ["a", "k"], 0.1, 0)
    changed = np.stack([(found[name] != rows[name]).to_numpy() for name in rows.columns])
    assert wrong.sum() == 100
    np.testing.assert_array_equal(changed.sum(0), wrong.astype(int))
    assert set(found["a"]) <= set(rows["a"])
    only = with_wrong_cells(rows, ["k"], 0.1, 0)[0]
    assert only["a"].equals(rows["a"])


def test_no_score_tells_wrong_cells_better_than_the_ratio_of_the_exact_laws():
    table = of_known_law(20_000, 0)
    ratio = log_ratio(table.law, table.test, table.test.columns)
    best = roc_auc_score(table.anomaly, np.clip(ratio, -1e30, 1e30))
    assert 0.6 < best < 0.95
    assert best > roc_auc_score(table.anomaly, -table.law.log_prob(table.test)) - 0.01


def test_anomalies_of_another_class_are_in_the_test_rows_alone():
    rows = pl.DataFrame({"x": np.arange(100.0)})
    table = of_one_class(rows, np.arange(100) >= 80, 0, most=5)
    assert (table.train["x"] < 80).all()
    assert table.anomaly.sum() == 5
    assert (table.test.filter(table.anomaly)["x"] >= 80).all()


def test_errors_are_the_spread_over_repetitions():
    areas = [
        roc_auc_score(np.r_[np.ones(50), np.zeros(100)], np.r_[RNG.normal(size=50) + 1, RNG.normal(size=100)])
        for _ in range(400)
    ]
    assert error_of_area(np.mean(areas), 50, 100) == pytest.approx(np.std(areas), rel=0.15)
    shares = []
    for _ in range(2000):
        known, fresh = np.sort(RNG.random(199)), RNG.random(100)
        shares.append((((1 + 199 - np.searchsorted(known, fresh)) / 200) <= 0.1).mean())
    mean, deviation = error_of_share(0.1, 199, 100)
    assert np.mean(shares) == pytest.approx(mean, abs=3 * np.std(shares) / 2000**0.5)
    assert np.std(shares) == pytest.approx(deviation, rel=0.1)


def test_gaps_are_as_many_as_they_are_to_be():
    rows = with_gaps(pf.data.mixed_table(2000, missing=0.0)[0], 0.3, 1)
    assert sum(rows.null_count().row(0)) / (2000 * rows.width) == pytest.approx(0.3, abs=0.02)


@pytest.mark.filterwarnings("ignore")
def test_the_short_form_runs_and_has_every_figure(tmp_path):
    record = Record("table-questions", questions.TITLE, questions.SOURCE, tmp_path, quick=True)
    questions.run(record)
    assert set(record.numbers) == {"anomalies", "imputation", "prediction"}
    assert set(record.numbers["anomalies"]) == {"known law", "known law, paid"}
    ours = record.numbers["imputation"]["mixed"]
    assert {"ours", "median", "KNNImputer", "IterativeImputer"} == set(next(iter(ours.values())))
    assert set(record.numbers["prediction"]["mixed"]) == {"ours", "linear quantiles", "boosted quantiles"}
