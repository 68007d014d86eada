"""Tables of mixed columns from end to end: fitted, scored, drawn, asked, saved, reported; the command line, too."""

import datetime
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import pushforward as pf
from pushforward.rows.place_law import PlaceLaw
from pushforward.tables.column_law import law_of_numbers
from pushforward.tables.encoders import encoder_of
from pushforward.tables.row_baselines import PartsLaw, fit_row_baselines

RNG = np.random.default_rng(0)
N = 600


def table(n=N):
    """Return a table with a column of each kind."""
    kind = RNG.choice(["van", "car", "bike"], n)
    frame = pl.DataFrame({
        "kind": kind,
        "trips": RNG.poisson(4, n),
        "paid": np.where(RNG.random(n) < 0.3, 0.0, RNG.lognormal(size=n)),
        "speed": RNG.normal(size=n),
        "rating": RNG.normal(size=n).round(1),
        "member": RNG.random(n) < 0.4,
        "day": [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(d)) for d in RNG.integers(0, 90, n)],
        "plate": [f"X{k}" for k in range(n)],
    })  # fmt: skip
    return frame.with_columns(pl.when(pl.Series(RNG.random(n) > 0.2)).then(pl.col("rating")).alias("rating"))


ROWS = table()


def fit(data=ROWS, **options):
    options = {"num_steps": 30, "progress": False, "notify": lambda warning: None} | options
    return pf.TableModel.fit(data, **options)


@pytest.fixture(scope="module")
def model():
    return fit()


def test_each_column_is_what_it_is(model):
    assert {one.name: one.kind for one in model.columns} == {
        "kind": "category", "trips": "integer", "paid": "real", "speed": "real", "rating": "real",
        "member": "boolean", "day": "date",
    }  # fmt: skip
    assert model.summary["left_out"].keys() == {"plate"}
    rating = next(one for one in model.columns if one.name == "rating")
    assert rating.decimals == 1
    assert 0.1 < rating.missing < 0.3


def test_samples_are_rows_of_the_table(model):
    samples = model.sample(500, seed=0)
    assert samples.schema == ROWS.drop("plate").schema
    for name in ("kind", "trips", "paid", "speed", "rating", "member", "day"):
        column, drawn = ROWS[name].drop_nulls(), samples[name].drop_nulls()
        if name in ("kind", "member"):
            assert set(drawn) <= set(column)
        else:
            assert column.min() <= drawn.min()
            assert drawn.max() <= column.max()
    assert ((samples["rating"] * 10).drop_nulls() % 1).abs().max() == pytest.approx(0, abs=1e-6)
    assert 0.1 < (samples["paid"] == 0).mean() < 0.5
    assert 0.05 < samples["rating"].null_count() / 500 < 0.5
    assert model.sample(200, complete=True, seed=0).null_count().sum_horizontal().item() == 0
    assert model.sample(5, seed=3).equals(model.sample(5, seed=3))


def test_cells_that_are_given_stay(model):
    drawn = model.sample(20, given={"kind": "van", "day": datetime.date(2020, 2, 1)}, seed=0)
    assert set(drawn["kind"]) == {"van"}
    assert set(drawn["day"]) == {datetime.date(2020, 2, 1)}
    with pytest.warns(UserWarning, match="trips=99: less probable than in any of 1,000 rows drawn"):
        drawn = model.sample(2, given=pl.DataFrame({"trips": [3, 99]}), seed=0)
    assert drawn["trips"].to_list() == [3, 3, 99, 99]
    with pytest.raises(pf.InputError, match='"bus" is no value of "kind" in the table that was fitted'):
        model.sample(1, given={"kind": "bus"})
    with pytest.raises(pf.InputError, match='there is no column "king"'):
        model.sample(1, given={"king": "van"})


def test_missing_cells_are_marginalized_and_given_ones_are_divided_out(model):
    some = ROWS.head(50)
    assert np.isfinite(model.log_prob(some)).all()
    given = model.log_prob(some, given=["kind", "speed"])
    assert given.shape == (50,)
    every = [one.name for one in model.columns]
    np.testing.assert_allclose(model.log_prob(some, given=every), 0)


def test_densities_are_in_the_units_of_the_table():
    scaled = ROWS.with_columns(pl.col("speed") * 1000)
    change = fit().log_prob(ROWS) - fit(scaled).log_prob(scaled)
    np.testing.assert_allclose(change, np.log(1000), atol=1e-3)


def test_a_step_has_a_probability():
    frame = pl.DataFrame({"k": np.arange(400) % 50, "s": RNG.normal(size=400)})
    model = fit(frame)
    one = model.log_prob(
        pl.DataFrame({"k": range(-200, 400), "s": [None] * 600}, schema={"k": pl.Int64, "s": pl.Float64})
    )
    assert np.exp(one).sum() == pytest.approx(1, abs=1e-3)


