"""notebooks/explorer.ipynb in a real JupyterLab: the widget shows, and its traits follow a drag."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from nelbo.studio.server import listen

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explorer.ipynb"
WIDGET, READ, SET = 1, 3, 5  # positions of the notebook's cells


def _connect(process, port):
    """Wait until Lab takes a connection: it says its address a moment before it does."""
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port)).close()
    raise AssertionError("JupyterLab ended")


@contextmanager
def jupyterlab(folder):
    sock = listen(0)
    port = sock.getsockname()[1]
    sock.close()
    shutil.copy(NOTEBOOK, folder)
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
    process = subprocess.Popen(
        [*command, "--IdentityProvider.token=x", f"--ServerApp.root_dir={folder}"],
        env={**os.environ, **own, "IPYTHONDIR": str(folder / "ipython")},
        stderr=subprocess.PIPE,
        text=True,
    )
    said = []
    try:
        while f":{port}/lab?token=" not in (said or [""])[-1]:  # its address, once it listens
            said.append(process.stderr.readline())
            assert said[-1], "".join(said)
        rest = threading.Thread(target=lambda: said.extend(process.stderr))
        rest.start()
        _connect(process, port)
        yield f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK.name}?token=x"
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def _connected(page, address):
    """Wait until the notebook's kernel is idle and the page listens to it: what is sent before is lost."""
    sessions = address.replace(f"lab/tree/{NOTEBOOK.name}", "api/sessions")
    while not any(
        session["kernel"]["execution_state"] == "idle" and session["kernel"]["connections"]
        for session in page.request.get(sessions).json()
    ):
        page.evaluate("() => new Promise(requestAnimationFrame)")


@pytest.mark.slow  # half a minute, to start JupyterLab
def test_a_drag_in_the_notebook_arrives_in_python_and_back(tab, tmp_path):
    with jupyterlab(tmp_path) as address:
        tab.page.goto(address)
        cells = tab.page.locator(".jp-Notebook-cell")

        def run(position):
            """Run a cell and wait until the kernel has given it the next number."""
            cells.nth(position).locator(".cm-content").click()
            cells.nth(position).locator(".cm-focused").wait_for()  # or the keys go elsewhere
            tab.page.keyboard.press("Control+Enter")
            counted[0] += 1
            prompt = cells.nth(position).locator(".jp-InputPrompt", has_text=f"[{counted[0]}]:")
            prompt.wait_for()

        def prints(expected):
            """What is dragged reaches Python by messages of its own: read until it has."""
            for _ in range(100):
                run(READ)
                text = cells.nth(READ).locator(".jp-OutputArea-output").inner_text()
                if [float(word) for word in text.splitlines()[0].split()] == expected:
                    return
            raise AssertionError(f"printed {text}, expected {expected}")

        counted = [0]
        cells.nth(READ).wait_for()
        tab.page.wait_for_selector("[data-status=idle]", state="attached")  # also of a notebook without a kernel
        _connected(tab.page, address)
        run(WIDGET)
        tab.page.wait_for_selector("article.page svg.plot")
        tab.settle()
        prints([0, 1, 1, 2])
        tab.handle("mean of p").scroll_into_view_if_needed()
        tab.drag("mean of p", 60)
        moved = tab.field("mu_p")
        assert moved > 0.5
        prints([moved, 1, 1, 2])
        run(SET)
        tab.page.wait_for_function("() => document.querySelector('[data-field=sigma_q]').value === '1'")
        tab.page.wait_for_function("() => /closed form\\).*closed form\\)/.test(document.body.innerText)")
        tab.problems[:] = [p for p in tab.problems if "nelbo" in p or p.startswith("request")]  # Lab's own noise
        tab.page.close()  # before Lab ends, of which it would complain
