"""Write what the documentation can compute: the tables of divergences.md and axioms.md, and the notebook of
the worksheet.

python docs/generate.py [divergences] [axioms] [notebook]      (all three without arguments; the axioms take
minutes)
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE.parent / "notebooks" / "worksheet.ipynb"
INSTALL = """try:
    import nelbo
except ImportError:  # on Colab
    get_ipython().run_line_magic("pip", "install -q nelbo")"""


def pairs_table() -> str:
    """Which q have a closed form for each p; italics: always infinite."""
    from nelbo.divergences import registered
    from nelbo.divergences.expectations import INTERVALS, never_inside

    rows = {}
    for p, q in registered():
        if p.__module__.startswith("nelbo.wrapping"):  # of views, which register theirs when they are imported
            continue
        infinite = p in INTERVALS and q in INTERVALS and p is not q and never_inside(p, q)
        rows.setdefault(p.__name__, []).append(f"*{q.__name__}*" if infinite else q.__name__)
    lines = ["| p | q |", "|---|---|"]
    lines += [f"| {p} | {', '.join(sorted(qs, key=lambda s: s.strip('*')))} |" for p, qs in sorted(rows.items())]
    return "\n".join(lines)


def axioms_table(family: str = "Normal") -> str:
    """The verdicts for every divergence, with the witnesses below."""
    from nelbo.axioms import CANDIDATES, examine

    lines = [
        "| divergence | ≥ 0 | 0 only if equal | symmetric | triangle | metric |",
        "|---|---|---|---|---|---|",
    ]
    notes = []
    words = {True: "holds", False: "**violated**", None: "not decided"}
    for name in CANDIDATES:
        verdicts = examine(name, family)
        cells = [f"{words[v.holds]} ({v.margin:.2g})" for v in verdicts.verdicts]
        lines.append(f"| {name} | {' | '.join(cells)} | {'yes' if verdicts.metric else 'no'} |")
        for v in verdicts.verdicts:
            if v.witness is not None:
                members = "; ".join(f"{k} = N({m['loc']}, {m['scale']}²)" for k, m in v.witness.members.items())
                notes.append(
                    f"- {name}, {v.axiom}: {members}: {v.witness.relation}: {v.witness.left} against {v.witness.right}"
                )
    return "\n".join([*lines, "", *notes])


def replace(page: Path, name: str, content: str) -> str:
    """The page with what stands between its markers replaced."""
    text = page.read_text()
    start, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    before, rest = text.split(start)
    return f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"


def blocks(page: Path) -> list[tuple[str, str]]:
    """The page as ("markdown" | "code", text) in order."""
    found = []
    for i, part in enumerate(page.read_text().split("```python\n")):
        code, _, text = part.partition("\n```\n") if i else ("", "", part)
        found += [("code", code)] if i else []
        found += [("markdown", text.strip())] if text.strip() else []
    return found


def notebook() -> str:
    """The worksheet as a notebook without outputs."""
    cells = [("code", INSTALL), *blocks(HERE / "worksheet.md")]
    body = []
    for i, (kind, text) in enumerate(cells):
        cell = {
            "cell_type": kind,
            "id": f"cell-{i:02}",
            "metadata": {},
            "source": text.splitlines(keepends=True),
        }
        body.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return (
        json.dumps(
            {"cells": body, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5},
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


def main(wanted: list[str]) -> None:
    """Write the wanted parts."""
    if not wanted or "divergences" in wanted:
        page = HERE / "divergences.md"
        page.write_text(replace(page, "closed forms", pairs_table()))
    if not wanted or "notebook" in wanted:
        NOTEBOOK.parent.mkdir(exist_ok=True)
        NOTEBOOK.write_text(notebook())
    if not wanted or "axioms" in wanted:
        page = HERE / "axioms.md"
        page.write_text(replace(page, "verdicts", axioms_table()))


if __name__ == "__main__":
    main(sys.argv[1:])
