"""The study `table-questions`: its figures where the answer is known, and the cells that it plants."""

import numpy as np
import polars as pl
import pytest

from pushforward.data import mixed_table
from pushforward.data.mixed_table import KINDS, SHARES
from pushforward.studies.kit.tables import spread
from pushforward.studies.tables import (
    drawn_given,
    imputation,
    imputers,
    labelled_tables,
    outliers,
    prediction,
)
from pushforward.studies.tables.features import Features, of_known_categories
from pushforward.studies.tables.proper_scores import (
    LEVELS,
    crps_of_draws,
    crps_of_quantiles,
    error_of_share,
    share_inside,
)
from pushforward.studies.tables.regressors import CLASSIFIERS, REGRESSORS


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def rows():
    return mixed_table(600, missing=0.1, seed=1)[0]


# ---- scores ----------------------------------------------------------------------------------------------------------


def test_the_crps_of_draws_is_the_formula_over_all_pairs(random):
    draws, y = random.normal(size=(7, 5)), random.normal(size=5)
    pairs = np.abs(draws[:, None] - draws[None]).mean((0, 1))
    np.testing.assert_allclose(crps_of_draws(draws, y), np.abs(draws - y).mean(0) - pairs / 2)
    np.testing.assert_allclose(crps_of_draws(draws[:1], y), np.abs(draws[0] - y))


def test_the_crps_of_many_draws_is_that_of_their_law(random):
    found = crps_of_draws(random.normal(size=(20_000, 2)), np.array([0.0, 1.5]))
    exact = [2 / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi), 0.98656]  # 2 phi(z) - 1 / sqrt(pi) + z (2 Phi(z) - 1)
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_the_true_quantiles_have_the_least_crps(random):
    y = random.normal(size=20_000)
    true = np.quantile(y, LEVELS)
    best = crps_of_quantiles(np.tile(true, (len(y), 1)), y).mean()
    assert all(crps_of_quantiles(np.tile(true * s + d, (len(y), 1)), y).mean() > best for s, d in [(1.2, 0), (1, 0.1)])
    (one,) = crps_of_quantiles(np.zeros((1, len(LEVELS))), np.array([2.0]))
    assert one == pytest.approx(2 * 2 * LEVELS.mean())


def test_shares_inside_count_the_ends():
    assert share_inside(np.zeros(4), np.ones(4), np.array([0.0, 1.0, 0.5, 1.1])) == 0.75


def test_the_error_of_a_share_counts_both_the_known_and_the_fresh_rows(random):
    known, fresh = 199, 300
    shares = []
    for _ in range(4_000):
        ordered = np.sort(random.random(known))
        above = known - np.searchsorted(ordered, random.random(fresh))
        shares.append((((1 + above) / (1 + known)) <= 0.05).mean())
    mean, error = error_of_share(0.05, known, fresh)
    assert mean == pytest.approx(0.05)
    assert np.mean(shares) == pytest.approx(mean, abs=0.001)
    assert np.std(shares) == pytest.approx(error, rel=0.05)
    assert error_of_share(0.01, 50, fresh) == (0, 0)


def test_the_error_of_an_area_is_the_spread_of_areas(random):
    areas = [
        outliers.quality(
            np.repeat([True, False], [40, 200]), random.exponential(size=240) * np.repeat([3, 1], [40, 200])
        )
        for _ in range(60)
    ]
    mean = np.mean([one.auc for one in areas])
    assert mean == pytest.approx(0.75, abs=0.01)  # of exponentials, 3 / (3 + 1)
    assert np.std([one.auc for one in areas]) == pytest.approx(outliers.error_of_area(mean, 40, 200), rel=0.25)


def test_what_was_not_measured_is_an_empty_cell():
    assert spread([None]) == spread([]) == ""
    assert spread([0.5]) == "0.5"


# ---- planted cells ---------------------------------------------------------------------------------------------------


def test_one_cell_of_a_share_of_the_rows_is_another_rows(rows):
    planted, wrong = labelled_tables.with_wrong_cells(rows, rows.columns, 0.05, 0)
    changed = np.stack([planted[name].ne_missing(rows[name]).to_numpy() for name in rows.columns], 1)
    assert wrong.sum() == 30
    assert (changed.sum(1) == wrong).all()
    assert (changed.any(0)).all()
    assert all(planted[name].is_in(rows[name].implode(), nulls_equal=True).all() for name in rows.columns)
    assert planted.schema == rows.schema


def test_wrong_cells_are_in_the_column_that_is_told_and_in_both_parts():
    labelled = labelled_tables.of_known_law(1_000, 0, told=["paid"])
    clean = labelled_tables.planted(mixed_table(1_000, missing=0.0, seed=0)[0], 0, told=["paid"], share=1e-9)
    for name, part, before in (("train", labelled.train, clean.train), ("test", labelled.test, clean.test)):
        columns = [column for column in part.columns if not part[column].equals(before[column])]
        assert columns == ["paid"], name
    assert (labelled.train.height, len(labelled.anomaly), labelled.anomaly.sum()) == (700, 300, 3)


def test_no_score_tells_planted_cells_better_than_the_exact_likelihood_ratio():
    rows, law = mixed_table(6_000, missing=0.0, seed=3)
    planted, wrong = labelled_tables.with_wrong_cells(rows, rows.columns, 0.1, 0)
    exact = outliers.quality(wrong, labelled_tables.log_ratio(law, planted, rows.columns)).auc
    assert exact > outliers.quality(wrong, -law.log_prob(planted)).auc