def test_imputed_cells_alone_change(model):
    gaps = ROWS.head(40).with_columns(pl.lit(None, dtype=pl.String).alias("kind"))
    filled = model.impute(gaps, num=2, seed=0)
    assert len(filled) == 80
    assert filled.null_count().sum_horizontal().item() == 0
    assert filled["speed"].to_list() == [value for value in gaps["speed"] for _ in range(2)]
    there = gaps["rating"].is_not_null().to_numpy().repeat(2)
    assert filled["rating"].to_numpy()[there].tolist() == gaps["rating"].to_numpy().repeat(2)[there].tolist()


def test_predictions_are_laws(model):
    law = model.predict(ROWS.head(5), "kind")
    assert law.columns == ["kind", "P(bike)", "P(car)", "P(van)", "P(another value)"]
    np.testing.assert_allclose(law.drop("kind").sum_horizontal(), 1, atol=1e-6)
    assert law["P(another value)"].to_list() == [0.5 / N] * 5
    assert model.predict(ROWS.head(5), "member").columns == ["member", "P(False)", "P(True)"]
    law = model.predict(ROWS.head(5).drop("paid"), "paid")
    assert (law["q5"] <= law["q25"]).all()
    assert (law["q75"] <= law["q95"]).all()
    assert law["q5"].to_list() == [0.0] * 5
    draws = model.impute(ROWS.head(1).with_columns(pl.lit(None, dtype=pl.Float64).alias("paid")), num=4000, seed=0)[
        "paid"
    ]
    assert law["mean"][0] == pytest.approx(draws.mean(), abs=4 * draws.std() / 4000**0.5)
    with pytest.raises(pf.InputError, match='there is no column "size"'):
        model.predict(ROWS, "size")


