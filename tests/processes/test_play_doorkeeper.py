"""Who is let in by `pushforward play`: raw HTTP and WebSockets, through real sockets."""

import re
import sys
import time

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from websockets.exceptions import InvalidStatus

from play_server import Served
from pushforward.play import server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the processes are found in /proc")


@pytest.fixture(scope="module")
def served():
    one = Served()
    yield one
    seconds, said = one.end()
    assert seconds < 2.5  # a second, on a machine that does other things too
    assert one.token not in said
    assert "Traceback" not in said


def test_the_page_is_served_to_its_host_with_the_token(served):
    status, headers, body = served.ask("/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert b"<script" in body


@pytest.mark.parametrize("name", ["", "localhost"])
def test_the_opened_address_is_answered_with_a_strict_cookie_and_no_token(served, name):
    host = f"{name}:{served.port}" if name else served.host
    status, headers, _ = served.ask(f"/?lesson=a%26b&token={served.token}", host=[host], cookie=())
    assert status == 303
    assert headers["location"] == "/?lesson=a%26b"
    assert headers["set-cookie"] == f"{served.cookie}; path=/; httponly; samesite=strict".lower()


def test_the_browser_is_opened_with_a_ticket_that_serves_once_in_place_of_the_token(tmp_path):
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    served = Served(browser=f"{browser} %s")
    end = time.monotonic() + 30
    while not opened.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    address = opened.read_text().strip()
    place = address.removeprefix(f"http://{served.host}")
    assert place.startswith("/?token=")
    assert served.token not in address
    status, headers, _ = served.ask(place, cookie=())
    assert (status, headers["location"]) == (303, "/")
    assert headers["set-cookie"].startswith(served.cookie.lower())
    assert served.ask(place, cookie=())[0] == 401
    assert served.ask(place)[0] == 303  # a browser that asks twice has its cookie
    assert place.removeprefix("/?token=") not in served.end()[1]


@pytest.mark.parametrize("form", ["%74oken={}", "token={}&x=1", "token=%2e{}", "token={}&token={}"])
def test_no_form_of_the_address_is_answered_with_the_token_in_it(served, form):
    _, headers, body = served.ask("/?" + form.replace("{}", served.token), cookie=())
    assert served.token.lower() not in headers.get("location", "")
    assert served.token.encode() not in body


FOREIGN = [
    "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}.evil.example",
    "127.0.0.1.evil.example:{port}", "user@127.0.0.1:{port}", "127.0.0.1:{port}@evil.example", "127.0.0.1:{port}#",
    "evil.example\\@127.0.0.1:{port}", "127.0.0.1:{port}\\", "127.0.0.1:{port}/", "[::1]:{port}", "0.0.0.0:{port}",
    "2130706433:{port}", "127.1:{port}", "LOCALHOST:{port}", "localhost.:{port}", "127.0.0.1:0{port}", "",
    "127.0.0.1:{port}, evil.example", "http://127.0.0.1:{port}",
]  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_is_refused(served, host):
    assert served.ask("/", host=[host.format(port=served.port)])[0] in (400, 403)
    token = f"/?token={served.token}"
    assert served.ask(token, host=[host.format(port=served.port)], cookie=())[0] in (400, 403)


def test_no_host_and_two_hosts_are_refused(served):
    assert served.ask("/", host=())[0] in (400, 403)
    assert served.ask("/", host=[served.host, served.host])[0] in (400, 403)
    assert served.ask("/", host=[served.host, "evil.example"])[0] in (400, 403)
    assert served.raw(f"GET / HTTP/1.0\r\nCookie: {served.cookie}\r\n\r\n".encode())[0] in (400, 403)


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/", "http://127.0.0.1:{port}/", "http://evil.example@127.0.0.1:{port}/", "//evil.example/",
        "//evil.example", "/\\evil.example", "\\\\evil.example", "evil.example:80", "*", "http:/", "?x",
        "//evil.example/?token={token}", "http://evil.example/?token={token}", "/\\evil.example?token={token}",
    ],
)  # fmt: skip
def test_a_target_that_is_no_plain_path_is_refused(served, target):
    status, headers, _ = served.ask(target.format(port=served.port, token=served.token))
    assert status in (400, 403)
    assert "location" not in headers


