"""`nelbo studio`: listen on loopback, print the address, open the browser."""

import socket
import sys
import threading
import webbrowser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import uvicorn

from nelbo.studio.app import create_app
from nelbo.studio.guard import new_token
from nelbo.studio.link import OF_RUNS
from nelbo.studio.session import Session

if TYPE_CHECKING:
    from nelbo.runs import Run

PORT = 8765
_TRIES = 50
_RECORD = "run.json"  # nelbo.runs.RECORD, whose module takes a second to load


def serve(
    runs: "Sequence[str | Path | Run]" = (),
    *,
    port: int | None = None,
    open_browser: bool = True,
    allow_origins: Sequence[str] = (),
    page: str = "",
) -> None:
    """Serve the studio on 127.0.0.1 until Ctrl-C.

    Args:
        runs: folders of runs to inspect, or runs in memory.
        port: to listen at; 0 for any free one; by default 8765 or the next free one.
        open_browser: whether to open the address in the browser.
        allow_origins: origins of a proxy in front of the studio.
        page: to open first, as in "kl"; by default the inspector of the runs, or without any, what there is.

    Raises:
        OSError: the port is in use; the message offers the next free one.
    """
    listening = listen(port)
    number = listening.getsockname()[1]
    session, token = Session([Path(run) for run in runs if isinstance(run, str | Path)]), new_token()
    names = None if len(session.runs) == len(runs) else _names(session, runs)
    first = page or (_first(session.runs) if names is None else _inspector(names))
    address = f"http://127.0.0.1:{number}/?token={token}{'#' + first if first else ''}"
    config = uvicorn.Config(
        create_app(session, port=number, token=token, allow=allow_origins),
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        lifespan="off",
        timeout_graceful_shutdown=2,  # open pages hold their websocket
        server_header=False,
    )
    print(f"nelbo studio: {address}\nCtrl-C ends it.", flush=True)
    if first.partition("?")[0] in ("", "home", *OF_RUNS):
        threading.Thread(target=session.prepare).start()  # no daemon: half an import would end the process badly
    if open_browser:
        webbrowser.open(address)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        session.close()
        listening.close()


def _names(session: Session, runs: "Sequence[str | Path | Run]") -> list[str]:
    """What the session calls the runs; those in memory become known to it."""
    from nelbo.studio.library import Library  # which needs torch

    return [Library.of(session).add(Path(run) if isinstance(run, str) else run) for run in runs]


def _first(runs: Sequence[Path]) -> str:
    """The page to begin with: what there is, or the inspector of the runs named, two of them side by side."""
    if len(runs) < 2 or not all((run / _RECORD).exists() for run in runs[:2]):
        return "inspector" if runs else ""
    return _inspector(map(str, runs))


def _inspector(names: Iterable[str]) -> str:
    named = zip(("run", "other"), names, strict=False)
    return "inspector?" + "&".join(f"{key}={quote(name)}" for key, name in named)


def listen(port: int | None) -> socket.socket:
    """A socket on 127.0.0.1, at the port or, by default, the first free one from 8765."""
    if port is not None:
        if not 0 <= port < 65536:
            raise ValueError(f"--port is from 0 (any free one) to 65535; got {port}")
        bound = _bind(port)
        if bound is None:
            free = next((p for p in range(port + 1, min(port + _TRIES, 65536)) if _is_free(p)), 0)
            raise OSError(f"port {port} is in use on 127.0.0.1; write --port {free}")
        return bound
    for candidate in range(PORT, PORT + _TRIES):
        bound = _bind(candidate)
        if bound is not None:
            if candidate != PORT:
                print(f"port {PORT} is in use; this studio takes {candidate}", file=sys.stderr)
            return bound
    raise OSError(f"ports {PORT} to {PORT + _TRIES - 1} are all in use; write --port 0 for any free one")


def _bind(port: int) -> socket.socket | None:
    # asyncio turns off Nagle's delay only for sockets that name their protocol; with it, each answer waits 40 ms
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if sys.platform != "win32":  # there it would let two studios share a port
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
        made.listen(128)
    except OSError:
        made.close()
        return None
    return made


def _is_free(port: int) -> bool:
    bound = _bind(port)
    if bound is not None:
        bound.close()
    return bound is not None
