"""A report as one HTML file: no network, no script, light and dark, readable without knowing nelbo."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from nelbo.measure.page.svg import inline
from nelbo.measure.results import Number, Picture, Quantity, Report, Section

_CARDS = ("log_evidence", "nelbo", "gap", "active_units", "coverage", "explained_variance")


def report_page(report: Report, *, more: Sequence[tuple[str, str]] = ()) -> str:
    """The page of one model; ``more`` are sections as (title, HTML), placed before the measured ones."""
    findings = [section.finding for section in report.sections if section.finding]
    body = [
        f"<h1>{escape(report.title)}</h1>",
        '<p class="faint">Measured in nats by nelbo.</p>'
        if report.complete
        else '<p class="note">Measuring was stopped before its end: the sections below are complete.</p>',
        facts(report.facts),
        cards([(q.label.lstrip("+=− "), q.held_out.shown(q.unit), _unit(q)) for q in _headline(report) if q.held_out]),
        bullets(findings),
        *(f"<h2>{escape(title)}</h2>\n{content}" for title, content in more),
        *(_section(section) for section in report.sections),
        _words(),
        _repeat(report),
    ]
    return document(report.title, body)


def document(title: str, body: Iterable[str]) -> str:
    """The whole file."""
    style = files("nelbo.measure.page").joinpath("style.css").read_text("utf-8")
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


def facts(entries: Sequence[tuple[str, str]]) -> str:
    """Lines of (name, text)."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f"<dl>{rows}</dl>"


def cards(entries: Iterable[tuple[str, str, str]]) -> str:
    """The few numbers to read first: (label, value, unit)."""
    made = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(f"{unit} · {label}" if unit else label)}</span></div>'
        for label, value, unit in entries
    )
    return f'<div class="cards">{made}</div>'


def bullets(texts: Iterable[str]) -> str:
    """A list of sentences."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def _headline(report: Report) -> list[Quantity]:
    there = {quantity.id: quantity for quantity in report.quantities}
    return [there[name] for name in _CARDS if name in there]


def _unit(quantity: Quantity) -> str:
    return quantity.unit if quantity.unit in ("nats", "bits per dimension") else ""


def _section(section: Section) -> str:
    parts = [
        f'<h2 id="{escape(section.id)}">{escape(section.title)}</h2>',
        f"<p>{escape(section.lead)}</p>",
        f'<p class="finding">{escape(section.finding)}</p>',
    ]
    if section.quantities:
        columns = {
            "held-out": [quantity.held_out for quantity in section.quantities],
            "training": [quantity.training for quantity in section.quantities],
        }
        used = {name: numbers for name, numbers in columns.items() if any(number is not None for number in numbers)}
        rows = [
            [escape(q.label), *(_number(number, q) for number in cells), escape(q.meaning)]
            for q, *cells in zip(section.quantities, *used.values(), strict=True)
        ]
        parts.append(table(["", *used, "what it says"], rows, numeric=range(1, len(used) + 1)))
    parts += [f'<p class="note">{escape(note[0].upper() + note[1:])}.</p>' for note in section.notes]
    parts += [picture(p, f"{section.id}-{i}") for i, p in enumerate(section.pictures)]
    return "\n".join(parts)


def _number(number: Number | None, quantity: Quantity) -> str:
    if number is None:
        return ""
    p = "" if number.p_value is None else f", p {'&lt; 0.001' if number.p_value < 0.001 else f'= {number.p_value:.2g}'}"
    return f"{escape(number.shown(quantity.unit))}<small>{escape(_unit(quantity))}{p.removeprefix(', ')}</small>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int] = ()) -> str:
    """A table of cells that are HTML already; the first of each row is its name, the last what it means."""
    right = set(numeric)
    last = len(heads) - 1

    def mark(i: int) -> str:
        return ' class="number"' if i in right else ' class="meaning"' if i == last else ""

    top = "".join(f"<th{mark(i)}>{escape(head)}</th>" for i, head in enumerate(heads))
    lines = ""
    for name, *cells in rows:
        marked = "".join(f"<td{mark(i)}>{cell}</td>" for i, cell in enumerate(cells, 1))
        lines += f'<tr><th scope="row">{name}</th>{marked}</tr>'
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def picture(shown: Picture, name: str) -> str:
    """A figure with its caption."""
    caption = escape(shown.caption)
    return f"<figure>{inline(shown.draw(), name, caption)}<figcaption>{caption}</figcaption></figure>"


def _words() -> str:
    entries = (
        ("nat", "The unit of information with natural logarithms: 1 nat = 1.44 bits. A model that gives data one nat "
         "more finds them e = 2.7 times as probable."),
        ("x, z", "An example, and its code in latent space."),
        ("q(z|x), p(z|x)", "The encoder's guess of where the code of x lies, and where it lies under the model."),
        ("p(z), p(x|z)", "The prior, from which codes of new examples are drawn; the decoder."),
        ("±", "One standard error. Numbers that differ by less than two of them may be equal."),
        ("held-out", "Data the model was not trained on."),
    )  # fmt: skip
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f'<h2 id="words">Words</h2>\n<dl>{rows}</dl>'


def _repeat(report: Report) -> str:
    chosen = " ".join(
        f"--{name} {report.settings[name]}" for name in ("split", "effort", "seed") if name in report.settings
    )
    methods = {
        quantity.label.lstrip("+=− "): number.method
        for quantity in report.quantities
        for number in (quantity.held_out or quantity.training,)
        if number is not None and number.method
    }
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return "\n".join(
        [
            '<h2 id="repeat">How to repeat this</h2>',
            f"<pre>nelbo measure {escape(report.title)} {escape(chosen)}</pre>",
            "<p>The same seed gives the same numbers on the same machine. All of them, with their methods, are in "
            f"measure.json beside this page. {escape(versions)}.</p>",
            "<details><summary>Methods</summary>",
            facts(list(methods.items())),
            "</details>",
        ]
    )
