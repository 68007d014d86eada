"""The limits of the sessions of `pushforward play`, with processes that only wait."""

import asyncio
import multiprocessing
import os
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from pushforward.play import server, sessions
from pushforward.play.doorkeeper import Doorkeeper


class Loop:
    def call_soon_threadsafe(self, work, *arguments):
        pass


@pytest.fixture
def named(monkeypatch):
    """Return a server's sessions, whose processes only wait."""
    monkeypatch.setattr(sessions.multiprocessing, "get_context", lambda kind: Context())
    one = sessions.Sessions(Loop())
    yield one
    one.end_all()


class Waiting:
    def __init__(self, target=None, args=(), daemon=None):
        self.connection = args[0]
        self.killed = False

    def start(self):
        os.set_inheritable(self.connection.fileno(), False)
        self.kept = os.dup(self.connection.fileno())

    def kill(self):
        if not self.killed:
            self.killed = True
            os.close(self.kept)

    def is_alive(self):
        return not self.killed

    def join(self, seconds):
        pass


class Context:
    Process = Waiting
    Pipe = staticmethod(multiprocessing.Pipe)


def test_a_ninth_session_is_refused_while_all_are_watched_and_replaces_the_one_left_longest_ago(named):
    assert sessions.MOST_SESSIONS == 8
    eight = [named.named(f"session{number}x") for number in range(8)]
    assert named.named("session0x") is eight[0]
    receivers = [lambda message, number=number: None for number in range(8)]
    for session, receiver in zip(eight, receivers, strict=True):
        session.watch(receiver)
    for _ in range(2):
        named.prepare()
        with pytest.raises(server.InputError, match="8 pages"):
            named.named("sessionnine")
    eight[3].end()
    assert named.named("sessionnine") not in eight
    for number in (5, 2):
        eight[number].leave(receivers[number])
    named.named("sessionnine").watch(receivers[0])
    assert named.named("sessionten") not in eight
    assert [session.alive for session in eight] == [True, True, True, False, True, False, True, True]


def test_only_a_session_that_is_watched_takes_a_file(named):
    named.named("sessionone")
    for name in ("sessionone", "sessiontwo"):
        with pytest.raises(server.InputError, match="reload"):
            named.open(name)
    named.named("sessionone").watch(lambda message: None)
    assert named.open("sessionone").alive


def test_a_session_ends_ten_minutes_after_its_page_has_gone(named):
    assert sessions.KEPT_SECONDS == 600
    session, got = named.named("sessionone"), []
    session.watch(got.append)
    session.left -= 10_000
    named.end_forgotten()
    assert session.alive  # it is watched
    session.leave(session.receiver)
    session.left = time.monotonic() - 599
    named.end_forgotten()
    assert session.alive
    session.left = time.monotonic() - 601
    named.end_forgotten()
    assert not session.alive
    assert named.named("sessionone") is not session


def test_forgotten_sessions_are_looked_for_in_time(named, monkeypatch):
    monkeypatch.setattr(sessions, "LOOK_SECONDS", 0.01)
    session = named.named("sessionone")
    session.left -= 601

    async def wait():
        task = asyncio.create_task(named.end_them_in_time())
        await asyncio.sleep(0.1)
        task.cancel()

    asyncio.run(wait())
    assert not session.alive


def test_a_session_is_as_old_as_its_name(named):
    named._spare.left -= 10_000
    session = named.named("sessionone")
    named.end_forgotten()
    assert session.alive


def test_what_a_busy_process_has_not_heard_is_limited_and_tells_nobody_to_wait(named):
    session = named.named("sessionone")
    began = time.monotonic()
    for number in range(5000):
        session.tell({"do": "look", "look": {"follow": [number, 0]}})
    for name in ("begin", "step"):
        with suppress(server.InputError):
            for _ in range(5000):
                session.tell({"do": name, "settings": "x" * 60_000})
        with pytest.raises(server.InputError, match="busy"):
            session.tell({"do": name})
    assert time.monotonic() - began < 5
    assert len(session._unheard) <= sessions.MOST_UNHEARD
    session.watch(got := (lambda message: None))
    session.leave(got)
    assert session._unheard[-1] == {"do": "leave"}  # that is always said


def test_what_nobody_watches_is_not_kept(named):
    session = named.named("sessionone")
    for number in range(100):
        session._got(b"%d" % number)
    got = []
    session.watch(got.append)
    assert got == [b"98", b"99"]
    assert threading.active_count() < 100


def test_what_a_page_does_not_read_is_not_heaped_up():
    class Deaf:
        query_params = {"session": "sessionone"}
        closed = None

        async def accept(self):
            pass

        async def send_bytes(self, message):
            await asyncio.Event().wait()

        receive = lambda self: self.send_bytes(b"")  # noqa: E731

        async def close(self, code):
            self.closed = code

    class One:
        receiver = None
        named = lambda self, name: self  # noqa: E731

        def watch(self, receiver):
            self.receiver = receiver

        def leave(self, receiver):
            self.receiver = None

        def prepare(self):
            pass

    async def flood():
        deaf, one = Deaf(), One()
        deaf.app = SimpleNamespace(state=SimpleNamespace(sessions=one))
        talk = asyncio.create_task(server.talk(deaf))
        await asyncio.sleep(0.01)
        sent = 0
        while one.receiver is not None and sent < 1000:
            one.receiver(b"frame")
            sent += 1
            await asyncio.sleep(0)
        await talk
        return sent, deaf.closed

    sent, code = asyncio.run(flood())
    assert sent <= server.MOST_UNSENT + 5
    assert code == server.TOO_MUCH


@pytest.mark.parametrize("twice", [b"host", b"origin"])
def test_a_header_that_is_there_twice_is_refused_whatever_reads_the_request(twice):
    given = {b"host": b"127.0.0.1:1", b"origin": b"http://127.0.0.1:1", b"cookie": b"pushforward-play-1=token"}
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": list(given.items())}

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def status(scope):
        sent = []

        async def send(message):
            sent.append(message)

        asyncio.run(Doorkeeper(app, port=1, token="token")(scope, None, send))
        return sent[0]["status"]

    assert status(scope) == 200
    assert status({**scope, "headers": [*given.items(), (twice, given[twice])]}) == 403
    assert status({**scope, "path": "//127.0.0.1:1/"}) == 403
