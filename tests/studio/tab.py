"""A page of an explorer in the browser, driven the way a hand drives it."""

from dataclasses import dataclass, field

# what a page does once the hand rests waits for a timer: the page counts those that are still to come
TIMERS = """(() => {
  const [set, clear] = [window.setTimeout, window.clearTimeout];
  const waiting = new Set();
  window.setTimeout = (callback, delay = 0, ...given) => {
    const timer = set(() => {
      waiting.delete(timer);
      callback(...given);
    }, delay);
    if (delay < 1000) waiting.add(timer);  // longer ones hide a notice, or connect again
    return timer;
  };
  window.clearTimeout = (timer) => {
    waiting.delete(timer);
    clear(timer);
  };
  window.isAtRest = () => waiting.size === 0;
})();"""
FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
FAR_AWAY = 300_000
"""Milliseconds after which a wait for an event gives up: a fault, however busy the machine is."""


@dataclass
class Tab:
    """Remembers what went wrong in the page, and what it asked of other machines."""

    page: object
    problems: list = field(default_factory=list)

    @classmethod
    def of(cls, context):
        tab = cls(context.new_page())
        tab.page.set_default_timeout(FAR_AWAY)
        tab.page.add_init_script(TIMERS)
        tab.page.on("console", lambda m: tab.problems.append(m.text) if m.type in ("error", "warning") else None)
        tab.page.on("pageerror", lambda e: tab.problems.append(str(e)))
        tab.page.on("request", lambda r: None if _local(r.url) else tab.problems.append(f"request to {r.url}"))
        return tab

    def show(self, studio, address):
        """Open a page of the studio by what stands behind the #."""
        self.page.goto(studio.address(address))
        name = address.partition("?")[0]
        self.page.wait_for_selector(f"main[data-ready={name}] .page[data-page={name}]")
        return self.settle()

    def settle(self):
        """Wait until what was asked for is drawn."""
        self.page.evaluate(FRAME)
        return self

    def rest(self):
        """Wait until the page has done what it does once the hand rests: the address, a step of undo, more draws."""
        at_rest(self.page)
        return self.settle()

    def handle(self, name):
        return self.page.locator(f'[data-handle="{name}"]')

    def drag(self, name, dx, dy=0, steps=6):
        """Drag a handle with the mouse."""
        box = self.handle(name).locator(".grip").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + dx, y + dy, steps=steps)
        self.page.mouse.up()
        return self.settle()

    def number(self, name):
        return self.page.locator(f'[data-number="{name}"]').inner_text()

    def field(self, name):
        return float(self.page.locator(f'[data-field="{name}"]').input_value())

    def hash(self):
        """The state in the address, once it is written."""
        self.rest()
        text = self.page.evaluate("decodeURIComponent(location.hash)").partition("?")[2]
        return dict(part.split("=", 1) for part in text.split("&")) if text else {}


def at_rest(page):
    """Wait until no timer of the page is to come."""
    page.wait_for_function("() => window.isAtRest()")


def _local(url):
    return url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "blob:", "data:", "file:", "about:"))
