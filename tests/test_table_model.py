"""A table and its flow as one object: what goes in and comes out, what a file keeps, what is done only when asked."""

import importlib.util

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

import pushforward as pf
from pushforward.errors import InputError
from pushforward.storage import json_and_tensors
from pushforward.tables import Table, built_in_data, table_fit

RNG = np.random.default_rng(0)
ROWS = pl.DataFrame(
    {"y": RNG.normal(size=200), "label": RNG.integers(2, size=200), "income": 1000 * RNG.normal(size=200)}
)


def fit(data, recipe="nice", max_seconds=0.2, notify=lambda warning: None, **options):
    return pf.TableModel.fit(data, recipe=recipe, max_seconds=max_seconds, progress=False, notify=notify, **options)


@pytest.fixture(scope="module")
def plain():
    return fit(ROWS.select("y", "income"))


@pytest.fixture(scope="module")
def conditional():
    return fit(ROWS, context="label")


def says(message):
    return pytest.raises(InputError, match=f"^{message}")


# ---- what goes in and what comes out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["csv", "parquet", "npy", "lazy", "pyarrow", "array", "tensor", "lists", "table", "wide"]
)
def test_every_kind_of_input_has_the_same_log_prob(plain, tmp_path, kind):
    frame = ROWS.select("y", "income")
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    np.save(tmp_path / "t.npy", frame.to_numpy())
    data = {
        "csv": tmp_path / "t.csv",
        "parquet": str(tmp_path / "t.parquet"),
        "npy": tmp_path / "t.npy",
        "lazy": frame.lazy(),
        "pyarrow": frame.to_arrow(),
        "array": frame.to_numpy(),
        "tensor": torch.from_numpy(frame.to_numpy().copy()),
        "lists": frame.to_numpy().tolist(),
        "table": Table(("y", "income"), frame.to_numpy(), "rows"),
        "wide": ROWS.select("income", pl.lit("oak").alias("tree"), "y"),
    }[kind]
    expected = plain.log_prob(frame)
    assert expected.shape == (200,)
    assert expected.dtype == np.float64
    np.testing.assert_array_equal(plain.log_prob(data), expected)


def test_log_prob_is_the_flows_given_the_context_columns(conditional):
    x, label = ROWS.select("y", "income").to_numpy(), ROWS.select("label").to_numpy().astype(float)
    with torch.no_grad():
        expected = conditional.flow.log_prob(x, label)
    np.testing.assert_array_equal(conditional.log_prob(ROWS.select("label", "income", "y")), expected)


def test_samples_are_of_the_kind_that_was_fitted(tmp_path):
    frame = ROWS.select("y", "income")
    frame.write_csv(tmp_path / "t.csv")
    for data, kind in (
        (frame, pl.DataFrame), (frame.lazy(), pl.DataFrame), (frame.to_arrow(), pa.Table),
        (tmp_path / "t.csv", pl.DataFrame), (frame.to_numpy(), np.ndarray), (frame.to_numpy().tolist(), np.ndarray),
        (torch.from_numpy(frame.to_numpy().copy()), torch.Tensor),
    ):  # fmt: skip
        samples = fit(data, max_seconds=0.05).sample(3, seed=0)
        assert isinstance(samples, kind)
        assert samples.shape == (3, 2)
        if kind is pl.DataFrame:
            assert samples.schema == {"y": pl.Float64, "income": pl.Float64}


def test_a_kind_whose_library_is_missing_becomes_polars(plain):
    plain.kind = "pandas"
    library = "pandas" if importlib.util.find_spec("pandas") else "polars"
    assert type(plain.sample(2)).__module__.startswith(library)
    plain.kind = "polars"


def test_samples_have_the_tables_columns_in_its_order_so_that_they_can_be_scored(conditional):
    samples = conditional.sample(4, given={"label": 1}, seed=0)
    assert samples.columns == ["y", "label", "income"]
    assert samples["label"].to_list() == [1.0] * 4
    model = fit(ROWS.to_numpy(), context="x2")
    samples = model.sample(4, given={"x2": 1}, seed=0)
    np.testing.assert_array_equal(samples[:, 1], 1.0)
    assert np.isfinite(model.log_prob(samples)).all()


