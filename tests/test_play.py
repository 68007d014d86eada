"""The page's training: what a visitor sets is what is trained, a look changes nothing, and its numbers add up."""

import base64
import itertools
import json
import multiprocessing
import re
import threading
import time
from collections import Counter
from dataclasses import replace
from importlib.resources import files

import pytest
import torch

import pushforward as pf
from pushforward.__main__ import main
from pushforward.errors import InputError, RunError
from pushforward.play import frames, views
from pushforward.play.film import Thinned
from pushforward.play.lessons import LESSONS
from pushforward.play.look import Look
from pushforward.play.model import flow_of, loss_of, script, training
from pushforward.play.pace import Pace
from pushforward.play.page import catalogue
from pushforward.play.points import Dropped, points_of
from pushforward.play.settings import CHOICES, RANGES, RECIPES, Settings, packed, unpacked
from pushforward.play.trainer import Trainer

SMALL = {"num_points": 2000, "layers": 2, "width": 8, "num_steps": 60}


class Page:
    """The other end of a trainer."""

    def __init__(self):
        self.connection, theirs = multiprocessing.Pipe()
        self.thread = threading.Thread(target=Trainer(theirs).serve)
        self.thread.start()

    def say(self, do, **more):
        self.connection.send({"do": do, **more})

    def hear(self, *kinds):
        while True:
            assert self.connection.poll(20), f"no {kinds} came"
            head, arrays, raw = frames.unpacked(self.connection.recv_bytes())
            if head["kind"] in kinds:
                return head, arrays, raw

    def frame(self, **look):
        self.say("look", look=look)
        return self.hear("frame")

    def begin(self, playing=False, **settings):
        self.say("begin", settings={**SMALL, **settings}, playing=playing)
        self.hear("opening")

    def frame_at(self, step, **look):
        while True:
            found = self.frame(**look)
            if found[0]["step"] == step and not found[0]["running"]:
                return found


@pytest.fixture
def page():
    page = Page()
    yield page
    page.connection.close()
    page.thread.join(10)
    assert not page.thread.is_alive()


# ---- settings and script


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("mixing", ["swap", "none", "orthogonal"])
def test_the_script_trains_what_the_page_trains(recipe, mixing, capsys):
    settings = Settings.read({**SMALL, "recipe": recipe, "mixing": mixing, "step": 7})
    points, flow = points_of(settings), flow_of(settings)
    options = {**training(settings), "progress": False}
    pf.fit(flow, points.train, loss=loss_of(settings), watch=lambda step: 7 - step, **options)
    exec(script(settings), {})
    assert f"held-out NLL: {pf.metrics.nll(flow, points.test).mean:.4f} nats" in capsys.readouterr().out


@pytest.mark.parametrize(
    "given",
    [
        {"base": "mixture"},
        {"data": "probai-boomerang", "seed": 3},
        {"data": "drawn", "drawn": packed(pf.data.hexagon(100).x)},
        {"data": "circles", "noise": 0.2, "num_points": 500},
    ],
)
def test_the_script_has_the_same_points(given, capsys):
    settings = Settings.read({**SMALL, **given, "step": 60})
    points, flow = points_of(settings), flow_of(settings)
    pf.fit(flow, points.train, progress=False, **training(settings))
    exec(script(settings), {})
    assert f"held-out NLL: {pf.metrics.nll(flow, points.test).mean:.4f} nats" in capsys.readouterr().out


def test_a_script_is_about_ten_lines():
    assert script(Settings()).count("\n") <= 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": 17}, "layers must be from 1 to 16; got 17"),
        ({"width": 2.5}, "width must be a whole number; got 2.5"),
        ({"num_points": True}, "num_points must be a number"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number"),
        ({"recipe": "glow"}, "recipe must be one of nice, realnvp"),
        ({"colour": 1}, "there is no setting 'colour'"),
        ({"drawn": "?"}, "drawn points must be base64"),
        ([], "settings must be names with values"),
    ],
)
def test_wrong_settings_are_named(given, message):
    with pytest.raises(InputError, match=message):
        Settings.read(given)


def test_drawn_points_survive_the_address():
    x = pf.data.two_moons(300).x
    assert (unpacked(packed(x)) - x).abs().max() <= 1 / 2048
    with pytest.raises(InputError, match="at most 2,000 points"):
        unpacked(packed(torch.zeros(2001, 2)))


def test_too_few_points_and_points_on_a_line_are_refused():
    with pytest.raises(InputError, match="3 points are too few, 20 are needed"):
        points_of(Settings.read({"data": "drawn", "drawn": packed(torch.randn(3, 2))}))
    with pytest.raises(InputError, match="all values of x2 are the same"):
        points_of(Settings.read({"data": "drawn", "drawn": packed(torch.randn(30, 1) * torch.tensor([1.0, 0.0]))}))
    with pytest.raises(InputError, match="choose a file"):
        points_of(Settings.read({"data": "file"}))


