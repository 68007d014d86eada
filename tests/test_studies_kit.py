"""The kit of the studies: what a killed study leaves, comparisons of models, and finding studies by name."""

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure

import pushforward as pf
from pushforward.studies import STUDIES
from pushforward.studies.kit import Candidate, Comparison, Record, Trained, images, pictures
from pushforward.studies.kit.tables import Score, average, cells, first, largest, mean


@pytest.fixture
def record(tmp_path):
    return Record("layers", "A title", "a source", tmp_path / "out", quick=True)


def on_disk(record):
    return json.loads((record.out / "results.json").read_text())


def test_numbers_runs_and_pictures_are_on_the_disk_before_the_study_ends(record):
    record.number("a.b", 1)
    assert on_disk(record)["numbers"] == {"a": {"b": 1}}
    record.picture("empty", Figure(figsize=(1, 1)), "An empty picture.")
    assert (record.out / "empty.png").read_bytes().startswith(b"\x89PNG")
    record.fit("short", pf.recipes.nice(2), torch.randn(40, 2), num_steps=2)
    found = on_disk(record)
    assert [run["label"] for run in found["runs"]] == ["short"]
    assert not found["complete"]
    record.finish()
    assert on_disk(record)["complete"]


def test_the_quick_form_replaces_the_length(record, monkeypatch):
    asked = {}
    monkeypatch.setattr("pushforward.training.fit", lambda model, x, **options: asked.update(options) or History())
    record.fit("a", torch.nn.Linear(1, 1), None, max_seconds=9, seed=3, quick={"epochs": 2})
    assert asked == {"progress": False, "seed": 3, "epochs": 2}
    record.quick = False
    record.fit("A run", torch.nn.Linear(1, 1), None, epochs=5, quick={"epochs": 2}, resumable=True)
    assert asked["epochs"] == 5
    assert asked["resume"]
    assert asked["out"] == record.out / "checkpoints" / "a-run"


class History:
    steps, seconds, stopped_because = 1, 0.1, "done"


def test_a_candidate_can_train_for_the_seconds_that_another_took_from_the_same_seed(record, monkeypatch):
    asked = []

    def fit(label, model, *rows, seed, quick, **options):
        asked.append((label, seed, options))
        return SimpleNamespace(seconds=10.0 + seed)

    monkeypatch.setattr(record, "fit", fit)
    first = Candidate("first", lambda: pf.recipes.nice(2), {"num_steps": 5})
    second = Candidate("second", lambda: pf.recipes.nice(2), {"batch_size": 8}, as_long_as="first")
    Comparison(record).train({"first": first, "second": second}, lambda seed: torch.zeros(4, 2), seeds=[3, 7])
    assert [options for _, _, options in asked[:2]] == [{"num_steps": 5}] * 2
    assert [(seed, options) for _, seed, options in asked[2:]] == [
        (3, {"batch_size": 8, "equal_seconds": 13.0}),
        (7, {"batch_size": 8, "equal_seconds": 17.0}),
    ]


def test_a_comparison_trains_each_candidate_from_its_seed_and_keeps_scores_by_field_or_by_seed(record):
    candidate = Candidate("ours", lambda: pf.recipes.nice(2), {"batch_size": 8}, quick={"num_steps": 2})
    x = {seed: torch.randn(40, 2) for seed in (0, 1)}
    flows = Comparison(record).train(
        {"a": candidate, "b": candidate}, x.__getitem__, seeds=[0, 1], label="{key} {seed}"
    )
    assert [run["label"] for run in record.runs] == ["a 0", "a 1", "b 0", "b 1"]
    assert {run["steps"] for run in record.runs} == {2}
    first, second = (one.model.log_prob(x[0]) for one in flows.trained["a"])
    assert not torch.equal(first, second)
    assert torch.equal(first, flows.first("b").log_prob(x[0]))
    flows.score(lambda one: Score(seed=one.seed, value=2.0 * one.seed), keep="by field.{key}")
    flows.score(lambda one: Score(seed=one.seed, value=2.0 * one.seed), keep="by seed.{key}", by_seed=True)
    assert record.numbers["by field"]["a"] == {"seed": [0, 1], "value": [0.0, 2.0]}
    assert record.numbers["by seed"]["b"] == [{"seed": 0, "value": 0.0}, {"seed": 1, "value": 2.0}]
    flows.table("Title", "model", (("value", "value"), ("most", largest("value"))))
    assert record.blocks[-1].header == ["model", "value", "most"]
    assert record.blocks[-1].rows[0] == ["ours", "1.000 (0 to 2.000)", "2.000"]


