"""A figure inside a page: an SVG whose colours follow the reader's light or dark theme."""

import re

from matplotlib.figure import Figure

from nelbo.figures import palette
from nelbo.figures.page import render

# the figure's colours as the page's variables, which have another value in the dark
_VARIABLES = {
    palette.INK: "ink",
    palette.FAINT: "faint",
    palette.RULE: "rule",
    palette.CONTOURS: "contours",
    palette.P: "p",
    palette.Q: "q",
    palette.RECONSTRUCTION_ERROR: "error",
    palette.KL: "kl",
    "#ffffff": "paper",
}
_COLOR = re.compile("|".join(map(re.escape, _VARIABLES)), re.IGNORECASE)
_NAME = re.compile(r'(?<= id=")(?=[^"]+")|(?<=url\(#)|(?<=href="#)')
_PIXELS_PER_INCH = 110


def inline(figure: Figure, name: str, label: str) -> str:
    """The figure as an <svg> element.

    Args:
        figure: what to draw.
        name: put before every id, which must be unique in a page.
        label: what the picture shows, for who cannot see it.
    """
    text = render(figure, ".svg", dpi=_PIXELS_PER_INCH).decode()
    text = text[text.index("<svg") :]
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', head)
    width = f'width="{figure.get_figwidth() * 96:.0f}"'
    head = f'<svg {box[0] if box else ""} {width} role="img" aria-label="{label}" xmlns:xlink="http://www.w3.org/1999/xlink"'
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = _NAME.sub(f"{name}-", body)
    body = _COLOR.sub(lambda found: f"var(--{_VARIABLES[found[0].lower()]})", body)
    return f"{head}>{body.strip()}"
