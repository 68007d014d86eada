"""A `pushforward play` that really runs, and raw requests to it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

from pushforward.play import frames

WITHIN = 60.0  # seconds: the processes of a session import torch first


class Served:
    """The server as a process of its own, which opens a browser if it is given the command of one."""

    def __init__(self, browser=None):
        command = [sys.executable, "-m", "pushforward", "play", "--port", "0", *([] if browser else ["--no-browser"])]
        environment = {**os.environ, **({"BROWSER": browser} if browser else {})}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.said = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]+)", self.said)
        assert found, self.process.stderr.read()
        self.port, self.token = int(found[1]), found[2]
        self.address = f"http://127.0.0.1:{self.port}/?token={self.token}"
        self.host = f"127.0.0.1:{self.port}"
        self.cookie = f"pushforward-play-{self.port}={self.token}"

    def end(self):
        """Press Ctrl-C; return the seconds it took, and what was said besides the address."""
        children, began = self.children(), time.monotonic()
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        while any(map(is_running, children)) and time.monotonic() - began < 10:
            time.sleep(0.01)
        return time.monotonic() - began, out + err

    def children(self):
        return children_of(self.process.pid)

    def trainers(self):
        return [pid for pid in self.children() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def raw(self, request: bytes):
        """Send bytes; return the status, the headers and the body."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as line:
            line.sendall(request)
            answer = b""
            while True:
                try:
                    piece = line.recv(2**16)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:]), body

    def ask(self, target="/", *, method="GET", host=None, cookie=None, body=b"", headers=()):
        """Send a request; `host` and `cookie` are those of the page unless given, () for none."""
        hosts = [self.host] if host is None else host
        cookies = [self.cookie] if cookie is None else cookie
        lines = [f"{method} {target} HTTP/1.1", *(f"Host: {name}" for name in hosts), "Connection: close"]
        lines += [*(f"Cookie: {value}" for value in cookies), *headers]
        lines += [f"Content-Length: {len(body)}"] if method == "POST" else []
        return self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def upload(self, body, *, name="points.csv", session="sessionone", message=None, origin=None):
        from urllib.parse import urlencode

        message = json.dumps({"do": "begin", "settings": {"data": "file"}}) if message is None else message
        query = urlencode({"name": name, "session": session, "message": message})
        origins = [f"Origin: {value}" for value in ([f"http://{self.host}"] if origin is None else origin)]
        status, _, answer = self.ask(f"/upload?{query}", method="POST", body=body, headers=origins)
        return status, answer.decode()

    def open(self, session="sessionone", *, origin=None, cookie=None) -> ClientConnection:
        """Open the WebSocket of a page."""
        headers = {"Cookie": self.cookie if cookie is None else cookie}
        origin = f"http://{self.host}" if origin is None else origin
        address = f"ws://{self.host}/socket?session={session}"
        return connect(
            address, origin=origin or None, additional_headers=headers, max_size=None, compression=None, proxy=None
        )


def tell(line, do, **rest):
    line.send(json.dumps({"do": do, **rest}))


def heard(line, *kinds, within=WITHIN):
    """Return the JSON of the next message of these kinds."""
    end = time.monotonic() + within
    while True:
        head, _, _ = frames.unpacked(line.recv(timeout=max(end - time.monotonic(), 0.01)))
        if head["kind"] in kinds:
            return head


def step_now(line):
    """Return the step of a fresh frame."""
    tell(line, "look", look={"temperature": 0.5 + 0.5 * (time.monotonic_ns() % 1000) / 1000})
    return heard(line, "frame")["step"]


def children_of(pid):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == pid:
                found.append(int(folder.name))
    return found


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill(pid):
    os.kill(pid, signal.SIGKILL)
