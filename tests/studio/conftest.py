"""A browser, tiny trained runs, and studios that serve them."""

import os
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import nelbo
from tests.studio.tab import FAR_AWAY, TIMERS, Tab

# Debian's browsers: the shell has no windows to draw, and opens a page in half the time
CHROMIUMS = [Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")]
COLUMNS = ("height", "weight", "age", "pulse", "sugar", "iron")


@pytest.fixture(scope="session")
def run_folder(made_once):
    """Runs on disk, seconds of training each: two on 8x8 digits, a convolutional one, one on a table of 6 columns."""

    def fill(folder):
        digits = nelbo.data.load("digits", binarize="threshold", limit=200)
        table = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)).numpy() @ np.triu(np.ones((6, 6)))
        np.savetxt(folder / "table.csv", table, fmt="%.9g", delimiter=",", header=",".join(COLUMNS), comments="")
        columns = nelbo.data.load(folder / "table.csv", standardize=True)
        made = {
            "first": (digits, {"hidden": (16,)}),
            "second": (digits, {"hidden": (16,)}),
            "conv": (digits, {"network": "conv", "channels": (4,), "hidden": (16,)}),
            "table": (columns, {"likelihood": "normal", "latent": 3, "hidden": (16,)}),
        }
        for seed, (name, (data, arguments)) in enumerate(made.items()):
            with torch.random.fork_rng([]):
                torch.manual_seed(seed)
                model = nelbo.recipes.vae(data.event_shape, **arguments)
            nelbo.fit(model, data, epochs=2, seed=seed, out=folder / "runs" / name, progress=False)

    return made_once("studio", fill) / "runs"


@pytest.fixture(scope="session")
def chromium():
    """Debian's Chromium, without a window."""
    found = next((path for path in CHROMIUMS if path.exists()), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CHROMIUMS[0]} is missing; .ci/run installs it with apt-get")
        pytest.skip(f"no {CHROMIUMS[0]}: the pages are tested where Debian's Chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(found), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass(frozen=True)
class Served:
    """A studio that listens."""

    session: object
    port: int
    token: str

    @property
    def origin(self) -> str:
        """As in an Origin header."""
        return f"http://127.0.0.1:{self.port}"

    def address(self, state: str = "") -> str:
        """With its token; state as in "inspector?run=x"."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}" + (f"#{state}" if state else "")


@contextmanager
def listening(session):
    """Serve a session in a thread."""
    uvicorn = pytest.importorskip("uvicorn")
    from nelbo.studio.app import create_app
    from nelbo.studio.server import listen

    sock = listen(0)
    port = sock.getsockname()[1]
    app = create_app(session, port=port, token="secret")
    config = uvicorn.Config(app, log_level="error", ws="websockets-sansio", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()  # the socket listens already: who asks before the server has started waits for it
    try:
        yield Served(session, port, "secret")
    finally:
        server.should_exit = True
        thread.join()
        session.close()
        sock.close()


@pytest.fixture
def serving():
    """Serve a session in a thread until the test ends."""
    with ExitStack() as stack:
        yield lambda session: stack.enter_context(listening(session))


@pytest.fixture(scope="session")
def studio():
    """A studio without runs, for the explorers."""
    from nelbo.studio.session import Session

    with listening(Session()) as served:
        yield served


@pytest.fixture
def tab(chromium):
    """An explorer's page; at the end nothing may have gone wrong in it."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    made = Tab.of(context)
    yield made
    context.close()
    assert made.problems == []


@pytest.fixture
def visit(chromium):
    """Open a page; at the end, nothing may have gone wrong in it, and nothing may have left this machine."""
    contexts, complaints = [], []

    def open_page(address, *, ready=True, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(FAR_AWAY)
        page.add_init_script(TIMERS)
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "file:"))
                else complaints.append(f"request to {request.url}")
            ),
        )
        page.goto(address)
        if ready and address.startswith("http"):
            page.wait_for_selector("#stage[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints, complaints
