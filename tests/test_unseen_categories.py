"""Categories that a fitted table never had: "another value", whose probability completes those of the table's own."""

import json

import numpy as np
import polars as pl
import pytest

import pushforward as pf
from pushforward.tables.category_encoder import CategoryEncoder
from pushforward.tables.column_law import law_of_categories
from pushforward.tables.encoders import encoder_of
from pushforward.tables.stored_encoders import encoder_from

RNG = np.random.default_rng(0)
N = 200
ROWS = pl.DataFrame({
    "speed": RNG.normal(size=N),
    "kind": ["tram", "bus", *RNG.choice(["van", "car", "bike"], N - 4), None, None],
    "trips": RNG.poisson(4, N),
    "member": RNG.random(N) < 0.4,
})  # fmt: skip
KINDS = ["bike", "bus", "car", "tram", "van"]
OTHER = 2 / (N - 2)


def fit(**options):
    return pf.TableModel.fit(ROWS, num_steps=5, progress=False, notify=lambda warning: None, **options)


@pytest.fixture(scope="module")
def model():
    return fit()


def of_kind(rows, value):
    return rows.with_columns(pl.lit(value, pl.String).alias("kind"))


@pytest.mark.parametrize(
    ("cells", "other"),
    [
        (["oak"] * 6 + ["elm"] * 2 + ["fir", "yew", None, None], 2 / 10),
        (["oak"] * 6 + ["elm"] * 4 + [None], 0.5 / 10),
        (["oak", "elm", "fir"], 0.5),
    ],
    ids=["two that occur once", "none", "all"],
)
def test_another_value_is_as_probable_as_those_that_occur_once(cells, other):
    encoder = encoder_of("category", pl.Series(cells))
    assert encoder.other == pytest.approx(other)
    assert encoder_from(encoder.to_dict()) == encoder


@pytest.mark.parametrize("given", [None, ["speed", "trips"]])
def test_the_rest_of_its_row_is_that_of_a_row_without_the_cell(model, given):
    found = model.log_prob(of_kind(ROWS, "ship"), given=given)
    np.testing.assert_allclose(found, np.log(OTHER) + model.log_prob(of_kind(ROWS, None), given=given))


def test_a_held_out_row_with_one_leaves_the_mean_finite(model):
    rows = ROWS.head(20).with_columns(pl.Series("kind", ["ship", *["van"] * 19]))
    evaluation = model.evaluate(rows)
    assert evaluation.nll.mean == pytest.approx(-model.log_prob(rows).mean())
    assert sum(evaluation.columns.values()) == pytest.approx(evaluation.nll.mean)
    assert model.evaluate(of_kind(rows, "ship")).columns["kind"] == pytest.approx(-np.log(OTHER))


def test_the_tables_categories_and_another_value_sum_to_one(model):
    rows, others = ROWS.head(8), ["speed", "trips", "member"]
    alone = rows.with_columns(pl.lit(None, ROWS.schema[name]).alias(name) for name in others)
    for some, given in ((alone, None), (rows, others)):
        each = [model.log_prob(of_kind(some, one), given=given) for one in (*KINDS, "any that the table never had")]
        np.testing.assert_allclose(np.exp(each).sum(0), 1, atol=1e-5)


def test_predictions_sum_to_one_with_another_value(model):
    law = model.predict(ROWS.head(5), "kind")
    assert law.columns == ["kind", *(f"P({one})" for one in KINDS), "P(another value)"]
    np.testing.assert_allclose(law.drop("kind").sum_horizontal(), 1, atol=1e-6)
    assert law["P(another value)"].to_list() == [OTHER] * 5
    assert model.predict(ROWS.head(5), "member").columns == ["member", "P(False)", "P(True)"]


def test_the_name_of_another_value_is_no_category_of_the_column():
    encoder = CategoryEncoder("category", ("another value", "elm"), 0.25)
    law = law_of_categories("tree", encoder, np.array([[0.6, 0.4]]))
    expected = {"tree": "another value", "P(another value)": 0.45, "P(elm)": 0.3, "P(yet another value)": 0.25}
    assert law.row(0, named=True) == pytest.approx(expected)


def test_it_is_never_drawn(model):
    assert set(model.sample(300, complete=True, seed=0)["kind"]) <= set(KINDS)
    assert set(model.impute(of_kind(ROWS, None), seed=0)["kind"]) <= set(KINDS)


def test_it_is_refused_where_it_is_given_or_context(model):
    rows, conditional = of_kind(ROWS.head(3), "ship"), fit(context="kind")
    for ask in (
        lambda: model.log_prob(rows, given="kind"),
        lambda: model.predict(rows, "trips"),
        lambda: conditional.log_prob(rows),
        lambda: conditional.evaluate(rows),
    ):
        with pytest.raises(pf.InputError, match='"ship" is no value of "kind" .*it has: bike, bus, car, tram, van'):
            ask()


def test_a_file_from_before_gives_it_no_probability(model, tmp_path):
    schema = json.loads(json.dumps(model.law.schema_to_store()))
    assert schema["cells"]["kind"]["encoder"].pop("other") == OTHER
    pf.save(model.flow, tmp_path / "m.safetensors", schema=schema, summary=model.summary)
    old, seen = pf.TableModel.load(tmp_path / "m.safetensors"), ROWS.head(9)
    assert (old.log_prob(of_kind(seen, "ship")) == -np.inf).all()
    np.testing.assert_allclose(old.log_prob(seen), model.log_prob(seen) - np.log1p(-OTHER))
    assert old.predict(seen, "kind").columns == ["kind", *(f"P({one})" for one in KINDS)]
