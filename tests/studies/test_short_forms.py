"""The short form of every study, run as the command line runs it: its questions, its pictures, its numbers."""

import html
import json

import pytest

import pushforward as pf
from pushforward.studies import STUDIES
from pushforward.studies.kit import Record, file_name
from pushforward.studies.plane import conditional
from pushforward.studies.tables import (
    drawn_given,
    imputation,
    imputers,
    outlier_detectors,
    outliers,
    row_models,
)
from pushforward.studies.tables import questions as table_questions
from pushforward.studies.vae import priors

LEAST = {  # questions and pictures
    "digits": (4, 3),
    "bottleneck": (4, 3),
    "conditional-digits": (4, 3),
    "mnist-masked": (3, 5),
    "mnist-additive": (3, 5),
    "mnist-8x8": (15, 12),
}
OF_THEIR_OWN = {"conditional", "sweep", "vae-prior", "table-questions", "scale"}


@pytest.fixture
def study(run, tmp_path, monkeypatch):
    """Run the short form of a study; return its record and what is in its results.json."""
    records = []
    finish = Record.finish
    monkeypatch.setattr(Record, "finish", lambda record: finish(record) or records.append(record))

    def study(name):
        code, out, err = run("study", name, "--quick", "--out", tmp_path)
        assert code == 0, err
        assert f"report: {tmp_path / 'report.html'}" in out
        (record,) = records
        facts = json.loads((tmp_path / "results.json").read_text())
        assert facts["quick"]
        assert facts["complete"]
        pictures = named(record, "picture")
        assert len(pictures) == len(set(pictures))
        assert {path.stem for path in tmp_path.iterdir() if path.suffix in (".png", ".gif")} == set(pictures)
        page = html.unescape((tmp_path / "report.html").read_text())
        assert all(question in page for question in named(record, "question"))
        return record, facts

    return study


def named(record, kind):
    return [block.title for block in record.blocks if block.kind == kind]


@pytest.mark.parametrize("name", [name for name in STUDIES if name not in OF_THEIR_OWN])
def test_the_short_form_runs_and_answers(name, study):
    record, _ = study(name)
    questions, pictures = LEAST.get(name, (1, 1))
    assert len(named(record, "question")) >= questions
    assert len(named(record, "picture")) >= pictures
    if name == "mnist-8x8":
        numbers = record.numbers
        assert set(numbers) == {"plain", "bottleneck", "conditional", "minutes"}
        mixture = numbers["plain"]["test"]["mixture"]
        assert pf.metrics.bits_per_dim(mixture["mean"], 64) == pytest.approx(mixture["bits_per_dim"], rel=1e-4)


def test_the_conditional_study_answers_the_sources_questions_on_every_task(study):
    record, _ = study("conditional")
    assert len(named(record, "question")) == 5
    tasks = {file_name(task) for task in conditional.TASKS}
    assert {f"{task}-{kind}" for task in tasks for kind in ("samples", "densities")} <= set(named(record, "picture"))
    assert all(set(record.numbers[task]) == set(conditional.MODELS) for task in tasks)
    assert record.numbers["one_call"]["conditions"] == 200


def test_the_sweep_answers_the_sources_questions(study):
    record, facts = study("sweep")
    assert set(named(record, "question")) >= {
        "What is the effect of the hyperparameters on the quality?",
        "Do visually better results have a smaller MMD?",
        "Is the code distribution standard normal?",
    }
    assert set(named(record, "picture")) == {"effects", "importances", "mmd-against-excess", "samples", "codes"}
    assert [run["label"] for run in facts["runs"][:2]] == ["first, seed 0", "centre, seed 0"]
    assert [path.name for path in record.out.iterdir() if path.is_dir()] == ["quick-runs"]  # apart from those in full


def test_the_prior_study_writes_every_table_and_picture(study):
    record, facts = study("vae-prior")
    shown = ["training", "latents", "samples", "samples-few-latents", "reconstructions"]
    assert named(record, "picture") == shown
    numbers = facts["numbers"]
    assert set(numbers["dynamic"]["latent 32"]) == {*priors.PRIORS, "normal and planar posterior"}
    assert set(numbers["threshold"]) == {"latent 32"}
    assert len(named(record, "question")) == 5


@pytest.fixture
def fitted(monkeypatch):
    """The tables' models are fitted as ever; return how long each was to be fitted, and its share of test rows."""
    fitted, fit = [], row_models.fit_ours

    def fit_ours(rows, seconds, seed, **options):
        fitted.append((seconds, *options.values()))
        return fit(rows, seconds, seed, **options)

    monkeypatch.setattr(row_models, "fit_ours", fit_ours)
    return fitted


def test_the_study_of_questions_asks_all_four(study, fitted):
    record, facts = study("table-questions")
    numbers = facts["numbers"]
    assert fitted == [(0.5, 0.1)] * 3 + [(0.5, 0.0)] * 2
    assert set(numbers) == {"anomalies", "imputation", "prediction", "given"}
    paid = numbers["anomalies"]["known law, paid"]
    assert set(paid["methods"]) == {
        outliers.OURS, outliers.JOINT, outliers.TOLD, *outlier_detectors.DETECTORS, outliers.LAW,
    }  # fmt: skip
    assert set(numbers["imputation"]["mixed"]["30 %"]) == {imputation.OURS, *imputers.IMPUTERS}
    assert set(numbers["prediction"]["mixed"]) == set(table_questions.PREDICTED["mixed"])
    assert set(numbers["given"]["mixed"]["kind=car"]) == {
        drawn_given.DRAWN,
        drawn_given.ALONE,
        drawn_given.REAL,
        drawn_given.ANY,
    }
    assert set(named(record, "picture")) == {"anomalies", "p-values", "imputation-mixed", "prediction"}


def test_the_study_of_scale_measures_rows_and_ranks_and_makes_every_fault(study):
    record, facts = study("scale")
    numbers = facts["numbers"]
    assert set(numbers) == {"growth", "lines", "streamed", "steps", "cost", "eight_machines", "faults"}
    assert all(memory > 0 for found in numbers["growth"]["memory"].values() for memory in found)
    assert all(0 < seconds < 300 for found in numbers["growth"]["first_step"].values() for seconds in found)
    assert [one["rows"] for one in numbers["steps"]["2 processes"]] == [64, 256] * 2
    assert [name for name, fault in numbers["faults"].items() if not fault["good"]] == []
    assert len(numbers["faults"]) >= 9
    assert set(named(record, "picture")) == {"growth", "steps"}
    assert len(named(record, "question")) == 5
    assert not [path for path in record.out.iterdir() if path.is_dir()]
