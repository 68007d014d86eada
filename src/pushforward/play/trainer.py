"""The process of one session: it trains with `pf.fit`, looks between steps, and does what the page says."""

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from pushforward.errors import InputError, RunError
from pushforward.model_file import save
from pushforward.play import export, frames, views
from pushforward.play.film import Film
from pushforward.play.lessons import LESSONS
from pushforward.play.look import Look
from pushforward.play.model import flow_of, loss_of, script, training
from pushforward.play.pace import FULL_SPEED, Pace
from pushforward.play.points import Dropped, points_of
from pushforward.play.settings import Settings
from pushforward.training import fit

NAP = 0.005  # seconds between two looks for news while steps are held back
CURVE_OF_A_RETURN = 60  # points of the curve up to the step that an address names


class Trainer:
    """A run that the page starts, holds, steps and changes.

    Args:
        connection: Messages from the page, as dictionaries {"do": ...}; answers, as `frames.packed` makes them.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._look = Look()
        self._file: Dropped | None = None
        self._next: Callable[[], None] | None = None  # what the run in hand gives way to
        self._number = 0  # of the run, as the page counts them
        self._lesson = ""  # whose experiment runs
        self._closed = False
        self._watched = True  # a run without a page takes no steps
        self._wanted = False  # whether the page waits for a frame
        self._frame_seconds = 0.0
        self._settings = Settings()
        self._points, self._flow = points_of(self._settings), flow_of(self._settings)
        self._opening = b""  # the message that began the run in hand
        self._rewind()

    def _rewind(self) -> None:
        self.step, self._ended, self._changed = 0, False, True
        self._pace, self._film = Pace(), Film()
        self._pace.take(self._settings.step)

    def serve(self) -> None:
        """Train one run after another until the page is gone."""
        torch.set_num_threads(1)  # the other processors are the browser's
        try:
            while not self._closed:
                work, self._next = self._next, None
                if work:
                    work()
                else:
                    self._hear(wait=True)
        finally:
            self._connection.close()  # whoever waits for an answer learns that none will come

    def _leaves(self) -> bool:
        """Return whether the run in hand is to be left."""
        return self._closed or self._next is not None

    def _run(self) -> None:
        try:
            self._flow = flow_of(self._settings).eval()
            self._flow.initialize(self._points.train)
            self._send_opening()
            history = fit(
                self._flow, self._points.train, loss=loss_of(self._settings), watch=self._between, progress=False,
                **training(self._settings),
            )  # fmt: skip
        except (InputError, RunError) as error:
            self._say("error", text=str(error))
            self._ended = True
        else:
            self._ended = history.stopped_because == "finished"
        if self._ended:
            self._pace.hold()
        with torch.no_grad():
            while not self._leaves():
                self._show()
                self._hear(wait=True)

    def _show_lesson(self, name: str) -> None:
        """Run an experiment and send its sentences as it finds them; the page's own run begins anew after it."""
        self._rewind()
        self._lesson = name
        self._say("answer", lesson=name, sentence="", done=False)
        try:
            for sentence in LESSONS[name].show():
                self._say("answer", lesson=name, sentence=sentence, done=False)
                self._hear(wait=False)
                if self._leaves():
                    break
        except (InputError, RunError) as error:
            self._say("error", text=str(error))
        self._lesson = ""
        self._say("answer", lesson=name, sentence="", done=True)
        self._next = self._next or self._run

    def _between(self, step: int) -> int | None:
        """Watch the run: answer the page, and say how many steps to take next."""
        self._pace.came(step - self.step)
        self._changed |= step != self.step
        self.step = step
        last = self._film.curve.last
        if last < 0 or step - last >= max(self._settings.step / CURVE_OF_A_RETURN, 1):
            self._add_losses()
            if self._pace.left and (message := self._made()) is not None:
                self._film.frames.add(step, message)
        if step >= self._settings.num_steps:
            self._pace.hold()
            return 1
        self._hear(wait=False)
        while not self._leaves():
            self._show()
            steps = self._pace.steps_now(self._frame_seconds) if self._watched else 0
            if steps:
                return steps
            self._hear(wait=not (self._pace.running and self._watched))
        return None

    def _hear(self, *, wait: bool) -> None:
        """Do what the page has said; wait for it, or only as long as a nap."""
        if not self._connection.poll(None if wait else (NAP if self._pace.running and self._pace.speed else 0)):
            return
        try:
            while True:
                self._do(self._connection.recv())
                if not self._connection.poll(0):
                    return
        except (EOFError, OSError):
            self._closed = True

    def _do(self, message: Mapping[str, Any]) -> None:
        try:
            self._obey(message)
        except (InputError, RunError, ValueError) as error:
            self._say("refused", text=str(error), task=message["do"])

    def _obey(self, message: Mapping[str, Any]) -> None:
        task = message["do"]
        if task in ("play", "step", "epoch") and (self._lesson or self._ended):
            follows = "the experiment runs: the page's own run follows."
            raise InputError(follows if self._lesson else "the run has ended: begin it again.")
        if task == "look":
            self._watched = True
            look = Look.read(message.get("look", {}))
            self._changed |= look != self._look
            self._look, self._wanted = look, True
        elif task == "play":
            self._pace.play(float(message.get("speed", FULL_SPEED)))
            self._changed = True
        elif task == "pause":
            if not self._lesson:
                self._pace.hold()
            self._changed = True
        elif task == "leave":  # what is left to take waits for the next page
            self._watched, self._pace.running, self._changed = False, False, True
        elif task in ("step", "epoch"):
            epoch = -(-len(self._points.train) // self._settings.batch_size)
            on_the_way = self._pace.left
            self._pace.take(on_the_way + (1 if task == "step" else epoch - (self.step + on_the_way) % epoch))
        elif task in ("begin", "file"):
            file = Dropped.of(message["rows"], message["names"]) if task == "file" else self._file
            settings = Settings.read(message["settings"])
            self._points = points_of(settings, file)
            self._file, self._settings, self._next = file, settings, self._run
            self._number = message.get("run", 0)
            self._rewind()
            if message.get("playing", False):
                self._pace.running, self._pace.speed = True, float(message.get("speed", FULL_SPEED))
        elif task == "show":
            if message.get("lesson") not in LESSONS:
                raise InputError(f"there is no lesson {str(message.get('lesson'))[:40]!r}.")
            self._settings = replace(self._settings, step=self.step + self._pace.left)  # where the page goes on
            self._next = partial(self._show_lesson, message["lesson"])
        elif not self._opening or self._leaves() or self._lesson:
            raise InputError("the run has not begun yet: once more in a moment.")
        elif task == "script":
            self._say("file", name="flow.py", raw=script(self._now()).encode())
        elif task == "model":
            with tempfile.TemporaryDirectory() as folder:
                save(self._flow, Path(folder, "model.safetensors"))
                self._say("file", name="model.safetensors", raw=Path(folder, "model.safetensors").read_bytes())
        elif task == "page":
            self._say("file", name="flow.html", raw=export.page(self._opening, self._recorded()).encode())
        elif task == "animation":
            self._say("file", name="flow.gif", raw=export.animation(self._opening, self._recorded()))

    def _now(self) -> Settings:
        return replace(self._settings, step=self.step)

    def _send_opening(self) -> None:
        arrays, texts = views.opening(self._points, self._flow)
        self._opening = frames.packed("opening", arrays, run=self._number, settings=self._settings.changed(), **texts)
        self._send(self._opening)

    def _show(self) -> None:
        """Send a frame if the page waits for one and there is something new."""
        if self._leaves() or not (self._wanted and self._changed):
            return
        began = time.perf_counter()
        self._wanted = self._changed = False
        message = self._made()
        if message is None:
            return
        self._send(message)
        self._film.frames.add(self.step, message)
        self._frame_seconds = time.perf_counter() - began

    def _made(self) -> bytes | None:
        """Return a frame, or say why there is none: what cannot be shown of a flow ends no run."""
        try:
            return self._frame()
        except (InputError, RunError, ValueError) as error:
            self._say("refused", text=str(error))
            return None

    def _frame(self) -> bytes:
        arrays, texts = views.frame(self._flow, self._points, self._look, self._settings)
        self._add_losses()
        return frames.packed(
            "frame", arrays, run=self._number, step=self.step, goal=self.step + self._pace.left,
            running=self._pace.moving, ended=self._ended, curve=self._film.curve.items, **texts,
        )  # fmt: skip

    def _recorded(self) -> list[bytes]:
        """Return the frames that were kept, and the flow as it is."""
        return [*self._film.frames.items, self._frame()]

    def _add_losses(self) -> None:
        if self._film.curve.last != self.step:
            losses = views.losses(self._flow, self._points)
            self._film.curve.add(self.step, {"step": self.step, **losses})

    def _say(self, kind: str, raw: bytes = b"", **texts: Any) -> None:
        self._send(frames.packed(kind, raw=raw, **texts))

    def _send(self, message: bytes) -> None:
        try:
            self._connection.send_bytes(message)
        except (BrokenPipeError, OSError):
            self._closed = True


def train(connection: Connection) -> None:
    """Be the process of a session, until the other end of the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    _warm_up()
    # On a thread of its own, `fit` leaves the signals alone: SIGTERM ends the process at once.
    work = threading.Thread(target=Trainer(connection).serve)
    work.start()
    work.join()


def _warm_up() -> None:
    """Train for a moment: what is imported and built once is there before a visitor comes."""
    settings = Settings(num_points=200, num_steps=10)
    points, flow = points_of(settings), flow_of(settings)
    fit(flow, points.train, progress=False, **training(settings))
    views.frame(flow, points, Look(), settings)
