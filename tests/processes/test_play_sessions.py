"""The sessions of a `pushforward play` that really runs: tabs that come, share, vanish and flood."""

import json
import socket
import sys
import time
from contextlib import suppress

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from play_server import WITHIN, Served, heard, is_running, kill, step_now, tell
from pushforward.play import server, sessions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the processes are found in /proc")
SMALL = {"num_points": 200, "layers": 1, "width": 4, "recipe": "realnvp", "num_steps": 1_000_000}


@pytest.fixture(scope="module")
def servers():
    servers = []
    yield servers
    for one in servers:
        if one.process.returncode is None:
            one.end()


@pytest.fixture
def served(servers):
    """A server that runs: the one that the tests before have left, unless they ended it."""
    if not servers or servers[-1].process.returncode is not None:
        servers.append(Served())
    return servers[-1]


def begin(line, *, playing=False, **settings):
    tell(line, "begin", settings={**SMALL, **settings}, playing=playing, speed=0)
    return heard_opening(line, settings)


def heard_opening(line, settings):
    while True:  # the process has begun a run of its own
        head = heard(line, "opening")
        if settings.items() <= head["settings"].items() and head["settings"].get("num_points") == SMALL["num_points"]:
            return head


def closed_with(line):
    """Return the code with which the server closes."""
    with suppress(ConnectionClosed):
        while True:
            line.recv(timeout=WITHIN)
    return line.protocol.close_rcvd.code


def is_paused(line):
    first = step_now(line)
    time.sleep(0.3)
    return step_now(line) == first


def test_two_sessions_train_independently(served):
    with served.open("sessionone") as one, served.open("sessiontwo") as two:
        begin(one, seed=1, playing=True)
        begin(two, seed=2)
        assert step_now(two) == 0
        tell(two, "step")
        time.sleep(0.3)
        assert step_now(two) == 1
        assert step_now(one) > 1
        tell(one, "pause")
        assert is_paused(one)


def test_a_tab_that_vanishes_leaves_a_paused_session_that_it_finds_again(served):
    with served.open("sessionone") as line:
        begin(line, seed=3, playing=True)
        while step_now(line) == 0:
            time.sleep(0.02)
        line.socket.shutdown(socket.SHUT_RDWR)  # without a farewell
    time.sleep(0.5)
    with served.open("sessionone") as again:
        assert step_now(again) > 0
        assert is_paused(again)


def test_a_second_tab_of_a_session_takes_it_over(served):
    with served.open("sessionone") as one, served.open("sessionone") as two:
        assert closed_with(one) == sessions.TAKEN == 4410  # as connection.js knows it
        begin(two, seed=4)
        assert step_now(two) == 0


@pytest.mark.parametrize("name", ["", "short", "x" * 65, "with%20blank", "..%2f..%2fetc", "%C3%A9" * 8])
def test_a_session_of_an_odd_name_is_refused(served, name):
    with served.open(name) as line:
        assert "8 to 64" in heard(line, "closed")["text"]
        assert closed_with(line) == 4429


def test_a_page_that_says_too_much_is_closed(served):
    with served.open("sessionone") as line:
        with suppress(ConnectionClosed):
            for _ in range(3 * server.MOST_A_SECOND):
                tell(line, "look", look={})
        assert closed_with(line) == server.TOO_MUCH


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("x" * (server.MOST_TEXT + 1), server.TOO_MUCH),
        ("x" * 3 * server.MOST_TEXT, 1009),
        (b"\x00" * 9, server.TOO_MUCH),
    ],
    ids=["long", "longer", "binary"],
)
def test_a_message_of_another_size_or_kind_closes_the_page(served, message, code):
    with served.open("sessionone") as line:
        line.send(message)
        assert closed_with(line) == code