def test_scores_are_kept_after_each_seed(record):
    def judged(one):
        if one.seed == 1:
            raise KeyboardInterrupt
        return Score(seed=one.seed, value=7.0)

    flows = Comparison(record).add("a", "a model", [Trained(None, 0), Trained(None, 1)])
    with pytest.raises(KeyboardInterrupt):
        flows.score(judged, keep="{key}")
    assert on_disk(record)["numbers"]["a"]["value"] == [7.0]


def test_cells_come_from_fields_and_from_functions():
    assert cells((("a", "value"), ("b", len)), [Score(value=0.5)]) == ["0.5", 1]


@dataclass(frozen=True)
class Likelihood:
    value: float


def test_scores_are_averaged_in_their_own_form_and_their_parts_found_by_name():
    scores = [
        Score(score=Likelihood(0.5), by_label={3: 1.0, 4: 2.0}),
        Score(score=Likelihood(1.5), by_label={3: 2.0, 4: 6.0}),
    ]
    assert average(scores) == Score(score=Score(value=1.0), by_label={3: 1.5, 4: 4.0})
    assert mean(scores, "score.value") == 1.0
    assert cells((("a", "score.value"), ("b", first("score.value"))), scores) == ["1.000 (0.5 to 1.500)", 0.5]


def test_a_score_is_kept_with_the_scores_and_dataclasses_inside_it(record):
    record.number("a", Score(part=Score(of=torch.tensor([0.5])), nll=Likelihood(2.0)))
    assert on_disk(record)["numbers"]["a"] == {"part": {"of": [0.5]}, "nll": {"value": 2.0}}


def test_learning_curves_are_in_their_unit_and_leave_out_the_first_steps():
    history = pf.History(
        [
            {"step": step, "epoch": 0, "seconds": 60 * step, "train_loss": loss, "validation_loss": loss + 1,
             "learning_rate": 1e-3}
            for step, loss in enumerate([1e9, 1e6, *(20.0 - 0.5 * place for place in range(20))])
        ]
    )  # fmt: skip
    figure = pictures.curves_over_minutes({"a run": history, "another": history}, "bits", of=lambda nll: nll / 2)
    for axes in figure.axes:
        training, validation = (line.get_xydata() for line in axes.lines)
        assert training[:2].tolist() == [[1, 5e5], [2, 10]]  # minutes; the start, step 0, is none of it
        assert (validation[:, 1] - training[:, 1] == 0.5).all()
        assert axes.get_ylim()[1] < 12


def test_rows_of_images_have_their_names_at_their_middles():
    (axes,) = images.strips({"one": torch.zeros(3, 9), "two": torch.ones(3, 9)}).axes
    assert axes.get_yticks().tolist() == [1, 5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert axes.images[0].get_array().shape == (7, 11)


def test_rows_of_scores_are_named_by_one_word_or_several(record):
    record.scores("Title", ("data", "model"), (("value", "value"),), {("moons", "ours"): [Score(value=0.5)]})
    assert record.blocks[-1].header == ["data", "model", "value"]
    assert record.blocks[-1].rows == [["moons", "ours", "0.5"]]


def test_panels_hold_points_log_densities_on_one_scale_or_nothing():
    x = torch.zeros(5, 2)
    contents = {
        "one": pictures.Points(x),
        "two": [pictures.Points(x), pictures.Points(x)],
        "low": lambda x: x.sum(-1),
        "high": lambda x: x.sum(-1) + 3,
        "left": None,
    }
    figure, panels = pictures.panels(contents, (-1.0, 1.0, -1.0, 1.0), grid=3, across=3)
    assert [axes.get_title() for axes in panels[:5]] == list(contents)
    assert [len(axes.collections) for axes in panels] == [1, 2, 0, 0, 0, 0]
    assert [axes.images[0].get_clim() for axes in panels[2:4]] == [(pictures.FLOOR, 5.0)] * 2
    assert len(figure.axes) == 6 + 1  # one colour bar
    assert not panels[5].axison


def test_the_studies_are_listed_without_loading_torch_or_any_of_them():
    code = (
        "import sys; from pushforward.__main__ import main; main(['study']); "
        "print([m for m in sys.modules if m == 'torch' or m.startswith('pushforward.studies.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['pushforward.studies.registry']"


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_where_it_is_said_to_be(name):
    study = importlib.import_module(f"pushforward.studies.{STUDIES[name].module}")
    assert all(isinstance(text, str) for text in (study.TITLE, study.SOURCE))
    assert callable(study.run)
