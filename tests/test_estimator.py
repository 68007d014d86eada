"""The estimators in scikit-learn's hands: its own checks, and what its users do."""

import io

import joblib
import numpy as np
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

import pushforward as pf
from pushforward.rows import place_law

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
FRAME = pl.DataFrame({"kind": RNG.choice(["oak", "elm"], 300), "height": RNG.lognormal(2, 0.3, 300)})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [pf.FlowDensity, pf.FlowOutlierDetector])
def test_scikit_learns_own_checks_pass(kind, monkeypatch):
    monkeypatch.setattr(place_law, "HALVINGS", 8)  # they compare a detector with itself, however near its quantiles are
    results = check_estimator(kind(num_steps=2, random_state=0), on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert not failed
    assert len(results) > 40


def density(**options):
    return pf.FlowDensity(**({"num_steps": 100, "random_state": 0} | options))


def test_a_density_scores_and_draws_like_the_table_model_inside():
    fitted = density().fit(X)
    np.testing.assert_array_equal(fitted.score_samples(X), fitted.model_.log_prob(X))
    assert fitted.score(X) == pytest.approx(fitted.score_samples(X).mean())
    assert fitted.score(X, sample_weight=np.r_[1, np.zeros(399)]) == pytest.approx(fitted.score_samples(X[:1])[0])
    assert -3.5 < fitted.score(X) < -1.9
    drawn = fitted.sample(5, random_state=1)
    assert drawn.shape == (5, 2)
    np.testing.assert_array_equal(drawn, fitted.sample(5, random_state=1))


def test_frames_of_any_columns_keep_their_names():
    fitted = density(num_steps=20).fit(FRAME)
    assert fitted.feature_names_in_.tolist() == ["kind", "height"]
    assert fitted.sample(4, random_state=0).schema == FRAME.schema
    assert fitted.score_samples(FRAME).shape == (300,)
    with pytest.raises(ValueError, match="feature names"):
        fitted.score_samples(FRAME.rename({"kind": "tree"}))


@pytest.mark.parametrize("fitted", [density(num_steps=5), pf.FlowOutlierDetector(num_steps=5, random_state=0)])
def test_a_pickle_holds_a_safe_file_and_scores_the_same(fitted):
    fitted.fit(X)
    file = io.BytesIO()
    joblib.dump(fitted, file)
    assert b"format_version" in file.getvalue()
    file.seek(0)
    again = joblib.load(file)
    np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))
    assert again.get_params() == fitted.get_params()
    assert not hasattr(clone(fitted), "model_")


def test_whole_weights_are_repeated_rows_and_others_are_right_in_the_mean():
    weight = RNG.integers(0, 3, 400)
    weighted = density(num_steps=5).fit(X, sample_weight=weight)
    repeated = density(num_steps=5).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_array_equal(weighted.score_samples(X), repeated.score_samples(X))
    assert len(density()._repeated(X, 3000.0 * np.ones(400))) == 400  # up to a common factor
    assert len(density()._repeated(X, np.r_[1.0, np.full(399, 3000.0)])) == pytest.approx(400, abs=1)  # not a million
    assert len(density()._repeated(X, np.full(400, 1e20))) == 400
    half = density(num_steps=5, random_state=3)
    rows = half._repeated(X, np.where(X[:, 0] > 0, 0.9, 0.1))
    assert (rows[:, 0] > 0).mean() == pytest.approx(0.9, abs=0.03)
    assert len(rows) == pytest.approx(400, abs=1)
    with pytest.raises(ValueError, match="weight"):
        half.fit(X, sample_weight=np.where(X[:, 0] > 0, -1, 1))


def test_weights_are_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        one = density(num_steps=2).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_val_score(one, X, params={"sample_weight": np.ones(400)}, cv=2)
    assert np.isfinite(scores).all()


def test_a_detector_finds_planted_outliers_at_the_rate_of_false_alarms():
    detector = pf.FlowOutlierDetector(num_steps=150, random_state=0).fit(np.tile(X, (5, 1)))
    odd = np.array([[2.0, -2.0], [0.0, 5.0], [-2.5, 2.0]])
    assert detector.predict(odd).tolist() == [-1, -1, -1]
    assert (detector.predict(X) == -1).mean() < 0.04
    assert (detector.decision_function(odd) < 0).all()
    share = pf.FlowOutlierDetector(contamination=0.1, num_steps=20, random_state=0).fit(X)
    assert (share.predict(X) == -1).mean() == pytest.approx(0.1, abs=0.01)
    assert pf.FlowOutlierDetector(num_steps=2, random_state=0).fit_predict(X).shape == (400,)


def test_wrong_parameters_are_refused_by_name():
    with pytest.raises(ValueError, match="contamination"):
        pf.FlowOutlierDetector(contamination=0.7).fit(X)
    with pytest.raises(ValueError, match="num_steps"):
        density(num_steps=0).fit(X)
    with pytest.raises(ValueError, match="recipe"):
        density(recipe="no").fit(X)
    with pytest.raises(ValueError, match="recipe"):
        pf.FlowOutlierDetector(recipe="flow").fit(X)
    with pytest.raises(ValueError, match="inconsistent|shape"):
        density(num_steps=2).fit(X).score(X, sample_weight=np.ones(3))


def test_frames_with_weights_stay_of_their_library():
    rows = density(num_steps=2).fit(FRAME.to_arrow(), sample_weight=np.arange(300) % 3).sample(2, random_state=0)
    assert type(rows).__module__.startswith("pyarrow")
