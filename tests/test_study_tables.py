"""The study `tables`: what its judges see in rows of which the answer is known, its tables, peers and short form."""

import hashlib
import importlib
import json
import sys
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pushforward.data import mixed_table
from pushforward.errors import InputError
from pushforward.studies import run as run_study
from pushforward.studies.kit import Record
from pushforward.studies.tables import detection, known_law, peers, row_models, sources, table_figures
from pushforward.studies.tables.detection import detect, p_value
from pushforward.studies.tables.row_models import independent_columns


class Stub:
    """Columns drawn by themselves, and the law's own probabilities, shifted: a model of which all is known."""

    def __init__(self, rows, shift=0.0):
        self.rows, self.shift, self.law = rows, shift, mixed_table(1)[1]

    def sample(self, n, *, seed=None):
        return independent_columns(self.rows, n, seed)

    def log_prob(self, data, *, given=()):
        return self.law.log_prob(data, given=given) - self.shift

    def impute(self, data, *, num=1, seed=None):
        return known_law.filled_independently(data, self.rows, seed)


@pytest.fixture(params=["installed", "scikit-learn"])
def trees(request, monkeypatch):
    """The judge that is installed, and the one where xgboost is not."""
    if request.param == "scikit-learn":
        monkeypatch.setitem(sys.modules, "xgboost", None)
        assert detection.classifier_name().startswith("scikit-learn")


@pytest.fixture
def rows():
    return mixed_table(1_500, missing=0.1, seed=1)[0]


# ---- the judge -------------------------------------------------------------------------------------------------------


def test_trees_see_nothing_between_rows_of_one_law(rows, trees):
    found = detect(rows, mixed_table(1_500, missing=0.1, seed=2)[0], seeds=[0])
    assert found.auc == pytest.approx(0.5, abs=0.04)
    assert found.score == pytest.approx(1, abs=0.08)


def test_trees_see_columns_drawn_by_themselves(rows, trees):
    drawn = independent_columns(rows, 1_500, 0)
    assert sorted(drawn["kind"].drop_nulls().unique()) == ["bike", "car", "van"]
    assert detect(rows, drawn, seeds=[0]).score < 0.7
    assert p_value(rows, drawn)[1] < 1e-6
    assert p_value(rows, mixed_table(1_500, missing=0.1, seed=2)[0])[1] > 0.01


def test_the_score_is_1_less_what_the_area_has_above_a_half():
    rows = pl.DataFrame({"x": np.arange(300.0)})
    found = detect(rows, rows + 1_000, seeds=[0, 1])
    assert found.auc == pytest.approx(1, abs=0.01)
    assert found.score == pytest.approx(2 * (1 - found.auc)) == sum(found.by_seed) / 2


@pytest.mark.parametrize(
    "change",
    [
        pl.when(pl.int_range(pl.len()) % 3 > 0).then("kind").alias("kind"),  # cells that are missing
        pl.when(pl.col("kind") == "car").then(pl.lit("van")).otherwise("kind").alias("kind"),
        (pl.col("day") + pl.duration(days=400)).alias("day"),
        (~pl.col("yes")).alias("yes"),
    ],
)
def test_every_kind_of_column_is_seen(change):
    rows = mixed_table(600, missing=0.0)[0].select(
        "kind", yes=pl.col("trips") < 3, day=pl.date(2020, 1, 1) + pl.duration(days="trips")
    )
    assert detect(rows, rows.with_columns(change), seeds=[0]).score < 0.85


def test_the_rarest_of_many_categories_share_a_feature():
    names = pl.Series([f"a{place}" for place in range(500) for _ in range(500 - place)])
    features = detection._features(names)
    assert features.shape == (len(names), detection.MOST_LEVELS + 1)
    assert (features.sum(1) == 1).all()
    assert features[:500, 0].all()
    assert features[-1, -1] == 1


def test_rows_of_other_columns_are_refused(rows):
    with pytest.raises(InputError, match="the drawn rows have the columns"):
        detect(rows, rows.drop("kind"))


# ---- the known law ---------------------------------------------------------------------------------------------------


