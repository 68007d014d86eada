"""Rows that are unlike the table: their p-values are valid, planted errors are found and told in words."""

import re

import numpy as np
import polars as pl
import pytest

import pushforward as pf
from pushforward.tables.usual import Rarity, Usual, share_above

RNG = np.random.default_rng(0)


def table(n, seed=0):
    """Rooms whose price is told by kind and size: shared 50 to 100, whole 500 to 1000."""
    rng = np.random.default_rng(seed)
    kind, size = rng.choice(["shared", "whole"], n), rng.integers(1, 9, n)
    price = np.where(kind == "shared", 50.0, 500.0) * np.exp(rng.uniform(0, np.log(2), n)) + size
    door = np.where(kind == "shared", "common", "own")
    return pl.DataFrame(
        {"kind": kind, "door": door, "size": size, "price": price.round(2), "noise": rng.normal(size=n)}
    )


def shared(n, seed):
    return table(3 * n, seed).filter(kind="shared").head(n)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return pf.TableModel.fit(
        table(6000), num_steps=200, progress=False, device="cpu", out=tmp_path_factory.mktemp("fit")
    )


def with_price(rows, place, price):
    return rows.with_columns(pl.when(pl.int_range(rows.height) == place).then(price).otherwise("price").alias("price"))


# ---- how rare --------------------------------------------------------------------------------------------------------


def test_a_rarity_is_the_log_of_the_share_that_is_as_large_and_goes_on_beyond_it():
    known = RNG.exponential(3.0, size=20_000)
    rarity = Rarity(known)
    at = np.array([0.5, 2.0, 5.0, 20.0, 200.0])
    np.testing.assert_allclose(rarity(at), at / 3, rtol=0.1)  # of an exponential law; far beyond its values, too
    assert rarity(np.array([np.nan])) == 0
    assert Rarity(np.full(3, np.nan))(np.array([5.0])) == 0


def test_a_tail_that_is_shorter_than_that_of_surprises_counts_as_theirs():
    rarity = Rarity(RNG.uniform(size=5000) * 0.01)
    assert rarity(np.array([3.0]))[0] - rarity(np.array([1.0]))[0] == pytest.approx(2, abs=1e-6)


def test_p_values_of_rows_like_the_known_ones_are_uniform():
    """At every level as many are below as it says, ties included, by all columns or some."""
    surprises = np.column_stack((RNG.exponential(size=4000), RNG.choice([0.1, 0.1, 2.0], 4000)))
    for columns in ([0, 1], [1]):
        shares = []
        for _ in range(200):
            rows = surprises[RNG.permutation(4000)[:220]]
            p = Usual.of(-rows[:100], -rows[100:200]).judge(-rows[200:], columns).p_value
            shares.append([(p <= level).mean() for level in (0.02, 0.1, 0.4)])
        mean, error = np.mean(shares, 0), np.std(shares, 0) / 200**0.5
        assert (mean <= np.array([0.02, 0.1, 0.4]) + 3 * error).all()
        if columns == [0, 1]:
            assert (mean >= np.array([0.02, 0.1, 0.4]) - 0.01 - 3 * error).all()


def test_few_known_rows_of_many_columns_give_no_more_false_alarms_than_the_level():
    """What is rare is learned from other rows than those that p-values compare with: else this is 0.02."""
    shares = []
    for _ in range(400):
        rows = RNG.exponential(size=(298, 30))
        shares.append((Usual.of(-rows[:99], -rows[99:198]).judge(-rows[198:], range(30)).p_value <= 0.01).mean())
    assert np.mean(shares) == pytest.approx(0.01, abs=3 * np.std(shares) / 20)


def test_the_least_p_value_is_that_of_a_row_rarer_than_all():
    usual = Usual.of(*(-RNG.exponential(size=(99, 2)) for _ in range(2)))
    assert usual.judge(np.array([[-50.0, -50.0]]), [0, 1]).p_value.tolist() == [0.01]
    assert share_above(np.array([1.0, 2.0, 3.0]), np.array([3.0])) == 0.5
    above = usual.threshold(0.05)
    scores = usual.judge(-usual.compared, [0, 1])
    np.testing.assert_array_equal(scores.p_value <= 0.05, scores.score > above)


# ---- what a user is told ---------------------------------------------------------------------------------------------


