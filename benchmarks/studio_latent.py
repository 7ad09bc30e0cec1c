"""Input to painted frame of the inspector's latent drag, in headless Chromium: decoded in the browser, and in Python.

The second pass has 50 other pages' sockets open, each asking for a decoding ten times a second.
"""

import asyncio
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import torch

import nelbo
from benchmarks.results import Row, options, show

CHROMIUM = "/usr/bin/chromium"
MOVES, CLIENTS = 100, 50
# from the event's own time to the message behind the frame that it caused
CLOCK = """() => {
  window.waits = [];
  document.querySelector(".latent svg").addEventListener("pointermove", (event) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => window.waits.push(performance.now() - event.timeStamp);
    requestAnimationFrame(() => channel.port2.postMessage(0));
  }, true);
}"""


def measure(*, rounds: int) -> list[Row]:
    from playwright.sync_api import sync_playwright

    from nelbo.studio.server import listen
    from nelbo.studio.session import Session

    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        runs = _runs(Path(folder))
        session = Session(list(runs.values()))
        socket = listen(0)
        port = socket.getsockname()[1]
        server = _serve(session, socket, port)
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for name, run in runs.items():
                rows += _row(
                    f"latent drag, {name}",
                    _drag(browser, port, run),
                    goals=(16, 33) if name == "browser" else (33, 150),
                )
            crowd = Crowd(port, runs["python"])
            rows += _row(
                f"latent drag, python, {CLIENTS} clients", _drag(browser, port, runs["python"]), goals=(None, 150)
            )
            crowd.leave()
            browser.close()
        server.should_exit = True
        session.close()
    return rows


def _runs(folder: Path) -> dict[str, Path]:
    data = nelbo.data.load("mnist5k", binarize="threshold", limit=1000)
    made = {}
    for name, network in (("browser", {"hidden": (400, 200)}), ("python", {"network": "conv"})):
        torch.manual_seed(0)
        nelbo.fit(nelbo.recipes.vae(data.event_shape, **network), data, epochs=1, out=folder / name, progress=False)
        made[name] = folder / name
    return made


def _serve(session, socket, port):
    import uvicorn

    from nelbo.studio.app import create_app

    app = create_app(session, port=port, token="bench")
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="websockets-sansio", lifespan="off"))
    threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server


def _drag(browser, port, run) -> list[float]:
    """Milliseconds of each of 100 moves of the mouse with its button down."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"http://127.0.0.1:{port}/?token=bench#inspector?run={run}")
    page.wait_for_selector(".term .rank:visible")
    page.wait_for_timeout(500)
    box = page.locator(".latent svg").bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 80)
    page.mouse.down()
    page.evaluate(CLOCK)
    for i in range(MOVES):
        page.mouse.move(box["x"] + 80 + 2 * i, box["y"] + 80 + 1.5 * i)
        page.wait_for_timeout(5)
    page.mouse.up()
    page.wait_for_timeout(300)
    waits = page.evaluate("window.waits")
    page.close()
    return waits


class Crowd:
    """Other clients that keep asking."""

    def __init__(self, port: int, run: Path) -> None:
        self.port, self.run, self.stop = port, str(run), threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        self.thread.start()
        time.sleep(1)

    def leave(self) -> None:
        self.stop.set()
        self.thread.join(10)

    async def _all(self) -> None:
        await asyncio.gather(*(self._one(i) for i in range(CLIENTS)))

    async def _one(self, number: int) -> None:
        from websockets.asyncio.client import connect

        from nelbo.studio.wire import pack

        origin = f"http://127.0.0.1:{self.port}"
        headers = {"Cookie": f"nelbo-{self.port}=bench"}
        z = torch.zeros(2).numpy().tobytes()
        async with connect(f"ws://127.0.0.1:{self.port}/ws", origin=origin, additional_headers=headers) as socket:
            await asyncio.sleep(number / CLIENTS / 10)
            while not self.stop.is_set():
                await socket.send(pack({"kind": "inspect.decode", "id": 1, "run": self.run}, [z]))
                await socket.recv()
                await asyncio.sleep(0.1)


def _row(name: str, waits: list[float], *, goals: tuple[float | None, float]) -> list[Row]:
    ordered = sorted(waits)
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    return [
        Row("studio", f"{name}, p50", median(waits), "ms", goal=goals[0], details={"ms": waits}),
        Row("studio", f"{name}, p95", p95, "ms", goal=goals[1]),
    ]


if __name__ == "__main__":
    chosen = options(__doc__).parse_args()
    show(measure(rounds=chosen.rounds), as_json=chosen.json)