def test_the_catalogue_names_every_setting():
    named = catalogue()
    assert set(named["first"]) == {*CHOICES, *RANGES, "drawn"}
    assert set(named["lessons"]) == set(LESSONS)


# ---- the trainer


def test_a_single_step_is_one_step(page):
    page.begin()
    assert page.frame_at(0)[0]["curve"][-1]["step"] == 0
    for step in (1, 2, 3):
        page.say("step")
        assert page.frame_at(step)[0]["step"] == step


def test_an_epoch_ends_with_the_data(page):
    page.begin(batch_size=256)
    page.say("epoch")
    assert page.frame_at(8)[0]["step"] == 8  # 2,000 rows


def test_a_run_that_is_looked_at_is_the_plain_run(page):
    page.begin(playing=True)
    last = page.frame_at(60, follow=[0.1, 0.2], square=[-1, 1, -1, 1], temperature=0.5)
    settings = Settings.read(SMALL)
    flow, points = flow_of(settings), points_of(settings)
    pf.fit(flow, points.train, progress=False, **training(settings))
    assert last[0]["ended"]
    assert last[0]["curve"][-1]["test"] == pf.metrics.nll(flow, points.test).mean


def test_an_address_leads_back_to_the_same_step(page):
    page.begin()
    for _ in range(40):
        page.say("step")
    stepped = page.frame_at(40)[0]
    page.begin(step=40)
    head, arrays, _ = page.frame_at(40)
    page.begin()
    page.begin(step=40)
    again, arrays_again, _ = page.frame_at(40)
    assert head["curve"][-1] == again["curve"][-1] == stepped["curve"][-1]
    assert torch.equal(arrays["samples"], arrays_again["samples"])


def test_what_cannot_be_set_is_refused_and_the_run_goes_on(page):
    page.begin(step=5)
    page.frame_at(5)
    page.say("begin", settings={"layers": 99})
    assert "layers must be from 1 to 16" in page.hear("refused")[0]["text"]
    page.say("step")
    assert page.frame_at(6)[0]["step"] == 6


def test_nothing_is_taken_along_before_a_run_has_begun(page):
    for task in ("script", "model", "page", "animation"):
        page.say(task)
        assert "has not begun yet" in page.hear("refused")[0]["text"]


def test_a_run_that_is_not_watched_takes_no_step_until_it_is(page):
    page.begin(num_steps=20_000, step=20_000)
    page.say("leave")
    page.say("script")  # which is answered after that
    first = page.hear("file")[2]  # which names the step
    time.sleep(0.3)
    page.say("script")
    assert page.hear("file")[2] == first
    assert page.frame_at(20_000)[0]["step"] == 20_000


def test_the_names_of_a_files_columns_and_a_warning_of_points_far_out_come_with_the_run(page):
    rows = torch.cat([torch.randn(100, 2), torch.full((1, 2), 1e6)]).numpy().tobytes()
    page.say("file", settings={**SMALL, "data": "file"}, rows=rows, names=("speed", "height"))
    head = page.hear("opening")[0]
    assert head["axes"] == ["speed", "height"]
    assert "as most: 1 of 101" in head["note"]
    page.begin()
    assert page.frame()[0]["step"] == 0


def test_a_run_that_follows_one_that_is_done_is_shown_to_who_asked_before_it_began(page):
    page.begin(playing=True)
    while not page.frame()[0]["ended"]:
        pass
    page.say("begin", settings={**SMALL, "seed": 5})
    page.say("look", look={"temperature": 0.5})
    assert page.connection.poll(20)
    assert page.hear("opening")[0]["settings"]["seed"] == 5
    assert page.hear("frame")[0]["step"] == 0


def test_the_last_frame_of_a_paced_run_comes_to_who_asks_once(page):
    page.begin(num_steps=10)
    page.say("look", look={})
    page.hear("frame")
    page.say("look", look={})
    page.say("play", speed=100)
    while not page.hear("frame")[0]["ended"]:
        page.say("look", look={})
    page.say("step")
    assert "has ended" in page.hear("refused")[0]["text"]


def test_an_experiment_that_is_cut_off_says_that_it_is_done(page):
    page.begin(step=5)
    page.say("show", lesson="without-swap")
    page.hear("answer")
    for task in ("step", "animation"):
        page.say(task)
    page.say("begin", settings={**SMALL, "seed": 3}, run=7)
    said = []
    while not (heard := page.hear("answer", "refused")[0]).get("done"):
        said += [heard["text"]] if heard["kind"] == "refused" else []
    assert ["experiment" in said[0], "moment" in said[1]] == [True, True]
    assert page.hear("opening")[0]["run"] == 7
    head = page.frame_at(0)[0]
    assert head["run"] == 7
    settings = Settings.read({**SMALL, "seed": 3})
    points, flow = points_of(settings), flow_of(settings)
    flow.initialize(points.train)
    assert head["curve"][0]["test"] == pytest.approx(pf.metrics.nll(flow, points.test).mean, abs=1e-6)