def test_false_alarms_are_as_many_as_the_level_says(model):
    found = model.anomalies(table(4000, seed=1), level=0.05)
    held_out = 600
    error = (0.05 * 0.95 * (1 / 4000 + 1 / held_out)) ** 0.5
    assert found["anomaly"].mean() == pytest.approx(0.05, abs=3 * error)


def test_a_planted_error_is_found_in_its_column_and_told_in_words(model):
    rows = with_price(shared(50, seed=2), 7, 700.0)
    found = model.anomalies(rows)
    assert found.columns == ["log_prob", "score", "p_value", "anomaly", "column", "why"]
    assert found["score"].arg_max() == 7
    assert found["anomaly"][7]
    assert found["column"][7] == "price"
    told = re.fullmatch(
        r"price: 700 where ([\d.]+) to ([\d.]+) is usual given (kind=shared|door=common)( and .*)?", found["why"][7]
    )
    assert told
    low, high = map(float, told.groups()[:2])
    assert 40 < low < 75
    assert 85 < high < 130
    assert (found["why"].is_null() == ~found["anomaly"]).all()
    np.testing.assert_array_equal(found["log_prob"].to_numpy(), model.log_prob(rows))


def test_a_category_is_told_with_its_probability(model):
    rows = pl.DataFrame({"kind": ["shared"], "door": ["own"], "size": [3], "price": [900.0], "noise": [0.0]})
    found = model.anomalies(rows, columns="kind")
    assert found["column"].to_list() == ["kind"]
    assert re.fullmatch(
        r"kind: shared \(1 in [\d,]+\) where whole is usual given (price=900|door=own).*", found["why"][0]
    )


def test_only_the_columns_that_are_named_are_to_blame(model):
    rows = with_price(table(50, seed=3), 4, 5000.0)
    assert model.anomalies(rows, columns=["price"])["anomaly"][4]
    assert not model.anomalies(rows, columns=["noise"])["anomaly"][4]
    assert set(model.anomalies(rows, columns=["noise", "size"])["column"]) <= {"noise", "size"}
    with pytest.raises(pf.InputError, match='no column "colour"'):
        model.anomalies(rows, columns=["colour"])
    with pytest.raises(pf.InputError, match="names none"):
        model.anomalies(rows, columns=[])


def test_missing_cells_and_unseen_categories_are_judged(model):
    rows = table(20, seed=4).with_columns(
        pl.when(pl.int_range(20) == 3).then(pl.lit("tent")).otherwise("kind").alias("kind"),
        price=pl.when(pl.int_range(20) < 2).then(None).otherwise("price"),
    )
    found = model.anomalies(rows)
    assert found["score"].is_finite().all()
    assert found["column"][3] == "kind"
    assert found["anomaly"][3]
    assert "tent" in found["why"][3]


def test_a_file_keeps_what_is_usual_and_another_table_may_stand_for_it(model, tmp_path):
    rows = with_price(table(200, seed=5), 4, 5000.0)
    model.save(tmp_path / "m.safetensors")
    again = pf.TableModel.load(tmp_path / "m.safetensors")
    assert again.anomalies(rows).equals(model.anomalies(rows))
    again.law.answers.usual = None  # as in a file of version 0.1
    with pytest.raises(pf.InputError, match="reference"):
        again.anomalies(rows)
    other = again.anomalies(rows, reference=table(198, seed=6))  # half of them tell what is rare
    assert other["p_value"].min() == pytest.approx(0.01)
    with pytest.raises(pf.InputError, match="too few rows"):
        again.anomalies(rows, reference=rows.clear())


@pytest.mark.parametrize("part", [[[1.0]], [["a", 1, 2, 3, 4]], 3, [[1, 2, 3, 4, float("inf")]], []])
def test_a_strange_file_is_refused(model, part):
    from pushforward.tables.answers import Answers

    answers = model.law.answers
    with pytest.raises(pf.InputError, match="held-out rows is damaged"):
        Answers.of_file(
            answers.questions, answers.to_store() | {"usual": answers.usual.to_dict() | {"learned": part}}, {}
        )


def test_anomalies_of_real_columns_and_of_arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2)) @ np.array([[1.0, 0.9], [0.0, 0.3]])
    model = pf.TableModel.fit(x, num_steps=150, progress=False, device="cpu")
    found = model.anomalies(np.array([[0.0, 0.0], [2.0, -2.0]]))
    assert found["anomaly"].to_list() == [False, True]
    assert " is usual given x" in found["why"][1]
    alone = pf.TableModel.fit(x, num_steps=5, progress=False, recipe="flow", device="cpu")
    with pytest.raises(pf.InputError, match="answers no questions"):
        alone.anomalies(x)


