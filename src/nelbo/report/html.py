"""Results as one HTML file: no network, no script, light and dark, readable without knowing nelbo."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from nelbo.divergences import TestResult
from nelbo.estimate import Estimate
from nelbo.figures import palette
from nelbo.report.parts import Finding, Passed, Picture, Row, Section
from nelbo.report.terminal import HEADS, columns_of, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def document(title: str, body: Iterable[str]) -> str:
    """The whole file."""
    style = files("nelbo.report").joinpath("style.css").read_text("utf-8")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)} · nelbo</title>",
            f"<style>\n{style}</style></head>",
            "<body><main>",
            *body,
            "</main></body></html>\n",
        ]
    )


def pairs(entries: Iterable[tuple[str, str]]) -> str:
    """Lines of (name, text)."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f"<dl>{rows}</dl>"


def bullets(texts: Iterable[str]) -> str:
    """A list of sentences."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def cards(rows: Iterable[Row]) -> str:
    """The few numbers to read first."""
    content = "".join(
        f'<div class="card"><b>{escape(row.first.text)}</b>'
        f"<span>{escape(' · '.join(filter(None, (row.first.unit_text, plain_label(row)))))}</span></div>"
        for row in rows
    )
    return f'<div class="cards">{content}</div>' if content else ""


def plain_label(row: Row) -> str:
    """The label without the sign of a sum."""
    return row.label.lstrip("+=− ")


def section(part: Section) -> str:
    """A question, the answer, the rows, notes and figures."""
    lines = [
        f'<h2 id="{escape(part.id)}">{escape(part.title)}</h2>',
        f"<p>{escape(part.lead)}</p>",
        *(f'<p class="finding">{escape(line)}</p>' for line in part.finding.splitlines()),
        *([_table(part.rows)] if part.rows else []),
        *(f'<p class="note">{escape(_capital(note))}.</p>' for note in part.notes),
        *(_picture(picture, f"{part.id}-{i}") for i, picture in enumerate(part.pictures)),
    ]
    return "\n".join(lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(rows: Sequence[Row]) -> str:
    columns = columns_of(rows)
    meanings = any(row.meaning for row in rows)
    heads = {column: escape(HEADS.get(column, column)) for column in columns}
    first = "".join(f'<th class="number">{head}</th>' for head in heads.values())
    lines = "".join(
        f'<tr><th scope="row">{escape(row.label)}</th>'
        + "".join(f'<td class="number" data-column="{heads[column]}">{_cell(row, column)}</td>' for column in columns)
        + (f'<td class="meaning">{escape(row.meaning)}</td></tr>' if meanings else "</tr>")
        for row in rows
    )
    last = '<th class="meaning">what it says</th>' if meanings else ""
    return (
        f'<div class="scroll"><table class="measures"><thead><tr><th></th>{first}{last}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cell(row: Row, column: str) -> str:
    if column not in row.values:
        return f"<small>{escape(row.missing[column])}</small>" if column in row.missing else ""
    estimate = row.values[column]
    small = [estimate.unit_text, p_text(estimate)]
    if column in row.differences:
        small = [signed(row.differences[column])]
    return f"{escape(estimate.text)}<small>{escape(', '.join(filter(None, small)))}</small>"


def p_text(estimate: Estimate) -> str:
    """The p-value of a test; nothing for other estimates."""
    if not isinstance(estimate, TestResult):
        return ""
    return "p < 0.001" if estimate.p_value < 0.001 else f"p = {estimate.p_value:.2g}"


def diagnosis(
    verdict: str,
    findings: Sequence[Finding],
    passed: Sequence[Passed],
    skipped: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """The findings as a section of a page."""
    healthy = [(check.id, "; ".join(map(str, check.evidence))) for check in passed]
    lines = [
        '<section class="findings">',
        '<h2 id="findings">What is wrong, and what to change</h2>',
        f'<p class="finding">{escape(verdict)}</p>',
        *(f'<p class="note">{escape(_capital(note))}.</p>' for note in notes),
        *map(_finding, findings),
        folded(f"{len(healthy)} checks found nothing wrong", healthy),
        folded(f"{len(skipped)} checks could not be made", list(skipped.items())),
        "</section>",
    ]
    return "\n".join(filter(None, lines))


def folded(summary: str, entries: Sequence[tuple[str, str]]) -> str:
    """Lines of (name, text) that open on demand; nothing, for none."""
    return f"<details><summary>{summary}</summary>{pairs(entries)}</details>" if entries else ""


def _finding(finding: Finding) -> str:
    cost = finding.cost_nats
    numbers = [(e.label, e.text_with_unit) for e in finding.evidence if cost is None or e.label != cost.label]
    if cost is not None:
        numbers.append((f"costs ({cost.label})", cost.text_with_unit))
    rows = "".join(f'<tr><td>{escape(n)}</td><td class="number">{escape(text)}</td></tr>' for n, text in numbers)
    after = f" <small>(follows from {escape(finding.follows_from)})</small>" if finding.follows_from else ""
    return "\n".join(
        [
            f'<article class="{finding.severity}" id="finding-{escape(finding.id)}">',
            f'<h3><span class="severity">{finding.severity}</span>{escape(finding.title)}{after}</h3>',
            f"<p>{escape(finding.meaning)}</p>",
            f"<table>{rows}</table>",
            f"<pre>{escape(finding.change)}</pre>",
            f'<p class="faint">{escape(finding.source)} More: <code>nelbo explain {escape(finding.id)}</code></p>',
            "</article>",
        ]
    )


def _picture(picture: Picture, name: str) -> str:
    caption = escape(picture.caption)
    return f"<figure>{inline(picture.draw(), name, caption)}<figcaption>{caption}</figcaption></figure>"


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


def inline(figure: "Figure", name: str, label: str) -> str:
    """A figure as an <svg> element whose colours follow the reader's light or dark theme.

    Args:
        figure: the figure.
        name: prefix of every id, which must be unique in a page.
        label: a description for readers who cannot see it, as HTML.
    """
    from nelbo.figures.page import render  # matplotlib, for the pages that have pictures

    text = render(figure, ".svg", dpi=_PIXELS_PER_INCH).decode()
    text = text[text.index("<svg") :]
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', head)
    width = f'width="{figure.get_figwidth() * 96:.0f}"'
    head = f'<svg {box[0] if box else ""} {width} role="img" aria-label="{label}" xmlns:xlink="http://www.w3.org/1999/xlink"'
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = _NAME.sub(f"{name}-", body)
    body = _COLOR.sub(lambda color: f"var(--{_VARIABLES[color[0].lower()]})", body)
    return f"{head}>{body.strip()}"
