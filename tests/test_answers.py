"""Tables of real columns: a flow for whole rows, and beside it a network that answers whatever else is asked."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import multivariate_normal

import pushforward as pf
from pushforward.rows import RowDensity
from pushforward.tables import row_networks
from pushforward.tables.encoders import NumberEncoder
from pushforward.tables.splitting import split_positions

RNG = np.random.default_rng(0)
NAMES = ["a", "b", "c", "d"]
MEAN = np.array([0.0, 50.0, 0.1, -3000.0])
SCALE = np.array([1.0, 10.0, 0.01, 1000.0])
CORRELATION = np.array([[1, 0.8, -0.3, 0.5], [0.8, 1, 0, 0.6], [-0.3, 0, 1, 0.4], [0.5, 0.6, 0.4, 1]])
COVARIANCE = np.outer(SCALE, SCALE) * CORRELATION


def gaussian(n, seed=0):
    return pl.DataFrame(np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, n), schema=NAMES)


FRESH = gaussian(2000, seed=1)


def exact(rows, column, given):
    """Return mean, (rows,), and standard deviation of a column given others, by their names."""
    o, g = NAMES.index(column), [NAMES.index(name) for name in given]
    slope = np.linalg.solve(COVARIANCE[np.ix_(g, g)], COVARIANCE[g, o])
    mean = MEAN[o] + (rows.select(given).to_numpy() - MEAN[g]) @ slope
    return mean, np.sqrt(COVARIANCE[o, o] - COVARIANCE[o, g] @ slope)


def exact_log_prob(rows, columns, given=()):
    """Return log p(columns | given), (rows,)."""

    def log_prob(names):
        places = [NAMES.index(name) for name in names]
        z = (rows.select(names).to_numpy() - MEAN[places]) / SCALE[places]
        law = multivariate_normal(cov=CORRELATION[np.ix_(places, places)])
        return law.logpdf(z) - np.log(SCALE[places]).sum()

    return log_prob([*columns, *given]) - (log_prob(given) if given else 0.0)


def fit(data, **options):
    options = {"num_steps": 12, "progress": False, "notify": lambda warning: None, "device": "cpu"} | options
    return pf.TableModel.fit(data, **options)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fit(gaussian(4000), num_steps=400, out=tmp_path_factory.mktemp("fit"))


SMALL = gaussian(200).with_columns(n=pl.Series(RNG.integers(5, size=200)), m=pl.Series(RNG.random(200) < 0.5))


@pytest.fixture(scope="module")
def conditional():
    return fit(SMALL.select("m", "a", "n", "b"), context="n,m")


def within(excess, most):
    """Whether a law is worse than the exact one by no more than so many nats a row, and no better than by chance."""
    return -3 * excess.std() / len(excess) ** 0.5 < excess.mean() < most


# ---- against the exact law -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [["a"], ["d", "b"], ["a", "b", "c"]])
def test_log_prob_given_some_columns_is_that_of_the_exact_conditional(model, given):
    others = [name for name in NAMES if name not in given]
    assert within(exact_log_prob(FRESH, others, given) - model.log_prob(FRESH, given=given), 0.15)


def test_a_row_with_missing_cells_has_the_log_prob_of_the_others_and_a_whole_one_that_of_the_flow(model):
    gone = RNG.random(len(FRESH)) < 0.5
    rows = FRESH.with_columns(pl.when(~pl.Series(gone)).then("b").alias("b"))
    found = model.log_prob(rows)
    with torch.no_grad():
        whole = model.flow.log_prob(FRESH.filter(~gone).to_numpy()).double().numpy()
    np.testing.assert_array_equal(found[~gone], whole)
    assert within(exact_log_prob(FRESH, ["a", "c", "d"])[gone] - found[gone], 0.1)


def test_predictions_are_the_exact_conditional_normals(model):
    rows = FRESH.head(250)
    law = model.predict(rows.drop("d"), "d")
    mean, std = exact(rows, "d", ["a", "b", "c"])
    for name, quantile in (("mean", 0.0), ("q5", -1.645), ("q25", -0.674), ("q50", 0.0), ("q95", 1.645)):
        error = (law[name].to_numpy() - mean - quantile * std) / std
        assert np.abs(error.mean()) < 0.1, name
        assert error.std() < 0.3, name
    assert law["std"].mean() == pytest.approx(std, rel=0.1)


def test_imputed_cells_alone_change_and_are_draws_of_the_exact_conditional(model):
    gone = RNG.random(len(FRESH)) < 0.5
    rows = FRESH.with_columns(pl.when(~pl.Series(gone)).then("c").alias("c"))
    filled = model.impute(rows, seed=0)
    assert filled.schema == FRESH.schema
    assert filled.drop("c").equals(FRESH.drop("c"))
    assert filled["c"].to_numpy()[~gone].tolist() == FRESH["c"].to_numpy()[~gone].tolist()
    mean, std = exact(FRESH, "c", ["a", "b", "d"])
    drawn = ((filled["c"].to_numpy() - mean) / std)[gone]
    assert abs(drawn.mean()) < 0.15
    assert drawn.std() == pytest.approx(1, abs=0.15)


def test_cells_that_are_given_stay_and_the_others_are_drawn_given_them(model):
    drawn = model.sample(2000, given={"a": 1.5}, seed=0)
    assert drawn.columns == NAMES
    assert set(drawn["a"]) == {1.5}
    for name in ("b", "c", "d"):
        (mean,), std = exact(drawn.head(1), name, ["a"])
        assert drawn[name].mean() == pytest.approx(mean, abs=0.15 * std)
        assert drawn[name].std() == pytest.approx(std, rel=0.15)
    two = model.sample(2, given=pl.DataFrame({"c": [0.1, 0.11], "a": [0.0, None]}), seed=0)
    assert two["c"].to_list() == [0.1, 0.1, 0.11, 0.11]
    assert two["a"][:2].to_list() == [0.0, 0.0]
    assert two["a"].null_count() == 0


# ---- what the flow answers -------------------------------------------------------------------------------------------


def test_given_the_context_alone_it_is_the_flow_that_answers(conditional):
    rows = SMALL.select("a", "b").to_numpy()
    with torch.no_grad():
        expected = conditional.flow.log_prob(rows, SMALL.select("n", pl.col("m").cast(pl.Int64)).to_numpy())
    np.testing.assert_array_equal(conditional.log_prob(SMALL), expected.double())
    np.testing.assert_array_equal(conditional.log_prob(SMALL, given="m"), expected.double())
    drawn = conditional.sample(3, given={"m": True, "n": 2}, seed=0)
    with torch.no_grad():
        exact = conditional.law._sampler.exact
        same = exact.sample(3, np.array([[2.0, 1.0]]), generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(drawn.select("a", "b").to_numpy(), same[0])


def test_context_comes_back_as_it_was_given_in_the_tables_types(conditional):
    types = SMALL.select("m", "a", "n", "b").schema
    for given in ({"m": True, "n": 2}, pl.DataFrame({"n": [2], "m": [True]}), [[2, 1]], {"m": True, "n": 2, "a": 0.5}):
        drawn = conditional.sample(2, given=given, seed=0)
        assert drawn.schema == types
        assert drawn["n"].to_list() == [2, 2]
        assert drawn["m"].all()
    assert conditional.sample(1, given={"m": False, "n": 2.5}, seed=0)["n"].to_list() == [2.5]  # between whole numbers
    assert conditional.preview().schema == types


def test_missing_context_is_asked_for(conditional):
    rows = SMALL.with_columns(n=pl.when(pl.int_range(200) != 3).then("n"), a=pl.when(pl.int_range(200) != 1).then("a"))
    for ask in (
        lambda: conditional.log_prob(rows),
        lambda: conditional.impute(rows),
        lambda: conditional.predict(rows, "a"),
        lambda: conditional.sample(1, given=rows.select("n", "m")),
    ):
        with pytest.raises(pf.InputError, match='"n" is missing, and the model is one given it') as caught:
            ask()
        assert str(caught.value).startswith("row 4: ")
    with pytest.raises(pf.InputError, match=r"needs context \(given: n=\d,m=False, or rows of it\)"):
        conditional.sample(1)
    with pytest.raises(pf.InputError, match='given: column "m", row 1: 2 is no truth value'):
        conditional.sample(1, given={"n": 1, "m": 2})
    with pytest.raises(pf.InputError, match="given: m is missing"):
        conditional.sample(1, given={"n": 1, "a": 0.0})


@pytest.mark.parametrize("recipe", ["flow", "nice"])
def test_a_flow_alone_refuses_questions_and_says_how_they_are_answered(recipe, tmp_path):
    rows = SMALL.select("a", "b")
    alone = fit(rows, recipe=recipe, out=tmp_path)
    assert not (tmp_path / "questions").exists()
    for ask in (
        lambda: alone.log_prob(rows, given="a"),
        lambda: alone.impute(rows),
        lambda: alone.predict(rows, "a"),
        lambda: alone.sample(1, given={"a": 0.0}),
    ):
        with pytest.raises(pf.InputError, match='recipe="auto"'):
            ask()


def test_what_repeats_has_a_density_all_the_same():
    cells = pl.Series(np.repeat(np.round(RNG.normal(size=100), 1), 10))
    assert NumberEncoder.of("real", cells).grid
    encoder = NumberEncoder.of("real", cells, density=True)
    assert encoder.is_density
    assert encoder.num_codes == 1
    values = gaussian(1600).select("a", "b")
    often = np.isin(np.arange(1600), split_positions(1600, seed=0)[0][:9])  # one more would be an atom
    law = fit(values.with_columns(a=pl.when(~pl.Series(often)).then("a").otherwise(0.5)), num_steps=1).law
    assert isinstance(law.flow, pf.Flow)
    assert all(column.encoder.is_density for column in law.answers.fitted.values())


def test_verify_looks_at_the_laws_that_answer_too(conditional, tmp_path):
    assert "the questions: 4 laws of columns sum to one" in conditional.verify().checked
    conditional.save(tmp_path / "m.safetensors")
    again = pf.TableModel.load(tmp_path / "m.safetensors")
    with torch.no_grad():
        network = again.law.answers.questions.network
        network.last.bias[network.heads.params_of(3)[1]][10:20] = 1e8  # means of the ten logistics
    assert again.verify().problems == ['the questions: the law of "b" has a mass of 1 ± 1.000']


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_model_comes_back_with_all_its_answers(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    again = pf.TableModel.load(tmp_path / "m.safetensors")
    gaps = FRESH.head(20).with_columns(b=None)
    for ask in (
        lambda one: one.log_prob(FRESH),
        lambda one: one.log_prob(gaps),
        lambda one: one.log_prob(FRESH, given="c"),
        lambda one: one.sample(5, seed=0).to_numpy(),
        lambda one: one.sample(5, given={"d": -3000}, seed=0).to_numpy(),
        lambda one: one.impute(gaps, seed=0).to_numpy(),
        lambda one: one.predict(gaps, "b").to_numpy(),
    ):
        np.testing.assert_array_equal(ask(again), ask(model))
    assert (again.columns, again.summary) == (model.columns, model.summary)
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_context_in_any_order_comes_back(conditional, tmp_path):
    conditional.save(tmp_path / "m.safetensors")
    again = pf.TableModel.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.log_prob(SMALL, given="a"), conditional.log_prob(SMALL, given="a"))


def test_the_flow_in_the_file_is_what_pf_load_returns(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    flow = pf.load(tmp_path / "m.safetensors")
    assert isinstance(flow, pf.Flow)
    assert not flow.training
    rows = torch.from_numpy(FRESH.to_numpy())
    assert torch.equal(flow.log_prob(rows), model.flow.log_prob(rows))
    whole = pf.load(tmp_path / "m.safetensors", kind=RowDensity)
    assert isinstance(whole.joint, pf.Flow)
    with pytest.raises(pf.InputError, match=r"holds a RowDensity, not a VAE \(in Python: pf.TableModel.load"):
        pf.load(tmp_path / "m.safetensors", kind=pf.vae.VAE)


def with_an_atom(schema):
    schema["cells"]["a"]["encoder"]["atoms"] = [0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda schema: schema.pop("cells"), "does not say what its columns hold"),
        (lambda schema: schema["cells"].pop("a"), "does not say what its columns hold"),
        (lambda schema: schema["cells"]["a"].update(encoder=7), 'column "a" cannot be read'),
        (with_an_atom, "its columns do not fit its density"),
        (lambda schema: schema["cells"]["a"]["encoder"].update(step=1.0), 'column "a" has no density'),
        (lambda schema: schema.update(context=["n"]), "its columns do not fit"),
    ],
)
def test_a_file_that_says_strange_things_of_its_columns_is_refused(conditional, tmp_path, change, message):
    schema = json.loads(json.dumps(conditional.law.schema_to_store()))
    change(schema)
    pf.save(conditional.law.module, tmp_path / "m.safetensors", schema=schema, summary=conditional.summary)
    with pytest.raises(pf.InputError, match=rf"m\.safetensors: .*{message}"):
        pf.TableModel.load(tmp_path / "m.safetensors")


def test_a_flow_beside_the_answers_of_another_table_is_refused(conditional, tmp_path):
    other = RowDensity(pf.recipes.realnvp(3, num_layers=2), conditional.law.answers.questions)
    pf.save(other, tmp_path / "m.safetensors", schema=conditional.law.schema_to_store())
    with pytest.raises(pf.InputError, match=r"m\.safetensors: its columns do not fit its flow"):
        pf.TableModel.load(tmp_path / "m.safetensors")


# ---- training --------------------------------------------------------------------------------------------------------


def test_a_run_that_was_interrupted_in_its_questions_goes_on(tmp_path, monkeypatch):
    rows = SMALL.select("a", "b")
    fit(gaussian(150).select("c", "d"), out=tmp_path)  # what another fit left there is nothing to go on from
    real = row_networks.fit

    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(row_networks, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(rows, out=tmp_path)
    monkeypatch.setattr(row_networks, "fit", real)
    whole, resumed = fit(rows), fit(rows, out=tmp_path, resume=True)
    again = fit(rows, out=tmp_path, resume=True)
    for one in (resumed, again):
        np.testing.assert_array_equal(one.log_prob(rows), whole.log_prob(rows))
        np.testing.assert_array_equal(one.log_prob(rows, given="a"), whole.log_prob(rows, given="a"))


def test_the_flow_has_most_of_the_time(monkeypatch):
    given = {}
    for module, what in (("table_fit", "flow"), ("row_networks", "questions")):
        real = getattr(pf.tables, module).fit

        def spied(*rest, real=real, what=what, **options):
            given[what] = options["max_seconds"]
            return real(*rest, **options)

        monkeypatch.setattr(f"pushforward.tables.{module}.fit", spied)
    fit(SMALL.select("a", "b"), max_seconds=1.0, num_steps=2)
    assert given == pytest.approx({"flow": 0.9, "questions": 0.1})
    fit(SMALL.select("a", "b"), max_seconds=1.0, num_steps=2, recipe="flow")
    assert given["flow"] == 1.0


# ---- the command line ------------------------------------------------------------------------------------------------


def test_the_command_line_samples_given_cells_and_scores_rows_with_gaps(run, undrawn):
    gaussian(300).write_csv("t.csv", separator=";")
    code, out, err = run("fit", "t.csv", "--steps", 12)
    assert code == 0, err
    assert "this flow" in out
    code, _, err = run("sample", "pushforward-out", "--num", 4, "--given", "a=0.5,d=-2000", "--out", "s.csv")
    assert code == 0, err
    drawn = pl.read_csv("s.csv")
    assert set(drawn["a"]) == {0.5}
    assert set(drawn["d"]) == {-2000.0}
    gaussian(20).with_columns(b=pl.when(pl.col("a") > 0).then("b")).write_csv("gaps.csv")
    assert run("score", "pushforward-out", "gaps.csv", "--out", "scored.csv")[0] == 0
    assert pl.read_csv("scored.csv")["log_prob"].is_finite().all()
    code, _, err = run("evaluate", "pushforward-out", "gaps.csv")
    assert code == 2
    assert 'column "b"' in err
    assert run("verify", "pushforward-out")[0] == 0


@pytest.mark.parametrize("context", ["", "m"])
def test_samples_have_a_columns_range_and_decimals(context):
    rows = SMALL.select(
        "m", pl.Series("amount", np.round(RNG.exponential(50, 200), 2)), pl.Series("b", RNG.random(200))
    )
    one = fit(rows if context else rows.drop("m"), context=context, num_steps=3)
    drawn = one.sample(50 if context else 5_000, given=rows.select("m") if context else None, seed=0)
    assert drawn["amount"].is_between(rows["amount"].min(), rows["amount"].max()).all()
    assert drawn["b"].is_between(rows["b"].min(), rows["b"].max()).all()
    assert np.abs(drawn["amount"] - drawn["amount"].round(2)).max() < 1e-9
    at_an_end = drawn["b"].is_in([rows["b"].min(), rows["b"].max()]).mean()
    assert at_an_end < 0.01  # drawn again, not moved there
    if context:
        assert drawn["m"].to_list() == np.repeat(rows["m"].to_numpy(), 50).tolist()


def test_a_category_that_the_context_never_had_is_refused_by_name():
    rows = SMALL.select("a", "b").with_columns(sex=pl.Series(RNG.integers(1, 3, 200)))
    one = fit(rows, context="sex", num_steps=3)
    assert np.isfinite(one.log_prob(rows)).all()
    others = rows.with_columns(sex=pl.lit(7))
    for ask in (
        lambda: one.log_prob(others),
        lambda: one.sample(1, given={"sex": 7}),
        lambda: one.sample(1, given={"sex": "male"}),
        lambda: one.evaluate(others),
    ):
        with pytest.raises(pf.InputError, match='is no value of "sex" in the table that was fitted'):
            ask()