def test_dates_and_context_are_told_as_they_stand():
    rng = np.random.default_rng(0)
    day = rng.integers(0, 200, 3000)
    rows = pl.DataFrame({"year": rng.integers(2000, 2003, 3000), "t": rng.normal(size=3000)}).with_columns(
        day=(pl.lit("2020-01-01").str.to_date() + pl.duration(days=pl.Series(day))).dt.strftime("%d.%m.%Y"),
        label=pl.Series(np.where(day < 100, "early", "late")),
    )
    model = pf.TableModel.fit(rows, context="label", num_steps=80, progress=False, device="cpu")
    odd = rows.head(1).with_columns(day=pl.lit("18.07.2020"), label=pl.lit("early"))
    why = model.anomalies(odd, columns="day")["why"][0]
    assert re.fullmatch(r"day: 18\.07\.2020 where \d\d\.\d\d\.2020 to \d\d\.\d\d\.2020 is usual.*", why)
    with pytest.raises(pf.InputError, match="context"):
        model.anomalies(odd, columns="label")


def test_cells_that_were_never_together_are_told(model):
    with pytest.warns(UserWarning, match=r"kind=shared, price=950.0: less probable than in any of 1,000 rows drawn"):
        model.sample(5, given={"kind": "shared", "price": 950.0}, seed=0)
    model.sample(5, given={"kind": "shared"}, seed=0)


# ---- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.save("m.safetensors")
    rows = with_price(shared(40, seed=2), 7, 700.0)
    rows.with_columns(
        note=pl.lit("as it is"), size=pl.when(pl.int_range(40) < 5).then(pl.lit("n/a")).otherwise(pl.col("size"))
    ).write_csv("t.csv")
    return tmp_path


def command(*words):
    from pushforward.__main__ import main

    return main(list(words))


def test_the_command_writes_every_row_and_prints_the_rarest(files, capsys):
    assert command("anomalies", "m.safetensors", "t.csv") == 0
    printed = capsys.readouterr().out
    assert "row 8 (line 9), p 0.0017: price: 700 where" in printed.splitlines()[2]
    written = pl.read_csv("anomalies.csv")
    assert written.columns[-7:] == ["note", "log_prob", "score", "p_value", "anomaly", "column", "why"]
    assert written.height == 40
    assert command("anomalies", "m.safetensors", "t.csv") == 2  # it exists already


def test_imputed_tables_keep_all_else_as_it_stands(files):
    assert command("impute", "m.safetensors", "t.csv", "--num", "2", "--out", "full.csv") == 0
    before, after = (pl.read_csv(name, infer_schema=False) for name in ("t.csv", "full.csv"))
    assert after.height == 80
    assert after.columns == before.columns
    assert after.drop("size").equals(before[np.repeat(np.arange(40), 2)].drop("size"))
    assert set(after["size"].unique()) <= {str(size) for size in range(1, 9)}
    assert command("impute", "m.safetensors", "t.csv", "--num", "0", "--out", "no.csv") == 2


def test_predictions_stand_beside_the_table(files):
    assert command("predict", "m.safetensors", "t.csv", "--column", "price") == 0
    written = pl.read_csv("predictions.csv")
    assert written.columns[6:] == [f"price_{name}" for name in ("mean", "std", "q5", "q25", "q50", "q75", "q95")]
    assert (written["price_q75"] < 120).all()
    assert command("predict", "m.safetensors", "t.csv", "--column", "kind", "--out", "kinds.parquet") == 0
    assert pl.read_parquet("kinds.parquet").columns[6:] == [
        "kind_predicted", "P(shared)", "P(whole)", "P(another value)",
    ]  # fmt: skip
    assert command("predict", "m.safetensors", "t.csv", "--column", "colour") == 2


def test_a_model_of_one_column_has_no_other_cells_to_name():
    rows = pl.DataFrame({"n": RNG.poisson(3, 2000)})
    model = pf.TableModel.fit(rows, num_steps=30, progress=False, device="cpu")
    assert re.fullmatch(r"n: 40 where \d to \d is usual", model.anomalies(pl.DataFrame({"n": [40]}))["why"][0])