def test_the_likelihood_ratio_is_that_of_the_cells_that_are_planted():
    rows, law = mixed_table(50, missing=0.0, seed=3)
    others = rows.columns[1:]
    kinds = [rows.with_columns(kind=pl.lit(kind)) for kind in KINDS]
    given_others = np.exp([law.log_prob(one, given=others) for one in kinds])
    planted = SHARES[:, None] * (1 - given_others)  # another row's kind, which is not the row's own
    ratio = np.exp([labelled_tables.log_ratio(law, one, ["kind"]) for one in kinds])
    np.testing.assert_allclose(ratio * given_others, planted, rtol=1e-6)


def test_one_class_is_fitted_and_others_are_anomalies():
    labelled = labelled_tables.breast_cancer(0)
    assert (labelled.train.height, labelled.test.height, labelled.anomaly.sum()) == (249, 320, 212)
    rows = pl.DataFrame({"x": range(1_000), "class": ["h", "g"] * 500})
    labelled = labelled_tables.gamma_rays(rows, 0)
    assert (labelled.train.columns, labelled.anomaly.sum()) == (["x"], 400)
    assert not set(labelled.train["x"] % 2) - {1}


# ---- features and cells ----------------------------------------------------------------------------------------------


def test_features_are_standardized_numbers_and_categories_one_hot():
    rows = pl.DataFrame({"x": [1.0, 3.0, None, 2.0], "kind": ["a", None, "b", "a"]})
    found = Features(rows)(pl.DataFrame({"x": [None, 2 + 0.5**0.5], "kind": [None, "c"]}))
    np.testing.assert_allclose(found, [[0, 1, 0, 0], [1, 0, 0, 0]], atol=1e-12)


def test_rows_of_categories_that_were_never_seen_are_left_out():
    train = pl.DataFrame({"kind": ["a", None], "x": [1, 2]})
    held = pl.DataFrame({"kind": ["a", "b", None], "x": [1, 2, 9]})
    assert of_known_categories(held, train)["x"].to_list() == [1, 9]


def test_holes_are_a_share_of_the_cells_that_are_there(rows):
    holed, hidden = imputation.with_holes(rows, 0.3, 0)
    assert hidden.mean() == pytest.approx(0.3 * 0.9, abs=0.03)
    for place, name in enumerate(rows.columns):
        assert (holed[name].is_null().to_numpy() == (rows[name].is_null().to_numpy() | hidden[:, place])).all()
    assert holed.schema == rows.schema


@pytest.mark.parametrize("name", imputers.IMPUTERS)
def test_imputers_fill_what_is_missing_and_keep_the_rest(name, rows):
    filled = imputers.IMPUTERS[name](rows, rows[:50], 0)
    assert len(filled) == (imputers.DRAWS if "draws" in name else 1)
    for column in filled[-1].columns:
        there = rows[column][:50].is_not_null()
        before, after = (one.filter(there).to_list() for one in (rows[column][:50], filled[-1][column]))
        assert after == pytest.approx(before) if rows[column].dtype.is_numeric() else after == before
        assert filled[-1][column].null_count() == 0
    if "draws" in name:
        assert not filled[0].equals(filled[1])


def test_imputed_cells_are_judged_by_what_was_there():
    true = pl.DataFrame({"x": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"]})
    hidden = np.array([[True, False], [True, True], [False, True]])
    draws = [pl.DataFrame({"x": [1.0, 2.0 + d, 3.0], "kind": ["a", "b", kind]}) for d, kind in ((2, "b"), (6, "b"))]
    found = imputation.quality(true, hidden, draws, {"x": 2.0})
    assert found.rmse == pytest.approx(np.sqrt(4 / 2))  # the mean draw is off by 4, 2 deviations, in one of two cells
    assert found.crps == pytest.approx((0 + (1 + 3) / 2 - (2 + 2) / 8) / 2)
    assert (found.coverage, found.accuracy) == (0.5, 0.5)
    assert imputation.quality(true, hidden, draws[:1], {"x": 2.0}).coverage is None


def test_the_most_frequent_draw_is_taken():
    draws = np.array([["a", "b"], ["c", "c"], ["c", "b"], ["a", "c"], ["c", "d"]], dtype=object)
    assert imputation.most_frequent(draws).tolist() == ["c", "b"]


# ---- predictions, and the whole --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGRESSORS)
def test_the_intervals_of_regressors_hold_most_values(name, random):
    x = random.normal(size=(800, 1))
    y = x[:, 0] + 0.5 * random.normal(size=800)
    found = prediction.quality(REGRESSORS[name](x[:500], y[:500], x[500:], y[500:], 0), y[500:], 1.0)
    assert found.coverage == pytest.approx(0.9, abs=0.15)
    assert found.below == sorted(found.below)
    if found.nll is not None:
        assert found.nll == pytest.approx(np.log(0.5) + 0.5 * np.log(2 * np.pi) + 0.5, abs=0.1)
    assert (found.crps < 0.4) == (name != "the column alone")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_give_a_probability_to_every_class(name, random):
    x = random.normal(size=(300, 1))
    classes, probability = CLASSIFIERS[name](x, np.where(x[:, 0] > 0, "b", "a"), x, 0)
    assert classes.tolist() == ["a", "b"]
    np.testing.assert_allclose(probability.sum(1), 1)


def test_rows_are_picked_by_several_values():
    rows = pl.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "x"]})
    assert drawn_given.having(rows, {"a": 1, "b": "x"}).rows() == [(1, "x")]