@pytest.mark.parametrize(
    "cookie",
    ["", "pushforward-play-{port}=", "pushforward-play-{port}=x{token}", "other={token}", "{token}",
     "pushforward-play-{port}={token}x", "x=1, pushforward-play-{port}={token}", "Pushforward-Play-{port}={token}"],
)  # fmt: skip
def test_nothing_is_answered_without_the_token(served, cookie):
    given = [cookie.format(port=served.port, token=served.token)]
    for target in ("/", "/controls.json", "/main.js", "/nothing", "/?token=x", "/?token="):
        status, headers, body = served.ask(target, cookie=given)
        assert status == 401
        assert "set-cookie" not in headers
        assert served.token.encode() not in body


@pytest.mark.parametrize("other", ['a={"b": 1, "c": [2]}', "bad name=1", "=", "x=\xff\xfe", 'q="unclosed', "é"])
def test_cookies_of_other_servers_of_the_machine_do_not_lock_the_page_out(served, other):
    assert served.ask("/", cookie=[f"{other}; {served.cookie}; pushforward-play-{served.port}=planted"])[0] == 200


ORIGINS = [
    (), ["null"], ["http://evil.example"], ["https://127.0.0.1:{port}"], ["http://127.0.0.1:{port}.evil.example"],
    ["http://127.0.0.1:{port}/"], ["http://localhost:{port}"], ["http://127.0.0.1"], [""], ["http://u@127.0.0.1:{port}"],
    ["http://127.0.0.1:{port}", "http://evil.example"], ["http://127.0.0.1:{port}", "http://127.0.0.1:{port}"],
]  # fmt: skip


@pytest.mark.parametrize("origins", ORIGINS)
def test_an_upload_of_another_origin_is_refused(served, origins):
    status, text = served.upload(b"1,2\n", origin=[origin.format(port=served.port) for origin in origins])
    assert status == 403
    assert "its own page" in text


@pytest.mark.parametrize("origin", [one[0] for one in ORIGINS if len(one) == 1])
def test_a_websocket_of_another_origin_is_refused(served, origin):
    with pytest.raises(InvalidStatus) as caught:
        served.open(origin=origin.format(port=served.port))
    assert caught.value.response.status_code == 403
    assert "default-src 'none'" in caught.value.response.headers["content-security-policy"]


def test_a_websocket_without_the_token_is_refused(served):
    for cookie in ("", "pushforward-play-1=x", f"x={served.token}"):
        with pytest.raises(InvalidStatus) as caught:
            served.open(cookie=cookie)
        assert caught.value.response.status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_need_the_origin_and_find_nothing(served, method):
    assert served.ask("/", method=method)[0] == 403
    assert served.ask("/", method=method, headers=[f"Origin: http://{served.host}"])[0] == 405


@pytest.mark.parametrize(
    "target",
    ["/../../../../etc/passwd", "/..", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%5c..%5cx", "/C:/x.js",
     "/C%3A%5Cboot.ini", "/static/main.js", "/./main.js", "/main.js/..", "/main.js%00.html", "/__init__.py",
     "/..%2fserver.py", "/etc%2fpasswd", "/file:%2f%2f%2fetc%2fpasswd", "/~root", "/%2fetc%2fpasswd", "/main%2ejs%20"],
)  # fmt: skip
def test_no_path_reaches_the_disk(served, target):
    status, headers, body = served.ask(target)
    assert status == 404
    assert b"root:" not in body
    assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/", "GET", 200),
        ("/nothing", "GET", 404),
        ("/", "PUT", 403),
        ("/?token=x", "GET", 303),
        ("/upload", "GET", 404),
    ],
)
def test_every_answer_has_the_headers_of_a_safe_page(served, target, method, status):
    found, headers, _ = served.ask(target, method=method)
    assert found == status
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_the_page_holds_no_inline_script_or_style():
    text = server.page_files()["index.html"].decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\son\w+=|\sstyle=|javascript:", text) == []
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text) == []


@pytest.mark.parametrize(
    "request_",
    [b"GET / HTTP/1.1\r\nHost: {host}\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", b"GET /" + b"a" * 200_000,
     b"\x00\xff\x16\x03\x01\r\n\r\n",
     b"GET  / HTTP/1.1\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost : {host}\r\n\r\n",
     b"POST /upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n"],
)  # fmt: skip
def test_malformed_requests_are_refused_and_the_server_goes_on(served, request_):
    assert served.raw(request_.replace(b"{host}", served.host.encode()))[0] in (400, 403)
    assert served.ask("/")[0] == 200


def test_the_server_listens_on_this_machine_alone(served):
    hexadecimal = f":{served.port:04X} "
    with open("/proc/net/tcp") as table:
        listening = [line.split()[1] for line in table if hexadecimal in line and " 0A " in line]
    assert listening == [f"0100007F{hexadecimal.strip()}"]
