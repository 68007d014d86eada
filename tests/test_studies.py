"""Studies: what a record keeps and writes, the command, and the claims that the studies of layers and moons rest on."""

import json
import math
import re
from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure

import pushforward as pf
from pushforward import studies
from pushforward.__main__ import main
from pushforward.errors import InputError
from pushforward.studies import STUDIES, run
from pushforward.studies.kit import Record, pictures
from pushforward.studies.kit.tables import shown, spread
from pushforward.studies.plane import gan, layers, moons_questions, quality


@pytest.fixture
def record(tmp_path):
    return Record("layers", "A <title>", "a source", tmp_path / "out", seed=3)


def test_a_record_writes_numbers_pictures_and_two_reports(record):
    record.heading("Part")
    record.number("a.b", torch.tensor([1.0, 2.0]))
    record.number("a.c", math.nan)
    record.table("Title", ["name", "value"], [["x|y", 0.5]])
    record.picture("empty", Figure(figsize=(1, 1)), "An empty picture.")
    record.answer("Why?", "Because.")
    record.finish()
    found = json.loads((record.out / "results.json").read_text())
    assert found["numbers"] == {"a": {"b": [1.0, 2.0], "c": None}}
    assert found["command"] == "pushforward study layers --seed 3"
    assert {path.name for path in record.out.iterdir()} == {"results.json", "README.md", "report.html", "empty.png"}
    assert r"| x\|y | 0.5 |" in (record.out / "README.md").read_text()
    page = (record.out / "report.html").read_text()
    assert "A &lt;title&gt;" in page
    assert "Because." in page
    assert page.count("data:image/png;base64,") == 1


def test_a_number_is_recorded_once(record):
    record.number("a", 1)
    with pytest.raises(KeyError, match="records 'a' twice"):
        record.number("a", 2)


def test_a_record_keeps_what_a_run_took(record):
    record.fit("short", pf.recipes.realnvp(2), torch.randn(100, 2), num_steps=3)
    (one,) = record.runs
    assert (one["label"], one["steps"]) == ("short", 3)
    assert one["seconds"] > 0


def test_the_quick_form_runs_one_seed(record):
    assert record.seeds() == [3, 4, 5]
    record.quick = True
    assert record.seeds() == [3]
    assert record.to_dict()["command"] == "pushforward study layers --quick --seed 3"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (True, "yes"),
        (None, ""),
        (12345, "12,345"),
        (0.12345, "0.123"),
        (2.34567, "2.346"),
        (0.01, "0.01"),
        (1e-6, "1.0e-06"),
        (123.456, "123.5"),
    ],
)
def test_cells_are_shown(value, text):
    assert shown(value) == text


def test_a_spread_names_the_ends():
    assert spread([1.0]) == "1.000"
    assert spread([1.0, 3.0]) == "2.000 (1.000 to 3.000)"


def test_an_unknown_study_is_refused(capsys):
    assert main(["study", "moon"]) == 2
    assert "there is no study 'moon' (there are layers, two-moons" in capsys.readouterr().err


