"""What the report says of samples and single rows: calibration, distances, pairs, missing cells."""

import re

import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest

import pushforward as pf
from pushforward.tables.calibration import integral_transforms
from pushforward.tables.features import Features, mutual_information
from pushforward.tables.findings import findings_of
from pushforward.tables.nearness import nearness

RNG = np.random.default_rng(0)


def table(n=3000, seed=0):
    rows = pf.data.mixed_table(n, missing=0.2, seed=seed)[0]
    return rows.with_columns(day=pl.lit("2020-01-01").str.to_date() + pl.duration(days=pl.col("trips") * 9))


@pytest.fixture(scope="module")
def model():
    return pf.TableModel.fit(table(), num_steps=80, progress=False, device="cpu")


@pytest.fixture(scope="module")
def found(model):
    return findings_of(model.law, model.fitted, model.preview())


def test_integral_transforms_of_a_laws_own_rows_are_uniform(model):
    """Of categories, counts in steps, atoms and densities alike, though the law is far from the table's."""
    law = model.law
    rows = law.answers.encode(law.answers.read(model.sample(4000, seed=1)))
    transforms = integral_transforms(law.joint, law.answers, rows)
    assert list(transforms) == list(model.schema.modelled)
    for name, values in transforms.items():
        assert 0 <= values.min() <= values.max() <= 1 + 1e-6
        assert kstest(values, "uniform").pvalue > 1e-3, name


def test_integral_transforms_see_a_law_that_is_wrong(model):
    law, rows = model.law, model.sample(2000, seed=1)
    wrong = rows.with_columns(speed=pl.col("speed") * 0.5)
    transforms = integral_transforms(law.joint, law.answers, law.answers.encode(law.answers.read(wrong)))
    assert kstest(transforms["speed"], "uniform").pvalue < 1e-6
    assert np.abs(transforms["speed"] - 0.5).mean() < 0.22  # heaped in the middle: the law is too wide for them


def test_samples_that_are_copies_lie_nearer_to_what_trained():
    training, held_out, fresh = (RNG.normal(size=(1000, 3)) for _ in range(3))
    copies = nearness(training + 1e-3 * RNG.normal(size=training.shape), training, held_out)
    assert copies.share > 0.99
    others = nearness(fresh, training, held_out)
    assert others.share == pytest.approx(0.5, abs=3 * others.error)
    assert 0.01 < others.error < 0.05
    assert others.training == pytest.approx(others.between, rel=0.1)


def test_the_error_of_a_share_is_its_spread_by_chance():
    found = []
    for _ in range(100):
        training, held_out, samples = (RNG.normal(size=(200, 2)) for _ in range(3))
        found.append(nearness(samples, training, held_out))
    assert np.std([one.share for one in found]) == pytest.approx(np.mean([one.error for one in found]), rel=0.25)


def test_mutual_information_is_what_two_columns_say_of_one_another():
    a, b = RNG.integers(0, 4, 20_000), RNG.integers(0, 4, 20_000)
    assert mutual_information(a, a) == pytest.approx(np.log(4), abs=0.01)
    assert mutual_information(a, b) == pytest.approx(0, abs=0.002)


def test_features_put_every_kind_into_numbers():
    rows = pl.DataFrame({"k": ["a", "b", None, "a"], "x": [1.0, None, 3.0, 1e9], "t": [True, False, True, True]})
    features = Features({"k": "category", "x": "real", "t": "boolean"}, rows)
    np.testing.assert_array_equal(features.for_trees(rows)[:, 0], [0, 1, np.nan, 0])
    distances = features.for_distances(rows)
    assert np.isfinite(distances).all()
    assert np.abs(distances).max() < 4  # no outlier decides
    assert features.levels("k", rows).tolist() == [1, 2, 0, 1]
    assert features.levels("k", pl.DataFrame({"k": ["new"]})).tolist() == [3]


def test_the_pairs_are_those_that_say_most_of_one_another(found):
    names = [{one.first.name, one.second.name} for one in found.pairs]
    assert names[0] == {"trips", "day"}
    assert {"speed", "load"} in names[:3]
    assert len(names) <= 6
    assert found.pairs[0].data > 1
    assert all(len(one.first.data) == len(one.second.data) for one in found.pairs)