def test_the_excess_is_how_far_the_models_log_probabilities_lie_below_the_laws(rows):
    found = known_law.excess_of(Stub(rows, shift=0.25), mixed_table(1)[1], rows, ["kind"])
    assert found.excess == pytest.approx(0.25)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_cells_of_other_columns_are_gone_and_keep_their_type(rows):
    found = known_law.only(rows, ["trips"])
    assert found.schema == rows.schema
    assert found["trips"].equals(rows["trips"], null_equal=True)
    assert found.drop("trips").null_count().row(0) == (rows.height,) * 4


def test_rows_filled_column_by_column_keep_their_cells(rows):
    filled = known_law.filled_independently(rows, rows, 0)
    assert sum(filled.null_count().row(0)) == 0
    assert filled["load"].filter(rows["load"].is_not_null()).equals(rows["load"].drop_nulls())


# ---- the real tables -------------------------------------------------------------------------------------------------


def test_a_file_that_is_another_table_is_refused(tmp_path, monkeypatch):
    import gzip

    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "magic04.csv.gz").write_bytes(gzip.compress(b"a,b\n1,g\n"))
    monkeypatch.setenv(sources.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=r"magic04.csv.gz: has another checksum, so it is not the table magic04"):
        sources.real_table("magic04")


def test_a_table_that_is_nowhere_says_where_to_put_it(monkeypatch):
    monkeypatch.delenv(sources.FOLDER_VARIABLE, raising=False)
    with pytest.raises(InputError, match="set PUSHFORWARD_DATA to a folder with tables/protein.csv.gz"):
        sources.real_table("protein")


def test_the_users_census_becomes_the_archives():
    text = "age;workclass\n" + "39; State-gov;77516; Bachelors;13; Never; Adm; Not; White;2;2174;0;40; US; <=50K\n"
    assert sources._in_archives_form("adult", text) == (
        "39, State-gov, 77516, Bachelors, 13, Never, Adm, Not, White, Female, 2174, 0, 40, US, <=50K\n\n"
    )


