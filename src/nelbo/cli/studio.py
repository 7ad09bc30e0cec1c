"""`nelbo studio` and `nelbo export`: plain functions, registered with cyclopts by nelbo.cli."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from nelbo.runs import Run
    from nelbo.studio.session import Session


def studio(
    *run: str,
    data: str | None = None,
    port: int | None = None,
    open: Annotated[bool, Parameter(negative="--no-open")] = True,
    allow_origin: list[str] | None = None,
    page: str = "",
) -> None:
    """Open the browser studio: explore KL, the ELBO and reparameterization; inspect, compare and train models.

    It listens on this machine only, at an address that carries a token. Ctrl-C ends it.

    Args:
        data: a named set or a path to show the runs on instead of the data that they were trained on, which need not be
            there then; columns by name.
        run: directories of runs to inspect; by default those of `nelbo demo`, if they exist. Or module:function, a
            function of yours without arguments that returns (model, x), or with --data a model, for one from elsewhere.
        port: to listen at; 0 for any free one; by default 8765 or the next free one.
        open: open the browser (--no-open: only print the address).
        allow_origin: an origin to let in besides, as in https://hub.example.org, for a proxy in front of the studio.
        page: to open first: home, kl, metric, elbo, reparam, playground, inspector, beta, train, report or worksheet.
    """
    _needs_extra()
    from nelbo.studio.server import serve

    runs = [_on(each, data) for each in run]
    if data is not None and not runs:
        raise ValueError(f"--data is what runs are shown on, and none is named; write nelbo studio RUN --data {data}")
    serve(runs, port=port, open_browser=open, allow_origins=allow_origin or [], page=page)


def _on(path: str | Path, data: str | None) -> "Path | Run":
    """A run's directory, or where other data are named, the run on them; a run of what a module:function returns."""
    if data is None and ":" not in str(path):
        return Path(path)
    from nelbo.studio.in_memory import as_run, from_reference, is_reference  # which need torch

    if is_reference(path):
        return from_reference(str(path), data)
    return Path(path) if data is None else as_run(path, data)


def export(page: str, *path: Path, state: str = "", data: str | None = None) -> None:
    """Write one page of the studio as a single HTML file that opens from disk, or all of it as a static site.

    An explorer needs no run: nelbo export kl out.html. The others show runs, which travel in the file: nelbo export
    inspector RUN [RUN] out.html, nelbo export report RUN out.html. A site needs no Python where it is opened: nelbo
    export site [RUN ...] FOLDER; look at it with python -m http.server -d FOLDER, and put it on any web server.

    Args:
        page: kl, metric, elbo, reparam or playground; inspector or train, of one run or of two to compare; beta, of the
            runs of a series; report, of one; site.
        path: the runs, then the file or folder; by default the first finished run below runs/, and nelbo-PAGE.html.
        state: what to show, as the studio's address has it behind the question mark: "mu_p=2&sigma_q=0.5".
        data: a named set or a path to show the runs on instead of the data that they were trained on; columns by name.
    """
    from nelbo.files import write_bytes

    if page == "site":
        return _site(path, state, data)
    runs, out = _runs_and_file(page, path)
    document = _document(page, runs, _values(state), data)
    write_bytes(out, document.encode())
    print(f"{out}: {_size(len(document))}, opens in any browser")


def _site(paths: Sequence[Path], state: str, data: str | None) -> None:
    from nelbo.studio.exporting import export_site

    if not paths:
        raise ValueError("the folder to write is missing; write nelbo export site FOLDER")
    if state:
        raise ValueError("--state is for one page; a site opens at its home page")
    *runs, out = paths
    if (out / "run.json").exists():
        raise ValueError(f"{out} is a run, and would be filled with pages; name the folder to write last")
    size = export_site(_session(runs, data)[0], out)
    print(f"{out}: {_size(size)}; look at it: python -m http.server --directory {out}")


def _runs_and_file(page: str, paths: Sequence[Path]) -> tuple[list[Path], Path]:
    from nelbo.studio.link import FACTS, OF_RUNS, PAGES

    if page not in PAGES:
        raise ValueError(f"no page {page!r} to export; expected one of {', '.join(PAGES)}, site")
    if page not in OF_RUNS:
        if len(paths) > 1:
            raise ValueError(f"{page} does not show a run; write nelbo export {page} {paths[-1]}")
        return [], paths[0] if paths else Path(f"nelbo-{page}.html")
    is_file = bool(paths) and paths[-1].suffix.lower() in (".html", ".htm")
    runs, out = (list(paths[:-1]), paths[-1]) if is_file else (list(paths), Path(f"nelbo-{page}.html"))
    most = FACTS[page].get("most")
    if most is not None and len(runs) > most:
        raise ValueError(
            f"{page} shows {'one run' if most == 1 else 'one run or two'}, got {len(runs)}: "
            f"{', '.join(map(str, runs))}; the output file must end in .html"
        )
    return runs, out


def _document(page: str, runs: Sequence[Path], state: dict[str, Any], data: str | None) -> str:
    from nelbo.studio.link import EXPLORERS, export_html

    if page in EXPLORERS:
        return export_html(page, state)
    from nelbo.studio.exporting import export_page  # which needs torch

    session, names = _session(runs, data)
    return export_page(session, page, {**state, **dict(zip(("run", "other"), names, strict=False))})


def _session(runs: Sequence[Path], data: str | None) -> "tuple[Session, list[str]]":
    """A session of runs, on other data where some are named, and what it calls them."""
    from nelbo.studio.library import Library  # which needs torch
    from nelbo.studio.session import Session

    if data is None:
        return Session(list(runs)), [str(run) for run in runs]
    if not runs:
        raise ValueError("--data is what runs are shown on, and none is named; write a run before the file to write")
    session = Session()
    library = Library.of(session)
    return session, [library.add(_on(run, data)) for run in runs]


def _values(state: str) -> dict[str, Any]:
    """An address's state: text, and lists as JSON."""
    from json import JSONDecodeError, loads
    from urllib.parse import parse_qsl

    values: dict[str, Any] = dict(parse_qsl(state.lstrip("?"), keep_blank_values=True))
    for name, text in values.items():
        if text.startswith(("[", "{")):
            try:
                values[name] = loads(text)
            except JSONDecodeError as error:
                raise ValueError(f'--state: {name}={text} is not valid JSON ({error}); write "{name}=[1, 2]"') from None
    return values


def _size(characters: int) -> str:
    return f"{characters / 1000:.0f} kB" if characters < 1e6 else f"{characters / 1e6:.1f} MB"


def _needs_extra() -> None:
    for package in ("starlette", "uvicorn", "websockets"):
        if find_spec(package) is None:
            raise ImportError(f"the studio needs {package}: pip install 'nelbo[studio]'")