def test_an_experiment_that_fails_says_so_and_the_page_goes_on(page, monkeypatch):
    def fails():
        yield "it begins"
        raise RunError("training diverged")

    monkeypatch.setitem(LESSONS, "twice", replace(LESSONS["twice"], show=fails))
    page.begin(step=5)
    page.say("show", lesson="twice")
    assert page.hear("error")[0]["text"] == "training diverged"
    assert page.frame_at(5)[0]["step"] == 5


def test_steps_on_the_way_to_a_step_are_taken_after_it(page):
    page.begin(step=40, num_steps=1000)
    page.say("step")
    assert page.frame_at(41)[0]["goal"] == 41


def test_a_file_that_cannot_be_learned_leaves_the_one_before(page):
    rows = torch.randn(100, 2).numpy().tobytes()
    page.say("file", settings={**SMALL, "data": "file"}, rows=rows, names=("a", "b"))
    page.hear("opening")
    page.say("file", settings={**SMALL, "data": "file"}, rows=rows[:40], names=("c", "d"))
    assert "too few" in page.hear("refused")[0]["text"]
    page.begin(data="file")
    assert page.frame()[0]["step"] == 0


def test_points_are_kept_at_equal_distances_with_the_first_and_the_last():
    kept = Thinned(8)
    for step in range(0, 100_001, 50):
        kept.add(step, step)
    assert (kept.items[0], kept.items[-1]) == (0, 100_000)
    gaps = [after - before for before, after in itertools.pairwise(kept.items[:-1])]
    assert 4 <= len(kept.items) <= 8
    assert max(gaps) <= 3 * min(gaps)


