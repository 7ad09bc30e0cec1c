"""Print what the loss of each model really weighs: python -m tests.wild [NAME ...] [-v] [--docs].

With the packages of requirements.txt. -v prints every view and its diagnosis; --docs writes into docs/wild.md.
"""

import inspect
import re
import sys
import traceback
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import nelbo
from tests.wild.models import MODELS

_PAGE = Path(__file__).parents[2] / "docs" / "wild.md"
_PACKAGES = Path(__file__).with_name("requirements.txt")


class Said(NamedTuple):
    """What is said of a model."""

    name: str
    beta: str
    words: str
    sigma: str
    finding: str


def examined(name: str, *, verbose: bool) -> Said:
    """Weigh the loss of a model and diagnose it, or say why not."""
    try:
        view, loss, x = MODELS[name]()
        weighed = None if loss is None else nelbo.diagnosis.effective_beta(loss, view, x)
        findings = nelbo.diagnose(view, x, loss=loss, examples=100)
    except (TypeError, ValueError) as error:
        return Said(name, "refused", str(error), "", "")
    if verbose:
        print(view, findings, sep="\n")
    sigma = "" if weighed is None or weighed.sigma is None else f"{float(weighed.sigma):.2g}"
    first = next((f"{finding.id} ({finding.severity})" for finding in findings if finding.severity != "note"), "")
    beta, _, words = " ".join(str(weighed).split()).partition(", a = ")
    return Said(name, beta.removeprefix("beta = "), words.partition("evaluations) ")[2], sigma, first)


def main(arguments: list[str]) -> int:
    """Print a line for each model; the status is 1 where one failed otherwise than with a sentence for its user."""
    warnings.simplefilter("ignore")
    wanted = [name for name in arguments if not name.startswith("-")]
    said: list[Said] = []
    failures = 0
    for name in MODELS:
        if wanted and not any(part.lower() in name.lower() for part in wanted):
            continue
        try:
            said.append(examined(name, verbose="-v" in arguments))
        except Exception:
            failures += 1
            print(f"{name:30} FAILED")
            traceback.print_exc()
        else:
            print(f"{name:30} {said[-1].beta}; {said[-1].words}; {said[-1].finding}", flush=True)
    if "--docs" in arguments and not failures and not wanted:
        _write(said)
    return int(failures > 0)


def _write(said: list[Said]) -> None:
    """Put the table and the listings between the page's marks."""
    packages = re.findall(r"^([a-z-]+)==", _PACKAGES.read_text("utf-8"), re.MULTILINE)
    lines = [f"With {', '.join(f'{name} {version(name)}' for name in packages)}.", ""]
    lines += ["| model | beta | in words | sigma at which beta is 1 | first finding |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(part.replace("|", "\\|") for part in row) + " |" for row in said]
    for row in said:
        function = MODELS[row.name]
        summary, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
        name = getattr(function, "__name__", "")
        lines += ["", f'**{row.name}.** {summary} {rest} `python -m tests.wild "{row.name}" -v`, `{name}` in', ""]
        lines[-2:] = [" ".join(lines[-2].split()) + " [tests/wild/models.py](../tests/wild/models.py)."]
    page = _PAGE.read_text("utf-8")
    start, end = "<!-- generated: wild -->\n", "<!-- end: wild -->"
    before, _, after = page.partition(start)
    _PAGE.write_text(before + start + "\n".join(lines) + "\n" + end + after.partition(end)[2], "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
