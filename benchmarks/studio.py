"""Input to painted frame of 100 real mouse drags on each explorer, time until a page is ready, and bytes transferred.

Headless Chromium; `studio_latent` does the same for the inspector. For comparison, four sliders in Panel
with Bokeh took 45 to 120 ms a move and 3.4 s to be ready, after 4.6 MB.
"""

import threading
import time
from statistics import median

from benchmarks.results import Row, options, show

CHROMIUM = "/usr/bin/chromium"
MOVES = 100
HANDLES = {"kl": "mean of p", "metric": "distribution q", "elbo": "mean of q", "reparam": ""}
# from the event's own time to the message behind the frame that it caused
CLOCK = """() => {
  window.waits = [];
  addEventListener("pointermove", (event) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => window.waits.push(performance.now() - event.timeStamp);
    requestAnimationFrame(() => channel.port2.postMessage(0));
  }, true);
}"""
LOADED = """() => {
  const parts = performance.getEntriesByType("resource");
  const page = performance.getEntriesByType("navigation")[0];
  return [performance.getEntriesByName("nelbo-ready")[0].startTime,
          parts.reduce((sum, part) => sum + part.transferSize, page.transferSize), parts.length + 1];
}"""


def measure(*, rounds: int) -> list[Row]:
    from playwright.sync_api import sync_playwright

    rows: list[Row] = []
    served, port = _serve()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for page, handle in HANDLES.items():
            ready, size, requests = _load(browser, port, page, rounds)
            rows.append(Row("page ready", page, median(ready), "ms", goal=1000, details={"milliseconds": ready}))
            rows.append(Row("transferred", page, size / 1000, "kB", goal=200, details={"requests": requests}))
            waits = sorted(_drag(browser, port, page, handle))
            for name, share, goal in (("p50", 0.5, 16), ("p95", 0.95, 33)):
                value = waits[int(share * (len(waits) - 1))]
                rows.append(
                    Row(f"drag to paint, {name}", page, value, "ms", goal=goal, details={"milliseconds": waits})
                )
        browser.close()
    served.should_exit = True
    return rows


def _serve():
    import uvicorn

    from nelbo.studio.app import create_app
    from nelbo.studio.server import listen
    from nelbo.studio.session import Session

    socket = listen(0)
    port = socket.getsockname()[1]
    app = create_app(Session(), port=port, token="bench")
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="websockets-sansio", lifespan="off"))
    threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server, port


def _open(browser, port, page):
    tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    tab.goto(f"http://127.0.0.1:{port}/?token=bench#{page}")
    tab.wait_for_selector(f"main[data-ready={page}]")
    tab.wait_for_timeout(800)
    return tab


def _load(browser, port, page, rounds):
    ready, size, requests = [], 0, 0
    for _ in range(rounds):
        tab = _open(browser, port, page)
        milliseconds, size, requests = tab.evaluate(LOADED)
        ready.append(milliseconds)
        tab.context.close()
    return ready, size, requests


def _drag(browser, port, page, handle):
    tab = _open(browser, port, page)
    # reparameterization has no handle in a plot: its slider is what is dragged
    target = tab.locator(f'[data-handle="{handle}"] .grip' if handle else 'input[type=range][data-name="mu"]')
    box = target.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.evaluate(CLOCK)
    for i in range(MOVES):
        tab.mouse.move(x + (60 if handle else 40) * (1 - abs(i / 25 % 2 - 1)), y)
        tab.wait_for_timeout(20)
    tab.mouse.up()
    waits = tab.evaluate("window.waits")
    tab.context.close()
    return waits


if __name__ == "__main__":
    chosen = options(__doc__).parse_args()
    show(measure(rounds=chosen.rounds), as_json=chosen.json)
