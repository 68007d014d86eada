"""scikit-learn's search over settings of an estimator, in two processes."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pushforward as pf

X = np.random.default_rng(0).normal(size=(400, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])


def test_a_search_over_settings_in_two_processes_and_a_pipeline():
    steps = make_pipeline(StandardScaler().set_output(transform="polars"), pf.FlowDensity(random_state=0))
    search = GridSearchCV(steps, {"flowdensity__num_steps": [2, 100]}, n_jobs=2, cv=2).fit(X)
    assert search.best_params_ == {"flowdensity__num_steps": 100}
    assert search.best_estimator_[-1].n_features_in_ == 2
    assert search.score(X) == pytest.approx(search.best_estimator_.score_samples(X).mean())
