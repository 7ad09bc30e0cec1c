"""What stands in the inspector's page."""

import json
import re
from urllib.parse import quote

PIXELS = """(selector) => {
  const canvas = document.querySelector(selector);
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return Array.from({length: data.length / 4}, (_, i) => data[4 * i]);
}"""


def pixels_of(page, selector):
    """The red values of a canvas, once it was given its size and drawn."""
    page.wait_for_function("(selector) => document.querySelector(selector)?.hasAttribute('width')", arg=selector)
    return page.evaluate(PIXELS, selector)


def state_of(**values):
    return "inspector?" + "&".join(
        f"{name}={quote(value if isinstance(value, str) else json.dumps(value))}" for name, value in values.items()
    )


def number(text):
    return float(re.split(r"[±\s]", text.strip())[0].replace("−", "-").replace(",", ""))


def told(text):
    """A number and the standard error that stands behind it, both as they are shown: half of the last digit if none."""
    number_, _, error = text.strip().replace("−", "-").replace(",", "").partition(" ± ")
    digits = re.match(r"-?[\d.]+", number_)[0]
    return float(digits), float(re.match(r"[\d.]+", error)[0]) if error else 0.5 * 10.0 ** -len(
        digits.partition(".")[2]
    )


def filled(page, output):
    """The text of a locator, once it holds a number."""
    output.wait_for()
    page.wait_for_function("(e) => /\\d/.test(e.textContent)", arg=output.element_handle())
    return output.inner_text()


def shown(page, term, row=0):
    return filled(page, page.locator(".example-row").nth(row).locator(f"[data-term={term}]"))


def stroke(page):
    """Open with the pad in sight: draw on it, and leave the hand down; returns the KL that stood there before."""
    before = shown(page, "kl")
    box = page.locator(".original .pad").bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    for i in range(1, 8):
        page.mouse.move(box["x"] + (0.2 + 0.08 * i) * box["width"], box["y"] + (0.2 + 0.07 * i) * box["height"])
    page.wait_for_function("(kl) => document.querySelector('[data-term=kl]').textContent !== kl", arg=before)
    return before
