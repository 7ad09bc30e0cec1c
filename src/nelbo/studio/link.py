"""One page as one file: the page's modules, linked without a bundler.

A notebook loads one ESM string and a file on disk has no server, so neither can follow ``import ... from "./plot.js"``.
The linker keeps the modules as they are but for comments: their sources travel as strings in dependency order, and a
short loader turns each into a ``blob:`` address, writing the addresses of its imports in place of their names.
"""

import base64
import html
import json
import posixpath
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nelbo.registry import check_choice

STATIC = Path(__file__).parent / "static"
FACTS: dict[str, dict[str, Any]] = json.loads(
    (STATIC / "core" / "pages.js").read_text("utf-8").partition("export const PAGES = ")[2].rstrip(";\n")
)
"""What is known of each page without opening it; core/pages.js explains the fields, and holds nothing but JSON."""
EXPLORERS = tuple(name for name, facts in FACTS.items() if facts["kind"] == "explorer")
"""Pages that need no run."""
OF_RUNS = tuple(name for name, facts in FACTS.items() if facts["kind"] == "runs")
"""Pages that show runs: their answers travel with them."""
PAGES = (*EXPLORERS, *OF_RUNS)
"""Pages that can leave the studio; the others lead to other pages, and so need a studio around them."""
# import x from "y", export x from "y", import "y"; the one dynamic import is the router's, which never travels, nor do
# types, which comments import
_IMPORT = re.compile(
    r"""(?P<before>^\s*(?:import|(?:import|export)\b[^"'`;()]*?\bfrom)\s*["'])(?P<name>\.{1,2}/[^"']+)(?=["'])""",
    re.MULTILINE,
)
# comments that begin their line
_COMMENT = re.compile(r"^[ \t]*(?:/\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL)
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_LOADER = """\
const urls = {};
for (const [name, source] of %s) {
  const linked = source.replace(/nelbo:([\\w./-]+)/g, (whole, other) => urls[other] ?? whole);
  urls[name] = URL.createObjectURL(new Blob([linked], {type: "text/javascript"}));
}
"""


@cache
def travelling(name: str) -> str:
    """A module or a style sheet as it travels: without its comments, which are for those who open its file.

    A comment behind code stays, and no text of several lines may hold a line that looks like one.

    Args:
        name: below ``static``, as in "theme.css".
    """
    source = _COMMENT.sub("", (STATIC / name).read_text("utf-8"))
    return _INDENT.sub("", source) if name.endswith(".css") else source


def modules(entry: str) -> list[tuple[str, str]]:
    """Name and source of a module and all it imports, each after what it imports; imports are named ``nelbo:NAME``.

    Args:
        entry: path below ``static``, as in "pages/kl.js".

    Raises:
        ValueError: a module imports itself in a circle, or does not exist.
    """
    done: dict[str, str] = {}
    _visit(entry, (), done)
    return list(done.items())


def _visit(name: str, above: tuple[str, ...], done: dict[str, str]) -> None:
    if name in done:
        return
    if name in above:
        raise ValueError(f"modules import each other in a circle: {' -> '.join([*above, name])}")
    path = STATIC / name
    if not path.is_file():
        raise ValueError(f"{above[-1] if above else 'the studio'} imports {name}, which does not exist")
    source = travelling(name)

    def absolute(relative: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(name), relative))

    for match in _IMPORT.finditer(source):
        _visit(absolute(match["name"]), (*above, name), done)
    done[name] = _IMPORT.sub(lambda m: f"{m['before']}nelbo:{absolute(m['name'])}", source)


def loader(*entries: str) -> str:
    """JavaScript that leaves the object ``urls``: a blob address for each module."""
    linked: dict[str, str] = {}
    for entry in entries:
        linked.update(modules(entry))
    return _LOADER % json.dumps(list(linked.items()), ensure_ascii=False)


def index_html(answers: Mapping[str, str] | None = None) -> str:
    """The studio's first document, which names every module that a page needs, so that all are asked for at once.

    Args:
        answers: of a site without Python, in any folder of any server: the file of each answer, by its question.
    """
    shell = [name for name, _ in modules("core/studio.js")]
    more = {page: [name for name, _ in modules(f"pages/{page}.js") if name not in shell] for page in FACTS}
    head = [f'<link rel="modulepreload" href="./{name}">' for name in shell]
    if answers is not None:
        recorded = json.dumps(dict(answers)).replace("</", "<\\/")
        head.append(f'<script type="application/json" id="answers">{recorded}</script>')
    text = (STATIC / "index.html").read_text("utf-8")
    return text.replace("{}", json.dumps(more)).replace("<!-- shell -->", "\n".join(head))


@cache
def widget_esm(page: str) -> str:
    """The ESM string of a notebook widget."""
    return (
        f"{loader(f'pages/{page}.js', 'core/widget.js')}"
        f'const page = (await import(urls["pages/{page}.js"])).default;\n'
        f'const {{host}} = await import(urls["core/widget.js"]);\n'
        "export default host(page);\n"
    )


@cache
def stylesheet(page: str) -> str:
    """The style of a page in a notebook or a file; the studio itself loads both sheets."""
    shows_models = any(name.startswith("pages/inspector/") for name, _ in modules(f"pages/{page}.js"))
    sheets = ("theme.css", "inspector.css") if shows_models else ("theme.css",)
    return "".join(travelling(name) for name in sheets)


def export_html(
    page: str,
    state: Mapping[str, Any] | None = None,
    *,
    attachments: Mapping[str, bytes] | None = None,
    title: str | None = None,
) -> str:
    """A page as one HTML document that opens from disk, without a server or a network.

    Args:
        page: one of PAGES, such as "kl" or "inspector".
        state: what differs from the page's defaults, as in ``{"mu_p": 1.0}``.
        attachments: bytes that the page reads in place of asking Python.
        title: of the document.

    Raises:
        ValueError: there is no such page, or the state is not a mapping.
    """
    check_choice("page", page, PAGES)
    if state is not None and not isinstance(state, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f'state must be an object, as in {{"mu_p": 1.0}}, got {type(state).__name__}')
    packed = {name: base64.b64encode(content).decode() for name, content in (attachments or {}).items()}
    script = (
        f"{loader(f'pages/{page}.js', 'core/onefile.js')}"
        f'const page = (await import(urls["pages/{page}.js"])).default;\n'
        f'const {{open}} = await import(urls["core/onefile.js"]);\n'
        f"await open(page, {json.dumps(dict(state or {}))}, {json.dumps(packed)});\n"
    )
    # inside a script element, "</script" and "<!--" in a string would end or change it
    script = script.replace("</", "<\\/").replace("<!--", "<\\!--")
    heading = html.escape(title or f"nelbo: {page}")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{heading}</title>\n'
        f"<style>\n{stylesheet(page)}</style>\n</head>\n"
        f'<body>\n<div id="nelbo" class="nelbo"></div>\n<script type="module">\n{script}</script>\n</body>\n</html>\n'
    )
