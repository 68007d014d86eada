"""The process of one session: it trains with `pf.fit`, looks between steps, and does what the page says."""

import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import InputError, RunError
from pushforward.model_file import save
from pushforward.play import export, frames, views
from pushforward.play.lessons import LESSONS
from pushforward.play.look import Look
from pushforward.play.model import flow_of, loss_of, script, training
from pushforward.play.points import points_of
from pushforward.play.settings import Settings
from pushforward.training import fit

NAP = 0.005  # seconds between two looks for news while steps are held back
CHUNK = 0.05  # seconds of training between two looks at full speed
MOST_CURVE = 400  # points of the curve; beyond, every second one goes
MOST_AT_ONCE = 20_000
MOST_KEPT = 32  # frames for what is taken along
CURVE_OF_A_RETURN = 60  # points of the curve up to the step that an address names
FULL_SPEED = 0.0


class Trainer:
    """A run that the page starts, holds, steps and changes.

    Args:
        connection: Messages from the page, as dictionaries {"do": ...}; answers, as `frames.packed` makes them.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._settings = Settings()
        self._look = Look()
        self._file: Tensor | None = None
        self._points = points_of(self._settings)
        self._wanted = False  # whether the page waits for a frame
        self._changed = True  # whether there is something new for it
        self._begin_anew, self._closed = True, False
        self._lesson = ""  # whose experiment is to be shown before the next run
        self._rewind()

    def _rewind(self) -> None:
        self.step, self._running, self._speed = 0, False, FULL_SPEED
        self._left = 0  # steps to take, whatever the speed
        self._paced, self._paced_from = 0, time.perf_counter()
        self._chunk, self._chunk_began, self._frame_seconds = 1, time.perf_counter(), 0.0
        self._curve: list[dict[str, Any]] = []
        self._kept: list[bytes] = []  # frames for a page without a server and an animation
        self._kept_every, self._kept_step = 1, 0
        self._ended = False

    def serve(self) -> None:
        """Train one run after another until the page is gone."""
        torch.set_num_threads(1)  # the other processors are the browser's
        while not self._closed:
            if self._lesson:
                self._show_lesson()
            elif self._begin_anew:
                self._begin_anew = False
                self._run()
            else:
                self._hear(wait=True)

    def _run(self) -> None:
        settings = self._settings
        try:
            self._flow = flow_of(settings).eval()
            self._flow.initialize(self._points.train)
            self._left, self._changed = settings.step, True
            self._send_opening()
            history = fit(
                self._flow, self._points.train, loss=loss_of(settings), watch=self._between, progress=False,
                **training(settings),
            )  # fmt: skip
        except (InputError, RunError) as error:
            self._say("error", text=str(error))
            self._ended = True
        else:
            self._ended = history.stopped_because == "finished"
        with torch.no_grad():
            while not self._leaves():
                self._hear(wait=True)
                self._show()

    def _leaves(self) -> bool:
        """Return whether the run in hand is to be left."""
        return self._begin_anew or self._closed or bool(self._lesson)

    def _show_lesson(self) -> None:
        """Run an experiment and send its sentences as it finds them; the page's own run begins anew after it."""
        name, self._lesson = self._lesson, ""
        self._say("answer", lesson=name, sentence="", done=False)
        try:
            for sentence in LESSONS[name].show():
                self._say("answer", lesson=name, sentence=sentence, done=False)
                self._hear(wait=False)
                if self._leaves():
                    return
        except (InputError, RunError) as error:
            self._say("error", text=str(error))
        self._say("answer", lesson=name, sentence="", done=True)
        self._rewind()
        self._begin_anew = True

    def _between(self, step: int) -> int | None:
        """Watch the run: answer the page, and say how many steps to take next."""
        trained = time.perf_counter() - self._chunk_began
        self._left = max(self._left - (step - self.step), 0)
        self._changed |= step != self.step
        self.step = step
        if not self._curve or step - self._curve[-1]["step"] >= max(self._settings.step / CURVE_OF_A_RETURN, 1):
            self._record()
            if self._left:
                self._keep(self._frame())
        if step >= self._settings.num_steps:
            self._running, self._left = False, 0
            return 1
        self._hear(wait=False)
        while not self._leaves():
            self._show()
            steps = self._steps_now(trained)
            if steps:
                self._chunk_began = time.perf_counter()
                return steps
            self._hear(wait=not self._running)
        return None

    def _steps_now(self, trained: float) -> int:
        """Return how many steps may be taken now; the last ones took so many seconds."""
        if self._left:
            self._grow(trained)
            return min(self._left, self._chunk)
        if not self._running:
            return 0
        if self._speed == FULL_SPEED:
            self._grow(trained)
            return self._chunk
        due = int((time.perf_counter() - self._paced_from) * self._speed) - self._paced
        if due <= 0:
            return 0
        if due > max(self._speed, 1):  # it cannot keep up: nothing is made up for
            self._paced_from, self._paced, due = time.perf_counter(), 0, 1
        self._paced += due
        return due

    def _grow(self, trained: float) -> None:
        """Take more steps at once where they take little time, beside that of a frame too."""
        aim = max(CHUNK, 2 * self._frame_seconds)
        self._chunk = min(self._chunk * 2, MOST_AT_ONCE) if trained < aim / 2 else self._chunk
        self._chunk = max(self._chunk // 2, 1) if trained > 2 * aim else self._chunk

    def _hear(self, *, wait: bool) -> None:
        """Do what the page has said; wait for it, or only as long as a nap."""
        if not self._connection.poll(None if wait else (NAP if self._running and self._speed else 0)):
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
        except (InputError, RunError) as error:
            self._say("refused", text=str(error))

    def _obey(self, message: Mapping[str, Any]) -> None:
        task = message["do"]
        if task == "look":
            look = Look.read(message.get("look", {}))
            self._changed |= look != self._look
            self._look, self._wanted = look, True
        elif task == "play":
            self._speed = float(message.get("speed", FULL_SPEED))
            self._paced, self._paced_from = 0, time.perf_counter()
            self._running, self._changed = True, True
        elif task == "pause":
            self._running, self._left, self._changed = False, 0, True
        elif task in ("step", "epoch"):
            epoch = -(-len(self._points.train) // self._settings.batch_size)
            self._running = False
            self._left = 1 if task == "step" else epoch - self.step % epoch
        elif task in ("begin", "file"):
            if task == "file":
                self._file = torch.frombuffer(bytearray(message["rows"]), dtype=torch.float32).reshape(-1, 2)
            settings = Settings.read(message["settings"])
            self._points = points_of(settings, self._file)
            self._rewind()
            self._settings, self._begin_anew = settings, True
            self._running = bool(message.get("playing", False))
            self._speed = float(message.get("speed", FULL_SPEED))
        elif task == "show":
            if message.get("lesson") not in LESSONS:
                raise InputError(f"there is no lesson {str(message.get('lesson'))[:40]!r}.")
            self._settings = replace(self._settings, step=self.step + self._left)  # where the page goes on
            self._lesson = message["lesson"]
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
        self._opening = frames.packed("opening", arrays, settings=self._settings.changed(), **texts)
        self._send(self._opening)

    def _show(self) -> None:
        """Send a frame if the page waits for one and there is something new."""
        if not (self._wanted and self._changed):
            return
        began = time.perf_counter()
        self._wanted = self._changed = False
        try:
            message = self._frame()
        except (InputError, RunError, ValueError) as error:  # what cannot be shown of a flow ends no run
            self._say("refused", text=str(error))
            return
        self._send(message)
        self._keep(message)
        self._frame_seconds = time.perf_counter() - began

    def _frame(self) -> bytes:
        arrays, texts = views.frame(self._flow, self._points, self._look, self._settings)
        self._record()
        return frames.packed(
            "frame", arrays, step=self.step, running=self._running or self._left > 0, ended=self._ended,
            curve=self._curve, **texts,
        )  # fmt: skip

    def _keep(self, message: bytes) -> None:
        """Keep a frame now and then: so many in all that a page of them stays small."""
        if self._kept and self.step < self._kept_step + self._kept_every:
            return
        self._kept, self._kept_step = [*self._kept, message], self.step
        if len(self._kept) > MOST_KEPT:
            self._kept, self._kept_every = self._kept[::2], 2 * self._kept_every

    def _recorded(self) -> list[bytes]:
        """Return the frames that were kept, and the flow as it is."""
        return [*self._kept, self._frame()]

    def _record(self) -> None:
        """Add a point to the curve of the losses."""
        if self._curve and self._curve[-1]["step"] == self.step:
            return
        self._curve.append({"step": self.step, **views.losses(self._flow, self._points)})
        if len(self._curve) > MOST_CURVE:
            self._curve = [*self._curve[:-1:2], self._curve[-1]]

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
    # On a thread of its own, `fit` leaves the signals alone: SIGTERM ends the process at once.
    work = threading.Thread(target=Trainer(connection).serve)
    work.start()
    work.join()