def test_columns_missing_together_have_their_shares(found, model):
    frame = model.fitted.test_frame
    shares = {names: (data, samples) for names, data, samples in found.missing}
    whole = frame.drop_nulls().height / frame.height
    assert shares["none"][0] == pytest.approx(whole)
    assert shares["trips, day"][0] > 0.02
    assert sum(data for data, _ in shares.values()) <= 1 + 1e-9


def test_the_least_probable_rows_are_named_by_their_place_in_the_table(found, model):
    log_prob = model.log_prob(table())
    assert len(found.unusual) == 10
    for one in found.unusual:
        assert one.log_prob == pytest.approx(log_prob[one.row - 1], abs=1e-3)
        said = "where .* is usual|rare within .*|, which is usual"
        assert re.match(rf"(kind|trips|paid|speed|load|day): .*({said})", one.why)
    assert found.unusual[0].log_prob == pytest.approx(log_prob[model.fitted.test_positions].min(), abs=1e-3)
    assert "permutation(3000)" in found.held_out
    order = np.random.default_rng(0).permutation(3000)
    assert set(order[-len(model.fitted.test_positions) :]) == set(model.fitted.test_positions)


def test_samples_of_an_untrained_law_are_told_from_rows(found, model):
    poor = pf.TableModel.fit(table(), num_steps=1, progress=False, device="cpu")
    told = findings_of(poor.law, poor.fitted, poor.preview())
    assert told.accuracy > found.accuracy + 5 * found.accuracy_error
    assert 0.45 < found.accuracy < 0.75


@pytest.mark.parametrize("recipe", ["auto", "flow"])
def test_the_page_of_a_flow_says_the_same(recipe, tmp_path, undrawn):
    x = RNG.normal(size=(300, 8)).cumsum(1)
    model = pf.TableModel.fit(x, num_steps=5, progress=False, recipe=recipe, device="cpu")
    model.report(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    for title in ("Pairs of columns", "Are samples told from rows?", "The least probable held-out rows"):
        assert title in page
    assert ("is usual" in page) == (recipe == "auto")
    assert "no measure of privacy" in page


def test_the_page_of_rows_of_mixed_cells_has_every_part(model, tmp_path):
    model.report(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    for title in ("Missing cells", "Calibration", "Pairs of columns", "no measure of privacy", "Held out: 300 rows"):
        assert title in page


def test_a_table_of_few_rows_has_a_page_that_says_what_was_not_measured(tmp_path):
    rows = table(12).with_columns(pl.lit("x").alias("same"))
    model = pf.TableModel.fit(rows, num_steps=2, progress=False, device="cpu", notify=lambda warning: None)
    model.report(tmp_path / "r.html")
    assert "Not measured: there are too few rows" in (tmp_path / "r.html").read_text()


def test_columns_of_odd_names_and_without_held_out_cells_have_a_page(tmp_path):
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"len": rng.choice(["a", "b"], 300), "times": rng.random(300) < 0.5, "x": rng.normal(size=300)})
    held_out = np.random.default_rng(0).permutation(300)[-30:]
    gone = np.isin(np.arange(300), held_out) | (rng.random(300) < 0.3)
    rows = rows.with_columns(s=pl.when(~pl.Series(gone)).then(pl.col("x") * 2.5 + 1).otherwise(None))
    model = pf.TableModel.fit(rows, num_steps=2, progress=False, device="cpu")
    assert model.fitted.test_frame["s"].null_count() == 30
    model.report(tmp_path / "r.html")
    assert "Missing cells" in (tmp_path / "r.html").read_text()


def test_names_and_categories_with_dollars_are_no_mathematics(tmp_path):
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"$_{": rng.choice(["$^$", "b"], 100), "$x_$": rng.normal(size=100)})
    pf.TableModel.fit(rows, num_steps=2, progress=False, device="cpu").report(tmp_path / "r.html")
    assert "Pairs of columns" in (tmp_path / "r.html").read_text()
