"""A run without a page to watch it: trained to its step, and kept as a page without a server."""

import multiprocessing
import threading
from typing import Any
from urllib.parse import parse_qsl

from pushforward.errors import InputError, RunError
from pushforward.play import frames
from pushforward.play.lessons import LESSONS
from pushforward.play.look import Look
from pushforward.play.settings import Settings
from pushforward.play.trainer import Trainer

STEP = 2000  # at which a run is kept that names none


def read_state(text: str, lesson: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings and look from what stands behind the ? of a page's address, or those of a lesson.

    Raises:
        InputError: If a name is unknown or a value out of range.
    """
    given = parse_qsl(text.rpartition("?")[2], keep_blank_values=True)
    lesson = dict(given).get("lesson", lesson)
    if lesson and lesson not in LESSONS:
        raise InputError(f'there is no lesson "{lesson}" (lessons: {", ".join(LESSONS)})')
    given = [(name, value) for name, value in given if name != "lesson"]
    settings: dict[str, Any] = dict(LESSONS[lesson].settings) if lesson and not given else {}
    look: dict[str, Any] = dict(LESSONS[lesson].look) if lesson and not given else {}
    for name, value in given:
        try:
            if name in ("follow", "square"):
                look[name] = [float(part) for part in value.split(",")]
            elif name == "temperature":
                look[name] = float(value)
            elif name == "layers_used":
                look["layers"] = int(value)
            else:
                first = getattr(Settings, name, "")
                settings[name] = value if isinstance(first, str) else float(value)
        except ValueError as error:
            raise InputError(f"{name} must be of numbers; got {value!r}") from error
    Settings.read(settings)
    Look.read(look)
    return settings, look


def recorded_page(settings: dict[str, Any], look: dict[str, Any]) -> bytes:
    """Train to the step of the settings and return the page of the run.

    Raises:
        InputError: If the settings or the look are not valid.
        RunError: If the training fails.
    """
    connection, theirs = multiprocessing.Pipe()
    work = threading.Thread(target=Trainer(theirs).serve)
    work.start()
    try:
        step = min(int(settings.get("step", STEP)), Settings.read(settings).num_steps)
        connection.send({"do": "begin", "settings": {**settings, "step": step}})
        connection.send({"do": "look", "look": look})
        while True:
            try:
                head, _, raw = frames.unpacked(connection.recv_bytes())
            except EOFError as error:
                raise RunError("the run has ended without a page") from error
            if head["kind"] in ("error", "refused"):
                raise (RunError if head["kind"] == "error" else InputError)(head["text"])
            if head["kind"] == "file":
                return raw
            if head["kind"] == "frame":
                done = head["step"] >= step and not head["running"]
                connection.send({"do": "page"} if done else {"do": "look", "look": look})
    finally:
        connection.close()
        work.join()
