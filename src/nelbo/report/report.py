"""Everything that was measured on one model, or on several side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from typing import Any

from nelbo.files import json_text, plain, write_bytes, write_json
from nelbo.registry import did_you_mean
from nelbo.report import html, terminal
from nelbo.report.parts import MEASURES, PAGE, Row, Section, as_json

FORMAT = 2
_CARDS = ("log_evidence", "nelbo", "gap", "active_units", "coverage", "explained_variance")
_WORDS = (
    ("nat", "The unit of information with natural logarithms: 1 nat = 1.44 bits. A model that gives an example one nat "
     "more makes it e = 2.7 times as probable."),
    ("x, z", "An example, and its code in latent space."),
    ("q(z|x), p(z|x)", "The encoder's estimate of the code of x, and the code's true distribution under the model."),
    ("p(z), p(x|z)", "The prior, from which codes of new examples are drawn, and the decoder."),
    ("±", "One standard error. Numbers that differ by less than two of them may be equal."),
    ("held-out", "Data that the model was not trained on."),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Report:
    """Measurements as data, as text, as a table in the terminal, as an HTML page, and as JSON.

    Attributes:
        title: the run's name, or the model's class.
        facts: what was measured, as lines of (name, text): model, data, training.
        settings: what a repetition needs: seed, effort, split, numbers of examples.
        sections: in reading order.
        complete: False if the measurement was stopped before its end.
        versions: of Python, nelbo and the libraries it rests on.
        command: the line that repeats the measurement.
        links: (name, path) of further pages.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    settings: Mapping[str, Any]
    sections: tuple[Section, ...]
    complete: bool = True
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    command: str = ""
    links: tuple[tuple[str, Path], ...] = ()

    def __getitem__(self, id: str) -> Row:
        """The row with this id: ``float(report["log_evidence"].held_out)``.

        Raises:
            KeyError: there is none; the message lists the ids.
        """
        for row in self.rows:
            if row.id == id:
                return row
        ids = [row.id for row in self.rows]
        raise KeyError(f"no {id!r} in this report{did_you_mean(id, ids)} It has {', '.join(ids)}")

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in reading order."""
        return tuple(row for section in self.sections for row in section.rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, ready for JSON; infinite numbers become None."""
        content = as_json(self) | {"format": FORMAT, "facts": dict(self.facts)}
        del content["links"]
        return plain(content)

    def to_json(self) -> str:
        """:meth:`to_dict` as text."""
        return json_text(self.to_dict())

    def __str__(self) -> str:
        """The findings, one sentence a line."""
        return "\n".join(section.finding for section in self.sections if section.finding)

    def table(self) -> Any:
        """All rows as a table: ``rich.print(report.table())``."""
        return terminal.table(self.sections)

    def to_html(self, *, first: Sequence[str] = (), beside: Path | None = None) -> str:
        """The page: one file that needs no network.

        Args:
            first: sections, as HTML, to place before the measured ones, such as ``findings.to_html()``.
            beside: the folder that the page will be in, from which other pages are linked.
        """
        rows = {row.id: row for row in self.rows if row.held_out is not None}
        state = (
            "Measured by nelbo, in nats."
            if self.complete
            else ("The measurement was stopped before its end; the sections below are complete.")
        )
        body = [
            f"<h1>{html.escape(self.title)}</h1>",
            f'<p class="{"faint" if self.complete else "note"}">{state}</p>',
            html.pairs(self.facts),
            html.cards(rows[name] for name in _CARDS if name in rows),
            html.bullets(str(self).splitlines()) if len(self.sections) > 1 else "",
            *first,
            *map(html.section, self.sections),
            self._links(beside),
            '<h2 id="words">Words</h2>',
            html.pairs(_WORDS),
            self._repeat(),
        ]
        return html.document(self.title, filter(None, body))

    def _links(self, beside: Path | None) -> str:
        pages = "".join(
            f'<li><a href="{html.escape(Path(relpath(path, beside)).as_posix())}">{html.escape(name)}</a></li>'
            for name, path in self.links
            if beside is not None and path.is_file()
        )
        return f"<h2>Each run by itself</h2><ul>{pages}</ul>" if pages else ""

    def _repeat(self) -> str:
        methods = {html.plain_label(row): row.first.method for row in self.rows if row.first.method}
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n".join(
            [
                '<h2 id="repeat">How to repeat this</h2>',
                f"<pre>{html.escape(self.command)}</pre>",
                f"<p>The same seed gives the same numbers on the same machine. {html.escape(versions)}.</p>",
                html.folded("Methods", list(methods.items())),
            ]
        )

    def save(self, folder: str | Path, *, first: Sequence[str] = ()) -> tuple[Path, Path]:
        """Write measure.json and report.html into a folder and return both paths.

        Each file is replaced as a whole: a crash leaves the old content or the new one.
        """
        folder = Path(folder)
        write_json(folder / MEASURES, self.to_dict())
        return folder / MEASURES, self.save_page(folder / PAGE, first=first)

    def save_page(self, path: str | Path, *, first: Sequence[str] = ()) -> Path:
        """Write the page alone and return its path."""
        path = Path(path)
        write_bytes(path, self.to_html(first=first, beside=path.parent).encode())
        return path
