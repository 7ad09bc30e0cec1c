"""The page of runs side by side."""

from html import escape
from os.path import relpath
from pathlib import Path

from nelbo.measure.comparison import Compared, Comparison
from nelbo.measure.page import bullets, document, facts, picture, table
from nelbo.measure.results import PAGE, Number


def comparison_page(compared: Comparison, title: str, *, beside: Path | None = None) -> str:
    """The page; ``beside`` is the folder that it will lie in, from which the runs' own pages are linked."""
    first = compared.names[0]
    heads = ["", *compared.names]
    rows = [_row(row) for row in compared.rows]
    body = [
        f"<h1>{escape(title)}</h1>",
        '<p class="faint">Measured in nats by nelbo, on the same examples.</p>',
        facts(compared.facts),
        bullets(compared.findings),
        f"<p>Under each value: its difference to {escape(first)}, with the standard error of paired examples.</p>",
        table(heads, rows, numeric=range(1, len(heads))),
        *(picture(p, f"comparison-{i}") for i, p in enumerate(compared.pictures)),
        _links(compared, beside),
    ]
    return document(title, body)


def _row(row: Compared) -> list[str]:
    cells = [_cell(row, v, d) for v, d in zip(row.values, row.differences, strict=True)]
    return [escape(row.label), *cells]


def _cell(row: Compared, value: Number | None, difference: Number | None) -> str:
    if value is None:
        return "n/a"
    change = "" if difference is None else f"{'+' if difference.value > 0 else ''}{difference.shown(row.unit)}"
    return f"{escape(value.shown(row.unit))}<small>{escape(change)}</small>"


def _links(compared: Comparison, beside: Path | None) -> str:
    if beside is None:
        return ""
    pages = [
        f'<li><a href="{escape(Path(relpath(path / PAGE, beside)).as_posix())}">{escape(name)}</a></li>'
        for name, path in zip(compared.names, compared.paths, strict=True)
        if path is not None and (path / PAGE).is_file()
    ]
    return f"<h2>Each run by itself</h2><ul>{''.join(pages)}</ul>" if pages else ""
