"""Who may speak to the server: this machine's own page, with the token of the address that was opened."""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class Doorkeeper:
    """Lets in what comes from this machine's own page, and puts the headers of a safe page on every answer.

    A request must name the server as its Host, word for word in the raw header and once; its Origin, where it has one,
    must be the server's own (a WebSocket and a POST must have one); and it must bring the token, as a cookie, or once
    as `?token=` in the address, which is then answered with the cookie and an address without the token.

    Args:
        app: What answers.
        port: Of the server.
        token: The secret.
        ticket: Opens the page once in place of the token: it goes to the browser on a command line, which other users
            of the machine can read.
    """

    def __init__(self, app: App, *, port: int, token: str, ticket: str = "") -> None:
        self._app, self._token, self._ticket = app, token, ticket
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._cookie = f"pushforward-play-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if not self._is_from_here(scope):
            await _refuse(scope, send, 403, "This server answers its own page alone.")
            return
        known = any(self._is_token(value) for value in self._brought(scope))
        given = _first(parse_qs(_text(scope["query_string"]))) if scope["type"] == "http" else None
        if given is not None and (known or self._is_token(given) or self._is_ticket(given)):
            await self._welcome(scope, send)
        elif not known:
            await _refuse(scope, send, 401, "Open the address that `pushforward play` printed: it holds the token.")
        else:
            await self._app(scope, receive, _with_headers(send))

    def _is_from_here(self, scope: Scope) -> bool:
        hosts = _all(scope, b"host")
        origins = _all(scope, b"origin")
        needs_origin = scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD")
        raw = scope.get("raw_path") or scope["path"].encode()
        return (
            len(hosts) == 1
            and hosts[0] in self._hosts
            and raw.startswith(b"/")
            and not raw.startswith(b"//")
            and b"\\" not in raw
            and len(origins) <= 1
            and (not needs_origin or len(origins) == 1)
            and all(origin == b"http://" + hosts[0] for origin in origins)
        )

    def _is_token(self, found: str) -> bool:
        return hmac.compare_digest(found.encode(), self._token.encode())

    def _is_ticket(self, found: str) -> bool:
        """Return whether this is the ticket, which is used up by that."""
        is_ticket = self._ticket != "" and hmac.compare_digest(found.encode(), self._ticket.encode())
        if is_ticket:
            self._ticket = ""
        return is_ticket

    def _brought(self, scope: Scope) -> list[str]:
        """Return the values of the cookie; those of other servers of this machine may be of any form."""
        cookies = [part.strip().partition("=") for line in _all(scope, b"cookie") for part in _text(line).split(";")]
        return [value for name, _, value in cookies if name == self._cookie]

    async def _welcome(self, scope: Scope, send: Send) -> None:
        """Answer the opened address: keep the token as a cookie, and take it out of the address."""
        query = parse_qsl(_text(scope["query_string"]), keep_blank_values=True)
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        place = "/" + (f"?{rest}" if rest else "")
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [*HEADERS, (b"location", place.encode()), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _all(scope: Scope, name: bytes) -> list[bytes]:
    return [value for header, value in scope["headers"] if header.lower() == name]


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _first(query: dict[str, list[str]]) -> str | None:
    found = query.get("token", [])
    return found[0] if len(found) == 1 else None


def _with_headers(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await send(message)

    return sent


async def _refuse(scope: Scope, send: Send, status: int, text: str) -> None:
    answer = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    headers = [*HEADERS, (b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": f"{answer}.start", "status": status, "headers": headers})
    await send({"type": f"{answer}.body", "body": text.encode()})