def test_single_steps_make_no_chunk_larger_and_slow_steps_are_not_made_up_for(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    pace = Pace()
    for _ in range(15):
        pace.take(1)
        pace.came(pace.steps_now(0.0))
    pace.play(0.0)
    assert pace.steps_now(0.0) <= 2
    pace = Pace()
    pace.play(100.0)
    taken = []
    for _ in range(50):
        now[0] += 0.005
        steps = pace.steps_now(0.0)
        now[0] += 0.1 * steps  # a step takes a tenth of a second
        pace.came(steps)
        taken.append(steps)
    assert max(taken) <= 2


def test_two_columns_of_different_scale_fill_the_window():
    x = torch.randn(200, 2) * torch.tensor([10.0, 20_000.0])
    left, right, bottom, top = points_of(Settings(data="file"), Dropped(x, ("a", "b"))).window
    assert 40 < right - left < 100
    assert 80_000 < top - bottom < 200_000


def test_a_run_that_cannot_start_says_why(page):
    page.begin(base="box", data="two-gaussians")
    assert "have no finite loss before training" in page.hear("error")[0]["text"]


def test_a_box_is_shown_at_any_temperature(page):
    page.begin(base="box", step=3)
    assert page.frame_at(3, temperature=0.5)[0]["step"] == 3


def test_a_lesson_answers_and_the_page_goes_on(page):
    page.begin(step=5)
    page.say("show", lesson="without-swap")
    sentences = []
    while True:
        head = page.hear("answer")[0]
        sentences += [head["sentence"]] if head["sentence"] else []
        if head["done"]:
            break
    assert len(sentences) == 3
    assert page.frame_at(5)[0]["step"] == 5


def test_what_is_taken_along(page):
    page.begin(step=30)
    page.frame_at(30)
    page.say("page")
    text = page.hear("file")[2].decode()
    assert "<script src" not in text
    assert "default-src 'none'" in text
    page.say("animation")
    assert page.hear("file")[2].startswith(b"GIF89a")
    page.say("script")
    assert b"watch=lambda step: 30 - step" in page.hear("file")[2]


# ---- what is shown


@pytest.mark.parametrize("recipe", RECIPES)
def test_log_dets_add_up_and_mass_is_kept(recipe):
    settings = Settings.read({**SMALL, "recipe": recipe, "mixing": "orthogonal", "num_steps": 10})
    points, flow = points_of(settings), flow_of(settings)
    pf.fit(flow, points.train, loss=loss_of(settings), progress=False, **training(settings))
    look = Look.read({"follow": [0.4, 0.3], "square": [-0.5, 0.8, 0.0, 1.0]})
    with torch.no_grad():
        arrays, texts = views.frame(flow, points, look, settings)
        direct = flow.log_prob(torch.tensor([[0.4, 0.3]])).item()
    followed, square = texts["followed"], texts["square"]
    assert followed["base"] + sum(followed["log_dets"]) == pytest.approx(direct, abs=1e-4)
    assert len(square["masses"]) == len(texts["names"]) + 1 == len(arrays["grids"])
    assert max(square["masses"]) - min(square["masses"]) < 0.01
    assert square["areas"][0] == pytest.approx(1.3)
    # The area after the first step is the integral of exp(log_det) over the square: Standardize's is constant.
    first = torch.tensor(followed["log_dets"][0]).exp().item()
    assert square["areas"][1] / square["areas"][0] == pytest.approx(first, rel=1e-4)


def test_mixing_is_a_step_of_its_own_and_steps_agree_with_the_flows():
    flow = flow_of(Settings.read({"mixing": "lu", "layers": 3}))
    x = pf.data.two_moons(10).x
    flow.initialize(x)
    steps = views.steps_apart(flow, x)
    assert [step.name for step in steps] == ["standardize", "layer 1", "mix", "layer 2", "mix", "layer 3"]
    torch.testing.assert_close(steps[-1].value, flow.encode(x))


def test_layers_left_out_are_those_of_from_base():
    settings = Settings.read({**SMALL, "num_steps": 20})
    points, flow = points_of(settings), flow_of(settings)
    pf.fit(flow, points.train, progress=False, **training(settings))
    with torch.no_grad():
        density = views.frame(flow, points, Look.read({"layers": 1}), settings)[0]["density"]
        expected = flow.from_base(1).log_prob(views.pixels(points.window, views.PIXELS).flatten(0, 1))
    assert torch.equal(density.flatten(), expected)


def test_messages_come_apart_as_they_were_put_together():
    values = {"x": float("inf"), "y": [1, {"z": float("nan")}]}
    message = frames.packed("frame", {"a": torch.arange(6.0).reshape(2, 3)}, b"rest", **values)
    head, arrays, raw = frames.unpacked(message)
    assert head["x"] is None
    assert head["y"] == [1, {"z": None}]
    assert torch.equal(arrays["a"], torch.arange(6.0).reshape(2, 3))
    assert raw == b"rest"


def test_no_two_modules_of_the_page_name_one_thing():
    # `export.page` puts them into one.
    names = []
    for file in (files("pushforward.play") / "static").iterdir():
        if file.name.endswith(".js"):
            names += re.findall(r"^(?:export )?(?:const|let|function|class) (\w+)", file.read_text(), re.MULTILINE)
    assert len(names) > 40
    assert [name for name, number in Counter(names).items() if number > 1] == []


# ---- the command


def test_a_run_is_written_as_a_page(tmp_path, capsys):
    file = tmp_path / "lecture.html"
    state = "data=hexagon&num_points=1000&layers=2&width=8&step=20&square=0,1,0,1"
    assert main(["play", "--state", state, "--export", str(file)]) == 0
    recorded = json.loads(re.search(r'id="recording">(.*?)</script>', file.read_text())[1])
    head, _, _ = frames.unpacked(base64.b64decode(recorded["messages"][-1]))
    assert head["step"] == 20
    assert len(head["square"]["masses"]) == 4
    assert main(["play", "--state", state, "--export", str(file)]) == 2
    assert "exists already (--overwrite replaces it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lesson", "brige"], 'there is no lesson "brige" (lessons: area, '),
        (["--state", "layers=99"], "layers must be from 1 to 16; got 99"),
        (["--state", "follow=here"], "follow must be of numbers; got 'here'"),
        (["--state", "colour=red"], "there is no setting 'colour'"),
        (["--port", "70000"], "--port must be from 0 to 65,535; got 70000"),
    ],
)
def test_wrong_options_are_refused(options, message, capsys):
    assert main(["play", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_run_is_exported_to_its_last_step_and_a_pages_whole_address_is_a_state(tmp_path):
    file = tmp_path / "run.html"
    state = "http://127.0.0.1:80/?lesson=twice&num_steps=20&num_points=1000&layers=1&width=4&step=999999"
    assert main(["play", "--state", state, "--export", str(file)]) == 0
    assert file.exists()


@pytest.mark.parametrize(
    ("state", "says"),
    [("square=1,0,0,1", "square"), ("temperature=-1", "temperature"), ("lesson=nonsense", "no lesson"), ("x=1", "x")],
)
def test_a_state_that_cannot_be_is_refused_before_anything_trains(state, says, tmp_path, capsys):
    assert main(["play", "--state", state, "--export", str(tmp_path / "run.html")]) == 2
    assert says in capsys.readouterr().err
    assert main(["play", "--export", str(tmp_path / "no" / "run.html")]) == 2
    assert "no folder" in capsys.readouterr().err