def test_samples_keep_the_digits_of_columns_of_very_different_scales():
    values = RNG.normal(size=(200, 2)) * [1.0, 1e-9] + [0.0, 1.0]  # in float32 the second has two dozen values
    assert len(np.unique(fit(values).sample(1000, seed=0)[:, 1])) > 950


def test_samples_repeat_with_the_seed_or_with_torchs_own(plain):
    assert plain.sample(5, seed=1).equals(plain.sample(5, seed=1))
    assert not plain.sample(5, seed=1).equals(plain.sample(5, seed=2))
    first, second = (torch.manual_seed(0) and plain.sample(5) for _ in range(2))
    assert first.equals(second)
    assert not plain.sample(5).equals(second)


def test_a_lower_temperature_draws_nearer_the_mode(plain):
    cold, warm = (plain.sample(500, temperature=t, seed=0)["y"].std() for t in (0.2, 1.0))
    assert cold < warm / 2


def test_one_copy_in_float64_serves_all_samples(monkeypatch):
    model = fit(ROWS.select("y"))
    model.sample(1)
    monkeypatch.setattr("copy.deepcopy", None)
    model.sample(1)


def test_a_continuous_flow_is_matched_since_its_likelihood_takes_too_long(monkeypatch):
    real, called = pf.losses.flow_matching, []
    monkeypatch.setattr(pf.losses, "flow_matching", lambda *given: called.append(given) or real(*given))
    fit(ROWS.select("y"), recipe="cnf")
    assert called


# ---- given -----------------------------------------------------------------------------------------------------------


def test_context_is_given_as_a_mapping_or_as_rows(conditional, tmp_path):
    expected = conditional.sample(3, given={"label": 1}, seed=0)
    pl.DataFrame({"label": [1]}).write_csv(tmp_path / "c.csv")
    for given in (pl.DataFrame({"label": [1]}), pa.table({"label": [1]}), [[1]], np.array([1.0]), tmp_path / "c.csv"):
        assert conditional.sample(3, given=given, seed=0).equals(expected)


def test_the_draws_of_each_row_of_context_follow_one_another():
    x = RNG.normal(size=1000) * 0.1
    label = RNG.integers(2, size=1000)
    model = fit(pl.DataFrame({"x": x + 3 * label, "label": label}), context="label", recipe="realnvp", max_seconds=2)
    samples = model.sample(100, given=pl.DataFrame({"label": [1, 0]}), seed=0)
    assert samples["label"].to_list() == [1.0] * 100 + [0.0] * 100
    assert samples["x"][:100].mean() == pytest.approx(3, abs=0.5)
    assert samples["x"][100:].mean() == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"the model needs context \(given: label=0, or rows of it\)"),
        ({}, r"given: label is missing \(give label=0\)"),
        ({"label": 1, "y": 2}, r'given: "y" is no context column of the model \(give label=0; recipe="auto" takes any'),
        (ROWS, r'given: "y" is no context column of the model \(give label=0; recipe="auto" takes any'),
        (ROWS.to_numpy()[:, :2], r'given: has 2 columns without names, wanted are 1: "label"'),
        ({"label": "one"}, r'given: "one" is not a number \(give label=0\)'),
        ({"label": float("nan")}, "given: label must be finite; got nan"),
        (pl.DataFrame({"label": [None]}), 'given: column "label", row 1: missing value'),
        (pl.DataFrame({"labl": [1]}), 'given: there is no column "label"; did you mean "labl"?'),
    ],
)
def test_what_cannot_be_given_is_refused(conditional, given, message):
    with says(message):
        conditional.sample(3, given=given)


def test_nothing_can_be_given_without_context(plain):
    with says(
        r"the model takes no context, and only context can be given \(leave given out; recipe=\"auto\" takes any"
    ):
        plain.sample(3, given={"y": 1})


# ---- columns ---------------------------------------------------------------------------------------------------------


def test_columns_say_role_and_range(conditional):
    assert [(column.name, column.role) for column in conditional.columns] == [
        ("y", "modelled"), ("label", "context"), ("income", "modelled"),
    ]  # fmt: skip
    assert conditional.columns[0].low == ROWS["y"].min()
    assert conditional.columns[2].high == ROWS["income"].max()
    assert repr(conditional) == '<TableModel of "y", "income" given "label">'