def test_a_download_is_checked_and_read_as_the_users_file_is(tmp_path, monkeypatch):
    (tmp_path / "adult.data").write_text("39, State-gov, 7, B, 13, N, A, ?, White, Male, 2, 0, 40, US, <=50K\n\n")
    monkeypatch.delenv(sources.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr("pooch.retrieve", lambda address, *rest, **options: [str(tmp_path / "adult.data")])
    with pytest.raises(InputError, match="another checksum, so it is not the table adult"):
        sources.real_table("adult")
    digest = hashlib.sha256((tmp_path / "adult.data").read_bytes()).hexdigest()
    monkeypatch.setitem(sources.SOURCES, "adult", sources.SOURCES["adult"]._replace(sha256=digest))
    row = sources.real_table("adult").row(0, named=True)
    assert (row["age"], row["workclass"], row["relationship"], row["sex"]) == (39, "State-gov", None, "Male")


def test_the_split_is_the_same_each_time_and_parts_all_rows():
    rows = pl.DataFrame({"x": range(101)})
    train, held = sources.split(rows)
    assert (train.height, held.height) == (91, 10)
    assert sorted([*train["x"], *held["x"]]) == list(range(101))
    assert sources.split(rows)[1].equals(held)


# ---- peers -----------------------------------------------------------------------------------------------------------

PEER = """
import json, shutil, sys
name, train, samples, rows, seed, settings = sys.argv[1:]
if name == "CTGAN":
    sys.exit("it found no GPU")
shutil.copy(train, samples)
print("a line of its own")
print(json.dumps({"fit_seconds": 2.0, "sample_seconds": 0.5, "versions": {name: "1.2"}}))
"""


@pytest.fixture
def record(tmp_path, monkeypatch):
    (tmp_path / "peer.py").write_text(PEER)
    monkeypatch.setattr(peers, "SCRIPT", tmp_path / "peer.py")
    monkeypatch.setenv(peers.PYTHON, sys.executable)
    return Record("tables", "A title", "a source", tmp_path / "out")


def test_a_peer_gives_samples_and_what_they_took_or_a_reason(record, rows):
    found = peers.draw(record, "mixed", rows, 10)
    assert list(found) == list(peers.PEERS)
    assert found["arfpy"].drawn.rows.equals(rows, null_equal=True)
    assert (found["arfpy"].drawn.fit_seconds, found["arfpy"].version) == (2.0, "1.2")
    assert found["CTGAN"] == peers.Peer(None, {}, "it found no GPU")


def test_short_forms_and_machines_without_the_environment_run_no_peers(record, rows, monkeypatch):
    record.minutes = 5.0
    assert peers.draw(record, "mixed", rows, 10) == {}
    record.minutes = None
    monkeypatch.setenv(peers.PYTHON, "nowhere")
    assert peers.draw(record, "mixed", rows, 10) == {}


# ---- pictures, and the whole -----------------------------------------------------------------------------------------


def test_a_picture_of_columns_has_a_panel_for_each_of_any_kind(rows):
    figure = table_figures.columns(rows, independent_columns(rows, 100, 0))
    assert [axes.get_title() for axes in figure.axes if axes.axison] == rows.columns
    heights = sum(patch.get_height() for patch in figure.axes[0].patches[:4])
    assert heights == pytest.approx(1)  # the shares of three kinds and of missing cells


def test_labels_of_equal_scores_stand_apart():
    assert table_figures._apart([0.5, 0.5, 0.1], 0.1) == [0.5, 0.6, 0.1]


def test_the_short_form_judges_samples_probabilities_and_imputed_cells(tmp_path, monkeypatch):
    fitted = []
    monkeypatch.setattr(row_models, "fit_ours", lambda rows, seconds, seed: fitted.append(seconds) or Stub(rows, 0.5))
    record = run_study("tables", quick=True, out=tmp_path, progress=False)
    assert fitted == [1.0, 1.0]
    numbers = json.loads(Path(tmp_path, "results.json").read_text())["numbers"]
    assert set(numbers["tables"]["mixed"]["models"]) == {"held-out rows", "independent columns", "ours 1 s, seed 0"}
    excess = {name: one[0]["excess"] for name, one in numbers["known_law"]["excess"].items()}
    assert set(excess) == {"whole rows, no cell missing", *known_law.QUESTIONS}
    assert list(excess.values()) == pytest.approx([0.5] * len(excess))
    (judged,) = numbers["known_law"]["samples_and_imputation"]
    assert set(judged["tests"]) == {"model", "law", "independent"}
    assert {block.title for block in record.blocks if block.kind == "picture"} == {"score-mixed", "columns-mixed"}


# ---- the list of other real tables -----------------------------------------------------------------------------------


@pytest.fixture
def real_tables(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    return importlib.import_module("real_tables")


def test_cells_beyond_the_range_or_in_unknown_categories_are_outside(real_tables):
    rows = pl.DataFrame(
        {"x": [1, 2, None], "kind": ["a", "b", None], "day": [date(2020, 1, 1), date(2020, 1, 3), None]}
    )
    assert real_tables.share_outside(rows, rows) == 0
    drawn = pl.DataFrame({"x": [0, 2], "kind": ["c", "b"], "day": [date(2020, 1, 2), date(2020, 1, 4)]})
    assert real_tables.share_outside(rows, drawn) == 3 / 6


def test_a_table_is_measured_or_it_is_said_why_not(real_tables, rows):
    found = real_tables.measure(rows, seconds=1, seed=0, fit=lambda rows, **options: Stub(rows))
    assert (found["fits"], found["outside"], found["rows"]) == (True, 0, 1_500)
    assert found["auc"] > 0.6 > found["auc_of_halves"]

    def refuse(rows, **options):
        raise InputError("it holds text")

    refused = real_tables.measure(rows, seconds=1, seed=0, fit=refuse)
    assert (refused["fits"], refused["why"]) == (False, "it holds text")
    assert real_tables.line("a", refused).endswith("not fitted: it holds text")


def test_labels_of_rows_are_left_out_and_long_tables_cut(real_tables, monkeypatch):
    monkeypatch.setattr(real_tables, "MOST_ROWS", 5)
    kept = real_tables.prepared(pl.DataFrame({"rownames": range(9), "x": range(9)}))
    assert kept.columns == ["x"]
    assert kept["x"].is_sorted()
    assert kept.height == 5