def test_malformed_messages_are_answered_in_words(served):
    with served.open("sessionone") as line:
        for text in (
            "",
            "{",
            "[" * 30_000,
            '{"do": "file", "rows": ""}',
            '{"do": "begin"}',
            '{"do": "show", "lesson": [1]}',
        ):
            line.send(text)
            assert heard(line, "refused")["text"]
        begin(line, seed=6)


def test_a_page_that_does_not_read_does_not_hold_up_the_others(served):
    with socket.socket() as deaf, served.open("sessiontwo") as other:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", served.port))
        deaf.sendall(
            f"GET /socket?session=sessiondeaf HTTP/1.1\r\nHost: {served.host}\r\nOrigin: http://{served.host}\r\n"
            f"Cookie: {served.cookie}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n".encode()
        )
        assert b"101" in deaf.recv(4096)
        for _ in range(150):
            deaf.sendall(Frame(Opcode.TEXT, b'{"do": "model"}').serialize(mask=True))
        began = time.monotonic()
        begin(other, seed=8)
        assert step_now(other) == 0
        assert time.monotonic() - began < 10


def test_an_upload_is_trained_on_and_one_that_cannot_be_is_refused_in_words(served):
    rows = b"speed,height\n" + b"\n".join(b"%d.5,%d" % (i % 7, i % 11) for i in range(100))
    assert served.upload(rows, session="sessionnobodyhas")[0] == 400
    with served.open("sessionone") as line:
        message = json.dumps({"do": "begin", "settings": {**SMALL, "data": "file", "seed": 9}})
        assert served.upload(rows, message=message) == (200, '{"rows":100}')
        head = heard_opening(line, {"data": "file", "seed": 9})
        assert head["num_train"] == 80
        assert head["axes"] == ["speed", "height"]
        for given in ({"message": "{"}, {"message": "[" * 20_000}, {"message": ""}, {"message": '{"do": "play"}'},
                      {"message": '{"do": "begin", "settings": {"layers": 99}}'}, {"name": "a.npz"},
                      {"session": "../.."}):  # fmt: skip
            status, text = served.upload(rows, **given)
            assert status == 400
            assert json.loads(text)["error"]
        status, text = served.upload(b"1,2\n" * 1_500_000)
        assert status == 400
        assert "4 MiB" in text


def test_a_run_that_is_killed_closes_its_page_which_comes_back(served):
    with served.open("sessionone") as line:
        begin(line, playing=True, seed=5)
        killed = served.trainers()  # of this page, and the one that waits for the next page
        for pid in killed:
            kill(pid)
        while any(map(is_running, killed)):
            time.sleep(0.01)
        code = closed_with(line)
    assert code == sessions.ENDED
    assert code not in (4410, 4429)  # which connection.js takes for refusals
    with served.open("sessionone") as again:
        begin(again, seed=5)
        assert step_now(again) == 0


def test_ctrl_c_ends_a_busy_server_with_open_pages_and_a_half_sent_file_at_once(served):
    with served.open("sessionone") as line, socket.create_connection(("127.0.0.1", served.port)) as half:
        begin(line, playing=True)
        head = f"POST /upload?session=sessionone&settings=%7B%7D&name=a.csv HTTP/1.1\r\nHost: {served.host}\r\n"
        head += f"Origin: http://{served.host}\r\nCookie: {served.cookie}\r\nContent-Length: 1000\r\n\r\n1,2\n"
        half.sendall(head.encode())
        time.sleep(0.2)
        seconds, said = served.end()
    assert seconds < 2.5
    assert served.process.returncode == 0
    assert said.strip() == ""  # whatever the tests before have asked of it


def test_runs_notice_that_their_server_has_been_killed(served):
    with served.open("sessionone") as line:
        begin(line, playing=True)
        children = served.children()
        assert served.trainers()
        kill(served.process.pid)
        served.process.communicate()
        end = time.monotonic() + 20
        while any(map(is_running, children)) and time.monotonic() < end:
            time.sleep(0.05)
    assert not any(map(is_running, children))