def test_chosen_columns_keep_the_tables_order_and_others_may_be_text():
    frame = ROWS.with_columns(tree=pl.lit("oak"))
    assert fit(frame, columns="income, y").schema.columns == ("y", "income")
    model = fit(frame, columns=["income"], context="label")
    assert (model.schema.columns, model.schema.context) == (("label", "income"), ("label",))
    model = fit(ROWS.to_numpy(), columns="x3,x1")
    assert model.schema.columns == ("x1", "x3")
    np.testing.assert_array_equal(model.log_prob(ROWS.to_numpy()), model.log_prob(ROWS.to_numpy()[:, [0, 2]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "incme"}, 'data frame: there is no column "incme"; did you mean "income"?'),
        ({"context": "y,label,income"}, "data frame: every column is context, none is left to fit"),
        ({"recipe": "glw"}, 'there is no recipe "glw"'),
        ({"seed": -1}, r"seed must be an integer from 0 to 2\*\*63 - 1; got -1"),
        ({"seed": 1.5}, r"seed must be an integer from 0 to 2\*\*63 - 1; got 1.5"),
        ({"max_seconds": "3"}, "max_seconds must be a number above 0; got '3'"),
        ({"test": "0.1"}, "test must be a number of at least 0 and at most 0.8; got '0.1'"),
        ({"test": 0.9}, "test must be at least 0 and at most 0.8; got 0.9"),
        ({"max_seconds": 0}, "max_seconds must be "),
        ({"resume": True}, "resume=True needs out="),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with says(message):
        fit(ROWS, **options)


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "conditional"])
def test_a_saved_model_comes_back_to_the_last_digit(name, request, tmp_path):
    model = request.getfixturevalue(name)
    model.save(tmp_path / "m.safetensors")
    again = pf.TableModel.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.log_prob(ROWS), model.log_prob(ROWS))
    given = {"label": 0} if name == "conditional" else None
    assert again.sample(20, given=given, seed=3).equals(model.sample(20, given=given, seed=3))
    for attribute in ("columns", "schema", "kind", "seed", "plan", "summary"):
        assert getattr(again, attribute) == getattr(model, attribute)
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_a_flag_that_is_none_is_refused_before_an_earlier_model_goes(plain, tmp_path):
    plain.save(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="resume must be True or False; got 0"):
        pf.TableModel.fit(ROWS.select("y"), out=tmp_path, resume=0, num_steps=1, progress=False)
    assert (tmp_path / "model.safetensors").exists()


def test_a_model_file_is_read_once(plain, tmp_path, monkeypatch):
    plain.save(tmp_path / "m.safetensors")
    real, reads = json_and_tensors.read, []
    monkeypatch.setattr(json_and_tensors, "read", lambda path, *rest: reads.append(path) or real(path, *rest))
    pf.TableModel.load(tmp_path / "m.safetensors")
    assert reads == [tmp_path / "m.safetensors"]


def test_the_kind_of_frame_comes_back_with_the_model(tmp_path):
    fit(ROWS.select("y").to_arrow()).save(tmp_path / "m.safetensors")
    assert isinstance(pf.TableModel.load(tmp_path / "m.safetensors").sample(2), pa.Table)


def test_a_kind_that_was_set_comes_back_with_the_model(tmp_path):
    model = fit(ROWS.select("y"), max_seconds=0.05)
    model.kind = "array"
    model.save(tmp_path / "m.safetensors")
    assert isinstance(pf.TableModel.load(tmp_path / "m.safetensors").sample(2), np.ndarray)
    with pytest.raises(ValueError, match="kind must be one of array, tensor, pandas, .*; got 'numpy'"):
        model.kind = "numpy"


