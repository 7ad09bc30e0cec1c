"""Who may speak to the studio: this machine's browser, from the studio's own pages, with the token of its address.

A page of any other site can send requests to 127.0.0.1, and a name that resolves to 127.0.0.1 makes them same-origin
(DNS rebinding); other users of the machine can reach the port. So: the Host is one of ours, an Origin is one of ours, a
websocket always carries one, and the token came once in the address and since then in a cookie.
"""

import secrets
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self'; script-src 'self' blob:; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class LocalOnly:
    """ASGI middleware that refuses everyone else.

    Args:
        app: what is guarded.
        port: the studio listens at.
        token: the secret of this studio's address.
        allow: further origins, as in "https://hub.example.org", for a proxy in front of the studio.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str, allow: Sequence[str] = ()) -> None:
        self.app, self.token, self.cookie = app, token, f"nelbo-{port}"
        names = [f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]
        self.origins = {*(f"http://{name}" for name in names), *(origin.rstrip("/") for origin in allow)}
        self.hosts = {*names, *(urlsplit(origin).netloc for origin in allow)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        asked = HTTPConnection(scope)
        refused = self.refusal(asked)
        if refused is None and not _same(asked.cookies.get(self.cookie, ""), self.token):
            if not _same(asked.query_params.get("token", ""), self.token):
                refused = "this studio's address carries a token; open the address that `nelbo studio` printed"
            elif scope["type"] == "http":
                return await self.welcome(asked)(scope, receive, _with_headers(send))
        if refused is None:
            return await self.app(scope, receive, _with_headers(send))
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": refused})
        return await PlainTextResponse(f"403: {refused}\n", 403)(scope, receive, _with_headers(send))

    def refusal(self, asked: HTTPConnection) -> str | None:
        """Why this Host or Origin is refused, or None."""
        host, origin = asked.headers.get("host", ""), asked.headers.get("origin")
        if host not in self.hosts:
            return f"the Host {host[:80]!r} is not this studio's; it answers to {', '.join(sorted(self.hosts))}"
        if origin is None and asked.scope["type"] == "websocket":
            return "a websocket needs an Origin"
        if origin is not None and origin not in self.origins:
            return f"the Origin {origin[:80]!r} is not this studio's; for a proxy, write --allow-origin {origin[:80]}"
        return None

    def welcome(self, asked: HTTPConnection) -> RedirectResponse:
        """Trade the token in the address for a cookie; the page's address then holds no secret."""
        query = urlencode([(name, value) for name, value in asked.query_params.multi_items() if name != "token"])
        path = "/" + asked.scope["path"].lstrip("/")  # "//host" would lead elsewhere
        answer = RedirectResponse(path + (f"?{query}" if query else ""), 303)
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
        return answer


def new_token() -> str:
    """A secret for one studio."""
    return secrets.token_urlsafe(24)


def _same(a: str, b: str) -> bool:
    return secrets.compare_digest(a.encode(), b.encode())


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return wrapped
