"""The server of the page: its files, and a WebSocket from each page to its own training process."""

import asyncio
import json
import secrets
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from pushforward.errors import InputError, RunError
from pushforward.play import frames, uploads
from pushforward.play.doorkeeper import Doorkeeper
from pushforward.play.page import catalogue
from pushforward.play.sessions import Session, Sessions

MOST_TEXT = 64 * 2**10  # bytes of a message of a page
MOST_A_SECOND = 200  # messages of a page
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
OPENED_AFTER = 0.5  # seconds: the server listens by then
TASKS = {"look", "play", "pause", "step", "epoch", "begin", "script", "model", "show", "page", "animation"}


def application(*, port: int, token: str) -> Doorkeeper:
    """Return the server's application; see `Doorkeeper` for who is let in."""
    pages = page_files()

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        app.state.sessions = Sessions(asyncio.get_running_loop())
        yield
        app.state.sessions.end_all()

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in pages:
            return Response("There is no such page.", 404, media_type="text/plain")
        kind = KINDS["." + name.rsplit(".", 1)[1]]
        return Response(pages[name], media_type=f"{kind}; charset=utf-8")

    async def controls(request: Request) -> Response:
        return JSONResponse(catalogue())

    async def upload(request: Request) -> Response:
        content = b""
        async for piece in request.stream():
            content += piece
            if len(content) > uploads.MOST_BYTES:
                break
        try:
            rows = await run_in_threadpool(uploads.rows_in, content, request.query_params.get("name", ""))
            session = request.app.state.sessions.named(_name(request.query_params.get("session")))
            session.tell({"do": "file", "rows": rows, "settings": json.loads(request.query_params["settings"])})
        except (InputError, ValueError, KeyError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"rows": len(rows) // 8})

    routes = [
        Route("/", page),
        Route("/controls.json", controls),
        Route("/upload", upload, methods=["POST"]),
        WebSocketRoute("/socket", talk),
        Route("/{name}", page),
    ]
    return Doorkeeper(Starlette(routes=routes, lifespan=life), port=port, token=token)


def page_files() -> dict[str, bytes]:
    """Return the files of the page by name."""
    folder = files("pushforward.play") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if "." + file.name.rsplit(".", 1)[-1] in KINDS}


async def talk(socket: WebSocket) -> None:
    """Carry messages between a page and its session, until one of them ends."""
    await socket.accept()
    try:
        session = socket.app.state.sessions.named(_name(socket.query_params.get("session")))
    except InputError as error:
        await socket.send_bytes(frames.packed("refused", text=str(error)))
        await socket.close(4429)
        return
    outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
    receiver = outgoing.put_nowait
    if session.receiver is not None:
        session.receiver(None)
    session.watch(receiver)
    tasks = [asyncio.create_task(_send_all(socket, outgoing)), asyncio.create_task(_hear_all(socket, session))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        session.leave(receiver)
        socket.app.state.sessions.prepare()


async def _send_all(socket: WebSocket, outgoing: "asyncio.Queue[bytes | None]") -> None:
    while (message := await outgoing.get()) is not None:
        await socket.send_bytes(message)
    await socket.close(4410)


async def _hear_all(socket: WebSocket, session: Session) -> None:
    second, heard = 0, 0
    while True:
        try:
            text = await socket.receive_text()
        except (WebSocketDisconnect, KeyError):
            return
        now = int(asyncio.get_running_loop().time())
        heard = heard + 1 if now == second else 1
        second = now
        if heard > MOST_A_SECOND or len(text) > MOST_TEXT:
            await socket.close(4413)
            return
        try:
            session.tell(read_message(text))
        except InputError as error:
            await socket.send_bytes(frames.packed("refused", text=str(error)))


def read_message(text: str) -> dict[str, Any]:
    """Return a message of a page; InputError unless it is an object that names a task."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("a message must be JSON.") from error
    if not isinstance(message, dict) or not isinstance(message.get("do"), str) or message["do"] not in TASKS:
        raise InputError(f"a message must be an object with do, one of {', '.join(sorted(TASKS))}.")
    speed = message.get("speed", 0)
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not 0 <= speed <= 1e6:
        raise InputError("speed must be a number of steps a second, or 0 for as many as there can be.")
    return message


def _name(given: str | None) -> str:
    if given is None or not (8 <= len(given) <= 64 and given.isascii() and given.isalnum()):
        raise InputError("a session has a name of 8 to 64 letters and digits.")
    return given


def serve(*, port: int, browser: bool, lesson: str | None) -> None:
    """Serve the page on 127.0.0.1 until Ctrl-C.

    Args:
        port: Where; 0 for any that is free.
        browser: Whether to open the page.
        lesson: To open it with.

    Raises:
        RunError: If the port is taken.
    """
    config = uvicorn.Config("", host="127.0.0.1", port=port, log_level="warning", ws_max_size=MOST_TEXT * 2)
    config.timeout_graceful_shutdown = 1
    try:
        socket = config.bind_socket()
    except SystemExit as error:
        raise RunError(f"port {port} cannot be used: another program has it (choose another with --port)") from error
    port = socket.getsockname()[1]
    token = secrets.token_urlsafe(24)
    config.app = application(port=port, token=token)
    query = urlencode({"token": token, **({"lesson": lesson} if lesson else {})})
    address = f"http://127.0.0.1:{port}/?{query}"
    print(f"The page is at {address}\nCtrl-C ends it.", flush=True)
    if browser:
        threading.Timer(OPENED_AFTER, webbrowser.open, [address]).start()
    with suppress(KeyboardInterrupt):  # the usual end
        uvicorn.Server(config).run(sockets=[socket])