def test_after_an_interrupted_fit_the_folder_holds_no_model_of_another(tmp_path, monkeypatch):
    fit(ROWS.select("y"), max_seconds=0.05, out=tmp_path)
    with says('data frame: there is no column "z"'):
        fit(ROWS, context="z", out=tmp_path)
    assert pf.TableModel.load(tmp_path).schema.columns == ("y",)  # what cannot be fitted replaces nothing

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(table_fit, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(ROWS.select("income"), out=tmp_path)
    with says(f"{tmp_path}: holds no model.safetensors"):
        pf.TableModel.load(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([0, 1], r"columns are asked for by name; got \[0, 1\] \(of an array they are x1, x2, ...\)"),
        (1, "columns are asked for by name; got 1"),
        ([], r"columns= names no column \(leave it out to take all\)"),
        ("", "columns= names no column"),
    ],
)
def test_columns_are_asked_for_by_name(columns, message):
    with says(message):
        fit(ROWS, columns=columns)


def test_what_is_no_table_is_named():
    with says("array: dict is no table .give a file, a data frame, or an array or list of rows."):
        fit({"y": [1.0, 2.0, 3.0]})


def test_a_file_of_version_0_1_0_is_read(plain, tmp_path):
    summary = {"command": "pushforward fit t.csv", "source": "t.csv", "recipe": "nice", "log_scale": 2.5, "nll": 1.0}
    schema = {"columns": ["y", "income"], "context": []}
    pf.save(plain.flow, tmp_path / "m.safetensors", schema=schema, seed=3, plan={"num_steps": 7}, summary=summary)
    model = pf.TableModel.load(tmp_path / "m.safetensors")
    assert (model.seed, model.plan, model.summary, model.kind) == (3, {"num_steps": 7}, summary, "polars")
    assert model.columns[1] == pf.tables.Column("income", "modelled", None, None)
    np.testing.assert_array_equal(model.log_prob(ROWS), plain.log_prob(ROWS))
    assert model.evaluate(ROWS).log_scale == 2.5


def test_a_schema_that_does_not_fit_its_flow_is_refused_under_the_files_name(plain, tmp_path):
    pf.save(plain.flow, tmp_path / "m.safetensors", schema={"columns": ["y"], "context": []})
    with says(r".*m\.safetensors: its columns do not fit its flow"):
        pf.TableModel.load(tmp_path / "m.safetensors")


