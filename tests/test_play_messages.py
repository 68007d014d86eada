"""Messages of a page of `pushforward play`: 10,000 mutated ones, none of which may end a run."""

import json
import math
import multiprocessing
import random
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from pushforward.errors import InputError
from pushforward.play import frames
from pushforward.play.lessons import LESSONS
from pushforward.play.look import Look
from pushforward.play.settings import MOST_DRAWN, RANGES, Settings, packed, unpacked
from pushforward.play.trainer import Trainer

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import torch

from pushforward.play.server import read_message

DRAWN = packed(torch.randn(60, 2, generator=torch.Generator().manual_seed(0)))
VALID = [
    {"do": "look", "look": {"temperature": 0.7, "layers": 2, "follow": [0.5, -1.0], "square": [-1, 1, -0.5, 0.5]}},
    {"do": "look", "look": {}},
    {"do": "play", "speed": 100},
    {"do": "play", "speed": 0},
    {"do": "pause"},
    {"do": "step"},
    {"do": "script"},
    {"do": "model"},
    {"do": "show", "lesson": "nothing"},
    {"do": "begin", "settings": {"data": "drawn", "drawn": DRAWN, "layers": 1, "width": 2, "recipe": "realnvp"}},
    {"do": "begin", "settings": {"data": "two-moons", "num_points": 200, "layers": 2, "width": 4, "num_steps": 20}},
    {"do": "begin", "settings": {"noise": 0.1, "seed": 3, "num_points": 300, "base": "mixture"}, "playing": True},
]
ODD = [
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e-320, 1e308, 10**400, -(10**400), 2**31, 2**63, math.nan, math.inf,
    -math.inf, "", "x", "nsf", "\ud800", "\x00", "é" * 50, "A" * 5000, [], {}, [[]], [1, 2], [1, 1, 1, 1], {"a": 1},
    [None] * 4, "__class__", "../../etc/passwd", "0" * 21, [10**400, 1], ["1", "2"],
]  # fmt: skip
NAMES = ["speed", "settings", "look", "lesson", "playing", "rows", "do", *RANGES]
NOISE = ["", "\x00", '"', "{", "]", "9", "e", "\\u", ",", "-", "é"]


def mutated(rng, value):
    """Return a message with one of its parts changed, left out, or added to."""
    if isinstance(value, dict) and value and rng.random() < 0.98:
        found, name = dict(value), rng.choice(list(value))
        way = rng.random()
        if way < 0.45:
            found[name] = mutated(rng, value[name])
        elif way < 0.6:
            del found[name]
        else:
            found[rng.choice(NAMES)] = rng.choice(ODD)
        return found
    if isinstance(value, list) and value and rng.random() < 0.6:
        found = list(value)
        found[rng.randrange(len(found))] = rng.choice(ODD)
        return found
    if isinstance(value, (int, float)) and abs(value) < 1e300 and rng.random() < 0.3:
        return value * rng.choice([-1, 0.1, 10, 1e9])
    return rng.choice(ODD)


def texts(number, seed):
    """Return mutated messages as text, some of whose characters are changed too."""
    rng = random.Random(seed)
    for _ in range(number):
        message = rng.choice(VALID)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            message = mutated(rng, message)
        text = json.dumps(message)
        for _ in range(rng.choice([0, 0, 0, 0, 0, 1, 3])):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(NOISE) + text[at + rng.choice([0, 1]) :]
        yield text


def read(text):
    """Return a message that was let through, or None; what refuses it can be told to the page."""
    try:
        return read_message(text)
    except InputError as error:
        said = str(error)
    assert 0 < len(said) < 600
    assert frames.packed("refused", text=said)
    return None


def is_small(message):
    """Return whether a run of these settings is quick to begin, so that thousands can be."""
    settings = Settings.read(message["settings"]) if "settings" in message else Settings(num_points=100)
    few = settings.num_points <= 1000 or settings.data == "drawn"
    return few and settings.layers <= 2 and settings.width <= 8 and settings.step == 0


class Run:
    """A trainer on a thread, and a listener that keeps the kinds of its answers."""

    def __init__(self):
        self.connection, theirs = multiprocessing.Pipe()
        self.failures, self.heard, self.seen, self.over = [], [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.train, args=(theirs,)), threading.Thread(target=self.listen)]
        for thread in self.threads:
            thread.start()

    def train(self, connection):
        try:
            Trainer(connection).serve()
        except BaseException as error:
            self.failures.append(error)
        finally:
            connection.close()

    def listen(self):
        with suppress(EOFError, OSError):
            while not self.over.is_set():
                if self.connection.poll(0.05):
                    self.heard.append(frames.unpacked(self.connection.recv_bytes())[0]["kind"])

    def wait_for(self, *kinds):
        """Wait for one more message of these kinds than there were when the one before had been waited for."""
        end = time.monotonic() + 30
        while not set(kinds).intersection(self.heard[self.seen :]) and not self.failures and time.monotonic() < end:
            time.sleep(0.001)
        self.seen = len(self.heard)

    def end(self):
        self.over.set()
        self.threads[1].join()
        self.connection.close()
        self.threads[0].join(60)


