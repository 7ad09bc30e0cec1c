"""The report of a run: what `nelbo measure` and `nelbo diagnose` found, kept with the run."""

from pathlib import Path
from typing import Any

from nelbo.files import DamagedFileError, read_json
from nelbo.report import FINDINGS, MEASURES, PAGE
from nelbo.studio.library import Library
from nelbo.studio.session import Buffers, Content, Reply, Session, answers
from nelbo.studio.train import Jobs

_EFFORTS = ("quick", "normal", "thorough")
# parts of the report and their commands -> the file, and what it holds
_SOURCES: dict[str, tuple[str, dict[str, type]]] = {
    "measure": (MEASURES, {"facts": dict, "sections": list}),
    "diagnose": (FINDINGS, {"verdict": str, "findings": list, "passed": list, "skipped": dict}),
}


@answers("report.open")
def open_report(session: Session, content: Content, buffers: Buffers) -> Reply:
    """What was found out about a run so far, and what is missing."""
    library = Library.of(session)
    return Reply(found(library.folder(content["run"])))


def found(folder: Path) -> dict[str, Any]:
    """The content of measure.json and findings.json, None where there is none, and why; and where the page is."""
    page = folder / PAGE
    made: dict[str, Any] = {"missing": {}, "page": str(page) if page.exists() else None}
    for name, (file, parts) in _SOURCES.items():
        made[name], why = None, f"not measured yet: nelbo {name} {folder}"
        if (folder / file).exists():
            try:
                made[name] = _read(folder / file, parts)
            except DamagedFileError as error:
                why = f"{error}; write nelbo {name} {folder}"
        if made[name] is None:
            made["missing"][name] = why
    return made


def _read(path: Path, parts: dict[str, type]) -> Any:
    content = read_json(path)
    for name, kind in parts.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), kind):
            raise DamagedFileError(f"{path} is damaged or not of this nelbo: it has no {name!r}")
    return content


def page_of(session: Session, run: str | None) -> Path:
    """The report with figures that `nelbo measure` wrote into a run's folder.

    Raises:
        ValueError: the studio knows no such run.
        OSError: it was not measured yet.
    """
    page = Library.of(session).folder(run) / PAGE
    if not page.is_file():
        raise FileNotFoundError(f"there is no {page}; write nelbo measure {page.parent}")
    return page


@answers("report.make")
def make_report(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Measure and diagnose a run in a process of its own, and keep what it finds with the run."""
    jobs = Jobs.of(session)
    folder, effort = jobs.library.folder(content["run"]), content.get("effort", "quick")
    if effort not in _EFFORTS:
        raise ValueError(f"effort is one of {', '.join(_EFFORTS)}; got {effort!r}")
    job = jobs.start({"do": "report", "effort": effort}, folder, f"report of {folder.name}")
    return Reply(job.summary())