def test_imputed_means_are_those_of_the_law_and_leave_other_cells_alone(model):
    rows = shared(60, seed=7)
    gaps = pl.int_range(60) < 20
    holed = rows.with_columns(
        price=pl.when(gaps).then(None).otherwise("price"), door=pl.when(gaps).then(None).otherwise("door")
    )
    filled = model.impute(holed, mean=True)
    law = model.predict(holed.drop("price").head(20), "price")
    assert filled.columns == [*rows.columns, "price_q5", "price_q95"]
    np.testing.assert_allclose(filled["price"][:20], law["mean"], atol=0.005)  # with the decimals of the column
    np.testing.assert_allclose(filled["price_q95"][:20], law["q95"], atol=0.005)
    assert filled["price_q5"][20:].is_null().all()
    assert set(filled["door"][:20]) == {"common"}
    assert filled[20:].select(rows.columns).equals(rows[20:])


def test_a_value_in_a_gap_of_its_law_is_rare_within_what_is_usual():
    rng = np.random.default_rng(0)
    rows = pl.DataFrame(
        {"x": np.where(rng.random(4000) < 0.5, -5.0, 5.0) + 0.1 * rng.normal(size=4000), "k": ["a"] * 4000}
    )
    rows = rows.with_columns(k=pl.Series(rng.choice(["a", "b"], 4000)))
    model = pf.TableModel.fit(rows, num_steps=100, progress=False, device="cpu")
    why = model.anomalies(pl.DataFrame({"x": [0.1], "k": ["a"]}))["why"][0]
    assert re.match(r"x: 0\.1, rare within -5\.\d+ to 5\.\d+", why)


def test_a_level_that_a_type_does_not_have_is_told_as_it_stands():
    rng = np.random.default_rng(0)
    levels = pl.Enum(["a", "b"])
    rows = pl.DataFrame({"k": pl.Series(rng.choice(["a", "b"], 500), dtype=levels), "x": rng.normal(size=500)})
    model = pf.TableModel.fit(rows, num_steps=20, progress=False, device="cpu")
    found = model.anomalies(pl.DataFrame({"k": ["c"], "x": [0.0]}), level=0.1)
    assert found["why"][0].startswith("k: c (1 in")


def test_nothing_is_usual_where_no_row_was_held_out():
    model = pf.TableModel.fit(
        table(300), num_steps=2, test=0, progress=False, device="cpu", notify=lambda warning: None
    )
    with pytest.raises(pf.InputError, match="reference"):
        model.anomalies(table(3))
    assert model.anomalies(table(3), reference=table(40, seed=9)).height == 3


def test_means_are_as_exact_as_their_columns():
    rng = np.random.default_rng(0)
    quarter = pl.date_range(pl.date(1990, 1, 1), pl.date(2004, 10, 1), "3mo", eager=True)
    rows = pl.DataFrame({
        "q": quarter.gather(rng.integers(0, len(quarter), 400)), "hour": rng.integers(0, 24, 400).astype("int32"),
        "x": rng.normal(size=400),
    })  # fmt: skip
    holed = rows.with_columns(pl.when(pl.int_range(400) < 40).then(None).otherwise(pl.col("q", "hour")).name.keep())
    model = pf.TableModel.fit(holed, columns={"hour": "periodic:24"}, num_steps=20, progress=False, device="cpu")
    filled = model.impute(holed, mean=True)
    assert filled["hour"].dtype == pl.Int32
    assert filled["hour"].is_between(0, 23).all()
    for name in ("q", "q_q5", "q_q95"):
        assert set(filled[name].drop_nulls().dt.month()) <= {1, 4, 7, 10}
        assert set(filled[name].drop_nulls().dt.day()) == {1}
    with pytest.raises(pf.InputError, match='"x_q5"'):
        pf.TableModel.fit(rows.with_columns(x_q5=pl.col("x") ** 2), num_steps=2, progress=False, device="cpu").impute(
            rows.with_columns(x_q5=pl.col("x") ** 2), mean=True
        )


def test_cells_of_no_type_are_missing_ones_of_a_boolean_column(model):
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"b": rng.random(200) < 0.5, "x": rng.normal(size=200)})
    small = pf.TableModel.fit(rows, num_steps=2, progress=False, device="cpu")
    assert np.isfinite(small.log_prob(pl.DataFrame({"b": [None, None], "x": [0.0, 1.0]}))).all()


def test_the_command_does_not_append_what_is_there_already(files):
    pl.read_csv("t.csv").with_columns(score=1).write_csv("again.csv")
    assert command("anomalies", "m.safetensors", "again.csv", "--out", "o.csv") == 2