@pytest.fixture
def run():
    one = Run()
    yield one
    one.end()
    assert one.failures == []


def test_ten_thousand_mutated_messages_raise_input_error_alone_and_no_run_ends(run, monkeypatch):
    for name, lesson in LESSONS.items():  # without the seconds that experiments take
        monkeypatch.setitem(LESSONS, name, replace(lesson, show=lambda: iter(("one", "two"))))
    run.connection.send(read_message(json.dumps(VALID[9])))
    accepted, begun = 0, 0
    for text in texts(10_000, seed=1):
        message = read(text)
        if message is None:
            continue
        accepted += 1
        if message["do"] == "begin":
            begun += 1
            if begun > 150 or not is_small(message):  # it takes longer than the others
                continue
        run.connection.send(message)
        if message["do"] == "begin":
            run.wait_for("opening", "error", "refused")
        assert run.failures == []
    run.connection.send({"do": "begin", "settings": {"data": "file"}})  # refused: there is none
    run.connection.send({"do": "pause"})
    run.wait_for("refused")
    run.connection.send({"do": "script"})
    run.wait_for("file")
    run.connection.send({"do": "look", "look": {"temperature": 0.123}})  # the others may have come all at once
    run.wait_for("frame")
    assert 1500 < accepted < 8500  # both ways are taken
    assert {"opening", "frame", "file", "refused"} <= set(run.heard)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "1", '"look"', "{}", '{"do": 1}', '{"do": ["look"]}', '{"do": "file", "rows": "x"}',
     '{"do": "end"}', '{"do": "_run"}', "[" * 60_000, '{"do": ' * 10_000,
     '{"do": "begin"}', '{"do": "begin", "settings": null}',
     '{"do": "show"}', '{"do": "show", "lesson": []}', '{"do": "play", "speed": NaN}', '{"do": "play", "speed": -1}',
     '{"do": "play", "speed": null}', '{"do": "play", "speed": 1' + "0" * 400 + "}", '{"do": "look", "look": []}',
     '{"do": "look", "look": {"layers": 1' + "0" * 400 + "}}", '{"do": "play", "speed": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_a_message_that_is_none_is_refused_in_words(text):
    with pytest.raises(InputError):
        read_message(text)


def test_what_is_not_known_of_a_message_goes_no_further():
    deep = "[" * 900 + "]" * 900
    found = read_message(f'{{"do": "pause", "rows": {deep}, "settings": {deep}, "x": 1}}')
    assert set(found) == {"do", "playing", "run", "speed"}


@pytest.mark.parametrize("name", RANGES)
def test_every_number_of_the_settings_has_a_least_and_a_most(name):
    low, high = RANGES[name]
    assert getattr(Settings.read({name: high}), name) == high
    for value in (high + 1, high * 1e6, 10**400, -(10**400), -1, low - 1, math.inf, math.nan, "1", [1], None, True):
        with pytest.raises(InputError, match=name):
            Settings.read({name: value})


def test_sizes_are_limited_to_what_a_process_can_bear():
    assert RANGES["layers"][1] <= 16
    assert RANGES["width"][1] <= 128
    assert RANGES["num_points"][1] <= 1_000_000
    assert RANGES["batch_size"][1] <= 4096


def test_drawn_points_are_limited_and_come_back():
    points = (torch.randn(MOST_DRAWN, 2) * 1024).round() / 1024
    assert torch.equal(unpacked(packed(points)), points)
    for text in (packed(torch.zeros(MOST_DRAWN + 1, 2)), "A", "AAAA", "!!!!!!!!", "é" * 8, "A" * 7, "=" * 8):
        with pytest.raises(InputError):
            unpacked(text)


def test_mutated_text_of_drawn_points_is_points_or_refused():
    rng = random.Random(2)
    for _ in range(2000):
        at = rng.randrange(len(DRAWN))
        try:
            points = unpacked(
                DRAWN[:at] + rng.choice(["", "=", "\x00", "é", "/", "+", "_", "AB", "\n"]) + DRAWN[at + 1 :]
            )
        except InputError:
            continue
        assert points.isfinite().all()
        assert len(points) <= MOST_DRAWN


@pytest.mark.parametrize("name", ["temperature", "layers", "follow", "square"])
def test_every_entry_of_a_look_is_checked(name):
    for value in [entry for entry in ODD if entry is not None]:
        try:
            found = getattr(Look.read({name: value}), name)
        except InputError as error:
            found = str(error)
        assert name in found if isinstance(found, str) else found is not None


def test_a_temperature_of_0_is_one_at_which_a_flow_can_be_sampled():
    assert 0 < Look.read({"temperature": 0}).temperature <= 0.01


def test_frames_come_back_and_what_is_not_finite_becomes_null():
    arrays = {"a": torch.tensor([[1.0, math.nan]]), "none": torch.zeros(0, 2)}
    head, found, raw = frames.unpacked(frames.packed("frame", arrays, b"\x00raw", text="\ud800é", list=[math.inf, 1.0]))
    assert head["list"] == [None, 1.0]
    torch.testing.assert_close(found["a"], arrays["a"], equal_nan=True)
    assert found["none"].shape == (0, 2)
    assert raw == b"\x00raw"