def test_the_folder_of_a_fit_can_be_loaded_and_its_run_taken_up(tmp_path):
    model = fit(ROWS, context="label", out=tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "checkpoint.safetensors", "history.jsonl", "model.safetensors",
    }  # fmt: skip
    again = pf.TableModel.load(tmp_path / "run")
    np.testing.assert_array_equal(again.log_prob(ROWS), model.log_prob(ROWS))
    resumed = fit(ROWS, context="label", out=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(resumed.log_prob(ROWS), model.log_prob(ROWS))
    with says(r".*: holds no model\.safetensors \(name a model file, or the folder of a finished fit\)"):
        pf.TableModel.load(tmp_path)


# ---- what is done only when asked ------------------------------------------------------------------------------------


def test_training_measures_nothing_and_checks_the_table_once(monkeypatch, tmp_path):
    real, checks = table_fit.check_for_fitting, []
    monkeypatch.setattr(table_fit, "check_for_fitting", lambda table: checks.append(table) or real(table))
    for name in ("evaluate", "fit_baselines", "nll"):
        monkeypatch.setattr(table_fit, name, None)
    model = fit(ROWS.select("y", "income"), out=tmp_path)
    model.save(tmp_path / "m.safetensors")
    assert len(model.log_prob(ROWS)) == len(model.sample(200)) == 200
    assert len(checks) == 1
    assert list(model.fitted.seconds) == ["training"]
    assert "nll" not in model.summary
    with pytest.raises(TypeError):
        model.evaluate()


def test_the_figures_of_held_out_rows_are_those_of_these_rows_and_are_kept(plain):
    held_out = plain.evaluate()
    rows = plain.fitted.split.test.x.numpy()
    assert held_out.nll.num_rows == len(rows) == 20
    again = plain.evaluate(rows)
    assert again.nll == held_out.nll
    assert again.round_trip == held_out.round_trip
    assert again.latent.mmd_p_value == held_out.latent.mmd_p_value
    assert again.log_scale == held_out.log_scale
    assert held_out.nll.mean == pytest.approx(-plain.log_prob(rows).mean())
    assert plain.evaluate() is held_out
    assert plain.baselines() is plain.baselines()
    assert plain.preview().equals(plain.preview())
    assert plain.summary["nll"] == held_out.nll.mean


def test_an_evaluation_can_be_printed(plain):
    text = str(plain.evaluate())
    assert text.startswith("20 rows\n  NLL, nats ")
    assert f"{plain.evaluate().nll.mean:.3f} ± {plain.evaluate().nll.standard_error:.3f}" in text
    assert "round trip in float32" in text


def test_the_truth_is_compared_with_where_it_is_known(monkeypatch):
    monkeypatch.setattr("pushforward.tables.flow_for_table.FRESH_POINTS", 2000)
    toy = pf.data.two_gaussians(500)
    model = fit(toy.x, truth=toy.density)
    excess = model.evaluate().excess
    assert excess.num_rows == 2000
    assert model.evaluate(toy.x).excess is None
    assert model.evaluate(toy.x, truth=toy.density).excess == excess
    other = fit(toy.x)
    assert other.evaluate().entropy is None
    assert other.evaluate(truth=toy.density).entropy == toy.density.entropy()


def test_a_model_from_a_file_has_no_rows_and_says_so(plain, tmp_path):
    plain.save(tmp_path / "m.safetensors")
    model = pf.TableModel.load(tmp_path / "m.safetensors")
    missing = r"the model comes from a file, which holds no rows \(give some to evaluate; baselines, preview and report"
    for ask in (model.evaluate, model.baselines, model.preview, lambda: model.report(tmp_path / "r.html")):
        with says(missing):
            ask()
    assert model.evaluate(ROWS).nll.num_rows == 200
    assert not (tmp_path / "r.html").exists()


def test_a_single_row_is_scored_but_not_evaluated(plain):
    assert plain.log_prob(ROWS.head(1)).shape == (1,)
    with says("data frame: 1 row tells no mean from chance"):
        plain.evaluate(ROWS.head(1))


def test_any_share_of_the_rows_can_be_held_out_and_none(tmp_path):
    model = fit(ROWS.select("y", "income"), test=0.3)
    split = model.fitted.split
    assert (len(split.train), len(split.validation), len(split.test)) == (120, 20, 60)
    said = []
    model = fit(ROWS.select("y", "income"), test=0, notify=said.append)
    assert model.summary["rows"] == {"train": 180, "test": 0}
    assert said[-1].startswith("no rows are held out (test=0), so the figures are those of the training rows")
    assert model.evaluate().nll.num_rows == 180
    model.report(tmp_path / "report.html")
    assert "NLL of training rows" in (tmp_path / "report.html").read_text()


def test_warnings_about_the_table_are_pythons_own_at_the_line_of_the_call():
    with pytest.warns(UserWarning, match='^few distinct values in "label"') as caught:
        pf.TableModel.fit(ROWS, recipe="nice", max_seconds=0.05, progress=False)
    assert caught[0].filename == __file__
    mixed = pl.DataFrame({"kind": ["a", "b"] * 50, "y": RNG.normal(size=100)})
    with pytest.warns(UserWarning, match="^no rows are held out") as caught:
        pf.TableModel.fit(mixed, num_steps=1, test=0, progress=False)
    assert caught[0].filename == __file__


def test_a_preview_shows_a_row_at_each_context_that_was_held_out(conditional):
    held_out = conditional.fitted.split.test.context[:, 0].tolist()
    assert conditional.preview()["label"].to_list() == held_out


def test_built_in_data_are_scored_on_other_rows_than_they_are_fitted_to(monkeypatch):
    monkeypatch.setattr(built_in_data, "TOY_POINTS", 500)
    fitted, other = (built_in_data.table_to_fit("two-moons", seed=seed)[0].numbers.values for seed in (0, 1))
    scored = built_in_data.rows_to_score("two-moons")[0].select("x1,x2").values
    assert len({tuple(row) for values in (fitted, other, scored) for row in values}) == 1500


def test_the_seed_decides_the_points_that_are_verified(conditional):
    first, again, other = (conditional.verify(seed=seed).round_trip_error for seed in (0, 0, 1))
    assert first == again != other


def test_verify_checks_the_flow_on_points_of_its_own(conditional):
    report = conditional.verify()
    assert report.ok
    assert report.shape == (64, 2)
