"""notebooks/explorer.ipynb in a real JupyterLab: the widget shows, and its traits follow a drag."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from nelbo.studio.server import listen

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explorer.ipynb"
WIDGET, READ, SET = 1, 3, 5  # positions of the notebook's cells


@contextmanager
def jupyterlab(folder):
    sock = listen(0)
    port = sock.getsockname()[1]
    sock.close()
    shutil.copy(NOTEBOOK, folder)
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--IdentityProvider.token=x", f"--ServerApp.root_dir={folder}"],
            env={**os.environ, **own, "IPYTHONDIR": str(folder / "ipython")},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token=x", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK.name}?token=x"
    finally:
        process.terminate()
        process.wait(30)


def test_a_drag_in_the_notebook_arrives_in_python_and_back(tab, tmp_path):
    with jupyterlab(tmp_path) as address:
        tab.page.set_default_timeout(90_000)
        tab.page.goto(address)
        cells = tab.page.locator(".jp-Notebook-cell")

        def run(position):
            cells.nth(position).locator(".cm-content").click()
            tab.page.keyboard.press("Control+Enter")

        def printed():
            run(READ)
            output = cells.nth(READ).locator(".jp-OutputArea-output")
            output.wait_for()
            tab.page.wait_for_timeout(2500)
            return [float(word) for word in output.inner_text().splitlines()[0].split()]

        cells.nth(READ).wait_for()
        tab.page.wait_for_timeout(3000)  # until the kernel is there
        run(WIDGET)
        tab.page.wait_for_selector("article.page svg.plot")
        tab.settle(1.5)
        assert printed() == [0, 1, 1, 2]
        tab.handle("mean of p").scroll_into_view_if_needed()
        tab.drag("mean of p", 60).settle(1.0)
        moved = tab.field("mu_p")
        assert moved > 0.5
        assert printed() == [moved, 1, 1, 2]
        run(SET)
        tab.page.wait_for_function("() => document.querySelector('[data-field=sigma_q]').value === '1'")
        tab.page.wait_for_function("() => /closed form\\).*closed form\\)/.test(document.body.innerText)")
        tab.problems[:] = [p for p in tab.problems if "nelbo" in p or p.startswith("request")]  # Lab's own noise
        tab.page.close()  # before Lab ends, of which it would complain