def test_without_a_name_the_studies_are_listed(capsys):
    assert main(["study"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(STUDIES)


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="name another folder with --out"):
        run("layers", out=tmp_path / "file" / "out")


def test_the_study_of_layers_answers_from_its_numbers(tmp_path, capsys):
    assert main(["study", "layers", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "results.json").read_text())["numbers"]
    assert numbers["area"]["scale (2, 2)"] == pytest.approx({"log_det": math.log(4), "area": 4, "density": 0.25})
    assert all(one["determinant"] == (-1) ** int(features) for features, one in numbers["flip"].items())
    assert numbers["no_swap"]["identity_error"] < 1e-12
    assert numbers["no_swap"]["spline_knots"] == {"one": 3, "two": 6}
    errors = numbers["composition"]["errors"]
    assert max(errors["inverse"], errors["jacobian"], errors["log_det"]) < 1e-10
    assert errors["other_order"] > 0.1
    assert not numbers["verified"]["wrong log_det"]["ok"]
    printed = capsys.readouterr().out
    assert "Are two affine couplings without a swap in between more than one?" in printed


def test_the_area_of_a_polygon():
    triangle = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    assert layers._polygon_area(triangle) == pytest.approx(2.0)


def test_the_gap_lies_between_the_moons_and_has_little_mass():
    data = pf.data.two_moons(20_000, standardize=True)
    cells, size = moons_questions._gap(data)
    assert 0 < moons_questions._mass(data.density.log_prob, cells, size) < moons_questions.RARE
    middle = data.x.mean(0)  # the centre of symmetry, between the two tips
    assert (cells - middle).norm(dim=-1).min() < 0.1


def test_quality_sees_a_wrong_density_and_accepts_the_truth():
    data = pf.data.two_gaussians(10)

    class Truth(torch.nn.Module):
        def log_prob(self, x, context=None):
            return data.density.log_prob(x + self.offset).float()

        def sample(self, n, generator):
            return data.density.sample(n, generator.initial_seed() + 77).float() - self.offset

    flow = Truth()
    flow.offset = 0.0
    right = quality.quality(flow, data.density, 0, 2_000)
    flow.offset = 0.1
    wrong = quality.quality(flow, data.density, 0, 2_000)
    assert abs(right.excess) < 1e-6
    assert right.mmd <= right.mmd_limit
    assert wrong.excess == pytest.approx(1.0, abs=0.1)  # two coordinates, each (.1 / .1)^2 / 2
    assert wrong.mmd > wrong.mmd_limit


def test_a_gan_is_repeated_by_its_seed_and_leaves_the_generator_alone():
    x = torch.randn(100, 2)
    state = torch.random.get_rng_state()
    first, _ = gan.train_gan(x, num_steps=3, seed=1)
    second, _ = gan.train_gan(x, num_steps=3, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first(x), second(x))


def test_a_window_is_square_and_holds_the_points():
    left, right, bottom, top = pictures.window(torch.tensor([[0.0, 0.0], [2.0, 1.0]]))
    assert right - left == pytest.approx(top - bottom)
    assert left < 0 < 2 < right
    assert bottom < 0 < 1 < top


def test_a_grid_of_log_densities_is_cut_at_the_floor():
    values = pictures.on_grid(lambda x: torch.where(x[..., 0] > 0, 0.0, -math.inf), (-1.0, 1.0, -1.0, 1.0), 10)
    assert values.shape == (10, 10)
    assert set(values.flatten().tolist()) == {0.0, pictures.FLOOR}


def test_a_quick_run_answers_no_question(record):
    record.quick = True
    record.answer("Is it?", "Yes, by 3 nats.")
    record.finding("It rises by 3 nats.")
    record.finish()
    for page in ("README.md", "report.html"):
        text = (record.out / page).read_text()
        assert "by 3 nats" not in text
        assert "answers nothing" in text
    record.quick = False
    record.answer("Is it?", "Yes, by 3 nats.")
    assert record.blocks[-1].text == "Yes, by 3 nats."


def test_a_run_of_so_many_minutes_has_one_seed_and_a_share_of_every_length(record, monkeypatch):
    asked = []
    history = SimpleNamespace(steps=1, seconds=0.1, stopped_because="done")
    monkeypatch.setattr("pushforward.training.fit", lambda model, *rows, **options: asked.append(options) or history)
    record.minutes, record.share = 3.0, 0.25
    assert record.seeds(5) == [3]
    model = torch.nn.Linear(1, 1)
    for options in ({"num_steps": 100}, {"epochs": 2}, {"max_seconds": 60.0}, {"epochs": 40, "max_seconds": None}):
        record.fit(str(options), model, quick={"num_steps": 1}, batch_size=8, resumable=True, **options)
    lengths = [{name: value for name, value in one.items() if name not in ("progress", "batch_size")} for one in asked]
    assert lengths == [{"num_steps": 25}, {"epochs": 1}, {"max_seconds": 15.0}, {"epochs": 10, "max_seconds": None}]
    record.finish()
    assert "one seed, and trainings of 25 % of the length" in (record.out / "README.md").read_text()
    assert record.to_dict()["command"] == "pushforward study layers --minutes 3 --seed 3"


@pytest.mark.parametrize("form", [{}, {"minutes": 3.0, "share": 0.25}])
def test_a_training_as_long_as_another_takes_the_time_that_the_other_took(record, monkeypatch, form):
    asked = []
    history = SimpleNamespace(steps=1, seconds=0.1, stopped_because="done")
    monkeypatch.setattr("pushforward.training.fit", lambda model, *rows, **options: asked.append(options) or history)
    for name, value in form.items():
        setattr(record, name, value)
    record.fit("as long", torch.nn.Linear(1, 1), quick={"num_steps": 1}, equal_seconds=15.0)
    record.quick, record.minutes = True, None
    record.fit("quick", torch.nn.Linear(1, 1), quick={"num_steps": 1}, equal_seconds=15.0)
    assert asked == [{"progress": False, "max_seconds": 15.0}, {"progress": False, "num_steps": 1}]


def test_a_shorter_run_of_full_trainings_says_100_percent(record):
    assert record.shorter == ""
    record.minutes, record.share = 8.0, 1.0
    record.finish()
    for page in ("README.md", "report.html"):
        assert "trainings of 100 % of the length" in (record.out / page).read_text()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sweep", {"minutes": 3}, "the study sweep has no form of a few minutes"),
        ("mnist-8x8", {"minutes": 1}, "the study mnist-8x8 takes 3.0 minutes or more; got 1"),
        ("two-moons", {"minutes": 3, "quick": True}, "--quick and --minutes exclude each other"),
        ("two-moons", {"minutes": 0}, "minutes must be"),
    ],
)
def test_minutes_that_a_study_cannot_keep_are_refused(tmp_path, name, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        studies.run(name, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
