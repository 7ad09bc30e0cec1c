"""The findings as a section of an HTML report."""

from collections.abc import Mapping
from html import escape

from nelbo.diagnosis.finding import Finding, Findings, Measured

_STYLE = """
.findings h3 { margin: 1.2em 0 0.2em; }
.findings .severity { font-size: 0.75em; font-weight: 700; letter-spacing: 0.04em; text-transform: uppercase;
  padding: 0.15em 0.5em; border-radius: 0.3em; border: 1px solid currentColor; margin-right: 0.5em; }
.findings .severe .severity { color: light-dark(#b3261e, #ff9d94); }
.findings .warning .severity { color: light-dark(#8a5a00, #f2c14e); }
.findings .note .severity { color: light-dark(#235cd8, #9dbcff); }
.findings table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.findings td { padding: 0.1em 1.2em 0.1em 0; vertical-align: top; }
.findings td.number { white-space: nowrap; }
.findings pre { white-space: pre-wrap; padding: 0.5em 0.8em; border-radius: 0.3em;
  background: light-dark(#f2f2f2, #2a2a2a); }
"""


def findings_section(findings: Findings) -> str:
    """An HTML fragment, ``<section class="findings">``, with its own style, for light and dark pages
    alike; the page gives it its title.

    Args:
        findings: what :func:`nelbo.diagnose` returned.
    """
    parts = [
        '<section class="findings">',
        f"<style>{_STYLE}</style>",
        f"<p><strong>{escape(findings.verdict)}</strong></p>",
        *(f"<p>{escape(note)}</p>" for note in findings.notes),
        *(_finding(finding) for finding in findings),
    ]
    healthy = {check.id: "; ".join(map(str, check.evidence)) for check in findings.passed}
    parts += _folded(f"{len(healthy)} checks found nothing wrong", healthy)
    parts += _folded(f"{len(findings.skipped)} checks could not be made", findings.skipped)
    return "\n".join([*parts, "</section>"])


def _folded(summary: str, rows: Mapping[str, str]) -> list[str]:
    """A table that opens on demand; nothing, for no rows."""
    if not rows:
        return []
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in rows.items())
    return [f"<details><summary>{summary}</summary><table>{cells}</table></details>"]


def _finding(finding: Finding) -> str:
    after = f" <small>(follows from {escape(finding.follows_from)})</small>" if finding.follows_from else ""
    evidence = list(finding.evidence)
    if finding.cost_nats is not None:
        cost = finding.cost_nats
        evidence.append(Measured(f"costs ({cost.what})", cost.value, cost.standard_error, cost.unit))
    rows = "".join(
        f'<tr><td>{escape(measured.what)}</td><td class="number">{escape(measured.number)}</td></tr>'
        for measured in evidence
    )
    return "\n".join(
        [
            f'<article class="{finding.severity}" id="finding-{escape(finding.id)}">',
            f'<h3><span class="severity">{finding.severity}</span>{escape(finding.title)}{after}</h3>',
            f"<table>{rows}</table>",
            f"<p>{escape(finding.meaning)}</p>",
            f"<pre>{escape(finding.change)}</pre>",
            f"<p><small>{escape(finding.source)} More: <code>nelbo explain {escape(finding.id)}</code></small></p>",
            "</article>",
        ]
    )
