"""The server of the page: its files, and a WebSocket from each page to its own training process."""

import asyncio
import json
import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from pushforward.errors import InputError, RunError
from pushforward.play import frames, uploads
from pushforward.play.doorkeeper import Doorkeeper
from pushforward.play.look import Look
from pushforward.play.page import catalogue
from pushforward.play.points import Dropped, points_of
from pushforward.play.sessions import Session, Sessions
from pushforward.play.settings import Settings

MOST_TEXT = 64 * 2**10  # characters of a message of a page
MOST_A_SECOND = 200  # messages of a page
MOST_UNSENT = 64  # messages to a page
MOST_DRAINED = 64 * 2**20  # bytes of a file that are heard out, so that the page gets an answer
MOST_CONNECTIONS = 64
GONE, TOO_MUCH = 1000, 4413  # codes with which a WebSocket closes, beside those of a session
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
LAST_SECONDS = 0.4  # after Ctrl-C, for a page that does not hang up
TASKS = {"look", "play", "pause", "step", "epoch", "begin", "script", "model", "show", "page", "animation"}


def application(*, port: int, token: str, ticket: str = "") -> Doorkeeper:
    """Return the server's application; see `Doorkeeper` for who is let in."""
    pages = page_files()

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        app.state.sessions = Sessions(asyncio.get_running_loop())
        watchman = asyncio.create_task(app.state.sessions.end_them_in_time())
        yield
        watchman.cancel()
        app.state.sessions.end_all()
        uploads.end_all()

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in pages:
            return Response("There is no such page.", 404, media_type="text/plain")
        kind = KINDS["." + name.rsplit(".", 1)[1]]
        return Response(pages[name], media_type=f"{kind}; charset=utf-8")

    async def controls(request: Request) -> Response:
        return JSONResponse(catalogue())

    async def upload(request: Request) -> Response:
        query = request.query_params
        try:
            session = request.app.state.sessions.open(_name(query.get("session")))
            message = read_message(query.get("message", ""))
            if message["do"] != "begin":
                raise InputError("a file begins a run.")
            content = await _body(request)
            found = await run_in_threadpool(uploads.read, content, query.get("name", ""))
            dropped = Dropped.of(found.rows, found.names)
            await run_in_threadpool(points_of, Settings.read(message["settings"]), dropped)  # whether it can be learned
            session.tell({**message, "do": "file", "rows": found.rows, "names": found.names})
        except InputError as error:
            return JSONResponse({"error": str(error)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        return JSONResponse({"rows": len(found.rows) // 8})

    routes = [
        Route("/", page),
        Route("/controls.json", controls),
        Route("/upload", upload, methods=["POST"]),
        WebSocketRoute("/socket", talk),
        Route("/{name}", page),
    ]
    return Doorkeeper(Starlette(routes=routes, lifespan=life), port=port, token=token, ticket=ticket)


def page_files() -> dict[str, bytes]:
    """Return the files of the page by name."""
    folder = files("pushforward.play") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if "." + file.name.rsplit(".", 1)[-1] in KINDS}


async def talk(line: WebSocket) -> None:
    """Carry messages between a page and its session, until one of them ends."""
    await line.accept()
    try:
        session = line.app.state.sessions.named(_name(line.query_params.get("session")))
    except InputError as error:
        await line.send_bytes(frames.packed("closed", text=str(error)))
        await line.close(4429)
        return
    outgoing: asyncio.Queue[bytes | int] = asyncio.Queue()

    def receiver(message: bytes | int) -> None:
        if outgoing.qsize() >= MOST_UNSENT:  # the page does not read
            sender.cancel()
        else:
            outgoing.put_nowait(message)

    sender = asyncio.create_task(_send_all(line, outgoing))
    hearer = asyncio.create_task(_hear_all(line, session))
    session.watch(receiver)
    try:
        done, _ = await asyncio.wait((sender, hearer), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sender.cancel()
        hearer.cancel()
        session.leave(receiver)
        line.app.state.sessions.prepare()
    code = next((task.result() for task in done if not task.cancelled()), TOO_MUCH)
    with suppress(WebSocketDisconnect, RuntimeError):  # it has gone
        await line.close(code)


async def _send_all(line: WebSocket, outgoing: "asyncio.Queue[bytes | int]") -> int:
    """Send messages to the page until one is a code; return that."""
    while not isinstance(message := await outgoing.get(), int):
        try:
            await line.send_bytes(message)
        except WebSocketDisconnect:
            break
    return message if isinstance(message, int) else GONE


async def _hear_all(line: WebSocket, session: Session) -> int:
    """Pass on what the page says until it is gone or says too much; return a code."""
    second, heard = 0, 0
    while True:
        received = await line.receive()
        if received["type"] == "websocket.disconnect":
            return GONE
        text = received.get("text")
        now = int(asyncio.get_running_loop().time())
        heard = heard + 1 if now == second else 1
        second = now
        if heard > MOST_A_SECOND or text is None or len(text) > MOST_TEXT:
            return TOO_MUCH
        try:
            session.tell(read_message(text))
        except InputError as error:
            with suppress(WebSocketDisconnect):
                await line.send_bytes(frames.packed("refused", text=str(error), task=_task_of(text)))


def _task_of(text: str) -> str:
    """Return the task of a message that cannot be done; empty if it names none."""
    try:
        return str(_parsed(text)["do"])[:20]
    except (InputError, TypeError, KeyError, IndexError):
        return ""


def read_message(text: str) -> dict[str, Any]:
    """Return a message of a page: what is known of it, checked.

    Raises:
        InputError: Unless it is an object that names a task, with what the task needs.
    """
    message = _parsed(text)
    if not isinstance(message, dict) or not isinstance(message.get("do"), str) or message["do"] not in TASKS:
        raise InputError(f"a message must be an object with do, one of {', '.join(sorted(TASKS))}.")
    run = message.get("run")
    found: dict[str, Any] = {"do": message["do"], "playing": bool(message.get("playing"))}
    found["run"] = run if isinstance(run, int) and 0 <= run < 2**31 else 0
    speed = message.get("speed", 0)
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not 0 <= speed <= 1e6:
        raise InputError("speed must be a number of steps a second, or 0 for as many as there can be.")
    found["speed"] = float(speed)
    if message["do"] == "look":
        found["look"] = message.get("look", {})
        Look.read(found["look"])
    if message["do"] == "begin":
        found["settings"] = message.get("settings")
        Settings.read(found["settings"])
    if message["do"] == "show":
        if not isinstance(message.get("lesson"), str):
            raise InputError("a lesson has a name.")
        found["lesson"] = message["lesson"]
    return found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("a message must be JSON.") from error


async def _body(request: Request) -> bytes:
    """Return the body of a request; of one that is too long more than the most, so that the reader refuses it."""
    content, length = bytearray(), 0
    async for piece in request.stream():
        length += len(piece)
        if length <= MOST_DRAINED and len(content) <= uploads.MOST_BYTES:
            content += piece
        elif length > MOST_DRAINED:
            break
    return bytes(content)


def _name(given: str | None) -> str:
    if given is None or not (8 <= len(given) <= 64 and given.isascii() and given.isalnum()):
        raise InputError("a session has a name of 8 to 64 letters and digits.")
    return given


def serve(*, port: int, browser: bool, lesson: str, state: str) -> None:
    """Serve the page on 127.0.0.1 until Ctrl-C.

    Args:
        port: Where; 0 for any that is free.
        browser: Whether to open the page.
        lesson: To open it with, if any.
        state: To open it with: what stands behind the ? of a page's address.

    Raises:
        RunError: If the port is taken.
    """
    config = uvicorn.Config(
        "", host="127.0.0.1", port=port, log_level="warning", ws_max_size=MOST_TEXT * 2, http="h11",
        ws_per_message_deflate=False, proxy_headers=False, server_header=False, limit_concurrency=MOST_CONNECTIONS,
    )  # fmt: skip
    config.timeout_graceful_shutdown = LAST_SECONDS  # type: ignore[assignment]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise RunError(f"port {port} cannot be used: {error.strerror} (choose another with --port)") from error
    listener.listen()  # who comes before the server is ready waits
    port = listener.getsockname()[1]
    token, ticket = secrets.token_urlsafe(24), secrets.token_urlsafe(24) if browser else ""
    config.app = application(port=port, token=token, ticket=ticket)
    rest = "".join(f"&{part}" for part in (f"lesson={lesson}" if lesson else "", state) if part)
    address = f"http://127.0.0.1:{port}/?token="
    print(f"The page is at {address}{token}{rest}\nCtrl-C ends it.", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=[f"{address}{ticket}{rest}"], daemon=True).start()
    with suppress(KeyboardInterrupt):  # the usual end
        _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what Ctrl-C cuts off is no error
        super().handle_exit(sig, frame)