def test_a_model_comes_back_from_its_file(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    again = pf.TableModel.load(tmp_path / "m.safetensors")
    assert again.columns == model.columns
    np.testing.assert_array_equal(again.log_prob(ROWS), model.log_prob(ROWS))
    assert again.sample(10, seed=1).equals(model.sample(10, seed=1))
    with pytest.raises(pf.InputError, match="the model comes from a file, which holds no rows"):
        again.baselines()


@pytest.mark.parametrize(
    "change",
    [
        lambda schema: schema["cells"].pop("kind"),
        lambda schema: schema["cells"]["kind"]["encoder"]["values"].append("bus"),
        lambda schema: schema["cells"]["kind"]["encoder"].update(other=1.0),
        lambda schema: schema["cells"]["kind"].update(encoder=7),
        lambda schema: schema["cells"]["speed"]["encoder"].update(x=[1.0, 0.0], z=[0.0, 1.0]),
        lambda schema: schema.update(context=["kind"]),
    ],
)
def test_a_file_that_says_strange_things_of_its_columns_is_refused(model, tmp_path, change):
    schema = json.loads(json.dumps(model.law.schema_to_store()))
    change(schema)
    pf.save(model.flow, tmp_path / "m.safetensors", schema=schema, summary=model.summary)
    with pytest.raises(pf.InputError, match="m.safetensors"):
        pf.TableModel.load(tmp_path / "m.safetensors")


def test_context_in_any_order_comes_back(tmp_path):
    model = fit(context="day,kind", num_steps=2, out=tmp_path)
    np.testing.assert_array_equal(pf.TableModel.load(tmp_path).log_prob(ROWS), model.log_prob(ROWS))


def test_context_of_any_kind():
    model = fit(context="kind,day")
    drawn = model.sample(3, given={"kind": "van", "day": "2020-01-05"}, seed=0)
    assert set(drawn["kind"]) == {"van"}
    assert np.isfinite(model.log_prob(ROWS)).all()
    with pytest.raises(pf.InputError, match=r"the model needs context \(given: kind=bike,day=2020-0"):
        model.sample(3)
    with pytest.raises(pf.InputError, match="day is missing"):
        model.sample(3, given={"kind": "van"})


def test_held_out_rows_are_measured_beside_simple_laws_on_the_same_rows(model):
    evaluation = model.evaluate()
    assert evaluation.nll.num_rows == 60
    assert sum(evaluation.columns.values()) == pytest.approx(evaluation.nll.mean)
    assert list(model.baselines())[0] == "independent columns"
    assert "nats a row, over the same rows" in model.fitted.verdict
    assert model.verify().ok


def test_a_simple_law_sums_to_one(model):
    encoders = [one.encoder for one in model.law.answers.fitted.values()]
    independent, mixture = fit_row_baselines(
        model.fitted.split.train, model.fitted.split.validation, [one.num_codes for one in encoders],
        [one.is_number for one in encoders], 0,
    )  # fmt: skip
    counts = pl.DataFrame({"trips": range(-30, 60)}, schema={"trips": pl.Int64})
    kinds = pl.DataFrame({"kind": ["bike", "car", "van", "bus"]})
    for law in (independent, mixture):
        assert isinstance(law, PartsLaw)
        for every in (counts, kinds):
            rows = model.law.answers.encoder.encode(every)
            assert np.exp(law.log_prob(rows)).sum() == pytest.approx(1, abs=1e-3)


def test_a_table_of_known_law_is_learned():
    rows, law = pf.data.mixed_table(6000, missing=0.2)
    model = fit(rows, num_steps=200)
    fresh, _ = pf.data.mixed_table(2000, missing=0.2, seed=1)
    excess = law.log_prob(fresh) - model.log_prob(fresh)
    assert excess.mean() < 0.15
    assert excess.mean() > -3 * excess.std() / 2000**0.5
    for given in (["kind"], ["load", "paid"]):
        assert np.mean(law.log_prob(fresh, given=given) - model.log_prob(fresh, given=given)) < 0.2


def test_the_command_line_fits_samples_scores_and_measures_a_mixed_table(run, undrawn):
    text = ROWS.with_columns(
        pl.col("day").dt.to_string("%d.%m.%Y"),
        pl.when("member").then(pl.lit("yes")).otherwise(pl.lit("no")).alias("member"),
    )
    text.write_csv("t.csv", separator=";")
    code, out, err = run("fit", "t.csv", "--steps", 20)
    assert code == 0, err
    assert "day     date: written %d.%m.%Y" in out
    assert 'warning: "plate" is left out: identifier' in err
    samples = pl.read_csv("pushforward-out/samples.csv")
    assert samples["day"].str.contains(r"^\d\d\.\d\d\.2020$").all()
    assert set(samples["member"]) == {"yes", "no"}
    page = Path("pushforward-out/report.html").read_text()
    assert "every value occurs once" in page
    assert "independent columns" in page
    code, _, err = run("sample", "pushforward-out", "--num", 4, "--given", "kind=van,day=05.02.2020", "--out", "s.csv")
    assert code == 0, err
    assert set(pl.read_csv("s.csv")["day"]) == {"05.02.2020"}
    code, _, err = run("sample", "pushforward-out", "--num", 4, "--given", "kind=bus", "--out", "n.csv")
    assert code == 2
    assert '"bus" is no value of "kind"' in err
    assert run("score", "pushforward-out", "t.csv", "--out", "scored.csv")[0] == 0
    assert pl.read_csv("scored.csv", separator=";")["log_prob"].is_finite().all()
    code, out, _ = run("evaluate", "pushforward-out", "t.csv")
    assert code == 0
    assert "of it, trips" in out
    assert run("verify", "pushforward-out")[0] == 0


def test_a_run_that_was_interrupted_goes_on(tmp_path):
    whole = fit(num_steps=20, out=tmp_path / "a")
    again = fit(num_steps=20, out=tmp_path / "a", resume=True)
    np.testing.assert_array_equal(whole.log_prob(ROWS), again.log_prob(ROWS))


def test_what_is_handed_over_is_what_comes_back():
    import pyarrow as pa

    frame = pa.table({"a": ["x", "y"] * 60, "b": RNG.normal(size=120), "c": pa.array(range(120), pa.int16())})
    samples = fit(frame, columns={"c": "integer"}).sample(7, seed=0)
    assert isinstance(samples, pa.Table)
    assert samples.schema.field("c").type == pa.int16()
    assert set(samples["a"].to_pylist()) <= {"x", "y"}
    array = np.column_stack((RNG.integers(3, size=200), RNG.normal(size=200)))
    assert fit(array).sample(7, seed=0).shape == (7, 2)


def test_a_table_of_words_alone_is_fitted_and_comes_back_from_its_file(tmp_path):
    rows = pl.DataFrame({"a": ["x", "y"] * 50, "b": ["u", "v", "w", "v"] * 25})
    one = pf.TableModel.fit(rows, num_steps=3, progress=False, notify=lambda line: None, out=tmp_path)
    again = pf.TableModel.load(tmp_path)
    assert again.sample(20, seed=0).equals(one.sample(20, seed=0))
    np.testing.assert_array_equal(again.log_prob(rows), one.log_prob(rows))


def test_given_the_context_alone_the_joint_answers():
    rows = ROWS.head(100)
    one = pf.TableModel.fit(rows, context="kind", num_steps=3, progress=False, notify=lambda line: None)
    np.testing.assert_array_equal(one.log_prob(rows, given="kind"), one.log_prob(rows))


def test_a_fit_ends_where_held_out_rows_have_long_seen_nothing_better():
    rows = pl.DataFrame({"a": ["x", "y"] * 200, "n": np.random.default_rng(0).normal(size=400).round(3)})
    one = pf.TableModel.fit(rows, num_steps=450, progress=False, notify=lambda line: None)
    assert one.fitted.history.stopped_because == one.fitted.questions.stopped_because == "no improvement"
    assert one.fitted.history.steps < 450


@pytest.mark.parametrize("name", ["low", "high"])
def test_a_law_beyond_the_range_is_predicted_at_the_nearer_end(name):
    encoder = encoder_of("real", pl.Series(np.random.default_rng(0).normal(size=500)))
    end = getattr(encoder.places, name)
    mean = end + (-1.0 if name == "low" else 1.0)
    mixture = torch.tensor([[0.0], [mean], [-7.0]]).expand(2, 3, 1)
    law = law_of_numbers(encoder, np.ones((2, 1)), PlaceLaw(mixture.double(), encoder.places.low, encoder.places.high))
    expected = getattr(encoder, name)
    np.testing.assert_allclose(law.to_numpy(), [[expected, 0, *[expected] * 5]] * 2, atol=1e-6)
