"""The studio's web application: static pages, one websocket, one-file exports."""

import asyncio
import contextlib
import mimetypes
import os
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

from nelbo.files import parse_json
from nelbo.studio.guard import LocalOnly
from nelbo.studio.link import OF_RUNS, PAGES, STATIC, export_html, index_html
from nelbo.studio.session import Reply, Session
from nelbo.studio.wire import FrameError, pack, unpack

# events that wait for a slow page; the oldest are dropped, since a page asks again for what it missed
_WAITING = 256


class Pages(StaticFiles):
    """Static files from memory, while they are unchanged on disk.

    A page is some thirty small modules, and the threads that read them would cost more than the reading. A browser asks
    for each again, so that an upgraded nelbo shows its new pages.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        found, stat = self.lookup_path(path)
        if stat is None or not found or not os.path.isfile(found):  # noqa: PTH113
            return await super().get_response(path, scope)
        etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        headers = {"cache-control": "no-cache", "etag": etag}
        if Headers(scope=scope).get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        media_type = mimetypes.guess_type(found)[0] or "text/plain"
        return Response(_content(found, etag), headers=headers, media_type=media_type)


@lru_cache(maxsize=256)
def _content(path: str, _etag: str) -> bytes:
    return Path(path).read_bytes()


_index = cache(index_html)


def create_app(session: Session, *, port: int, token: str, allow: Sequence[str] = ()) -> Starlette:
    """The ASGI application of one studio.

    Args:
        session: answers what the pages ask.
        port: it will listen at; part of the Host and Origin that are let in.
        token: the secret of its address.
        allow: further origins, for a proxy.
    """

    async def index(_: Request) -> Response:
        return HTMLResponse(_index(), headers={"cache-control": "no-cache"})

    async def export(request: Request) -> Response:
        page = request.path_params["page"]
        if page not in PAGES:
            return PlainTextResponse(f"no page {page!r}; expected one of {', '.join(PAGES)}\n", 404)
        try:
            state = parse_json(request.query_params.get("state", "{}"))
            document = await run_in_threadpool(_exported, session, page, state)
        except (TypeError, ValueError) as error:
            return PlainTextResponse(f"{error}\n", 400)
        headers = {"content-disposition": f'attachment; filename="nelbo-{page}.html"'}
        return Response(document, media_type="text/html", headers=headers)

    async def report(request: Request) -> Response:
        try:
            return FileResponse(await run_in_threadpool(_report_of, session, request.query_params.get("run")))
        except (OSError, ValueError) as error:
            return PlainTextResponse(f"{error}\n", 404)

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await _Client(websocket, session).run()

    routes = [
        Route("/", index),
        Route("/export/{page}", export),
        Route("/report", report),
        WebSocketRoute("/ws", socket),
        Mount("/", Pages(directory=STATIC)),
    ]
    guard = Middleware(LocalOnly, port=port, token=token, allow=allow)
    # fast, for the same machine; it is for a studio at the other end of a tunnel that a page is compressed
    small = Middleware(GZipMiddleware, compresslevel=4)
    return Starlette(routes=routes, middleware=[guard, small])


def _exported(session: Session, page: str, state: Any) -> str:
    if page not in OF_RUNS:
        return export_html(page, state)
    from nelbo.studio.exporting import export_page  # which needs torch

    return export_page(session, page, state)


def _report_of(session: Session, run: str | None) -> Path:
    from nelbo.studio.report import page_of  # which needs torch

    return page_of(session, run)


class _Client:
    """One open page: its questions are answered side by side, its answers and events leave through one queue."""

    def __init__(self, websocket: WebSocket, session: Session) -> None:
        self.websocket, self.session = websocket, session
        self.loop = asyncio.get_running_loop()
        self.out: asyncio.Queue[Reply] = asyncio.Queue()
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        leave = self.session.listen(lambda reply: self.loop.call_soon_threadsafe(self.push, reply))
        sender = asyncio.create_task(self.send())
        try:
            while True:
                await self.receive()
        except WebSocketDisconnect:
            pass
        finally:
            leave()
            for task in (sender, *self.tasks):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    def push(self, reply: Reply) -> None:
        if self.out.qsize() >= _WAITING:
            self.out.get_nowait()
        self.out.put_nowait(reply)

    async def receive(self) -> None:
        message: Any = await self.websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        try:
            content, buffers = unpack(message.get("bytes") or (message.get("text") or "").encode())
        except FrameError as error:
            return self.out.put_nowait(Reply({"error": str(error)}))
        task = asyncio.create_task(self.answer(content, buffers))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return None

    async def answer(self, content: dict[str, Any], buffers: list[memoryview]) -> None:
        self.out.put_nowait(await run_in_threadpool(self.session.ask, content, buffers))

    async def send(self) -> None:
        while True:
            reply = await self.out.get()
            try:
                await self.websocket.send_bytes(pack(reply.content, reply.buffers))
            except (WebSocketDisconnect, RuntimeError):  # the page was closed while the answer was under way
                return
