"""`nelbo studio` and `nelbo export`: plain functions, registered with cyclopts by nelbo.cli."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def studio(
    *run: Path,
    port: int | None = None,
    open: Annotated[bool, Parameter(negative="--no-open")] = True,
    allow_origin: list[str] | None = None,
    page: str = "",
) -> None:
    """Open the browser studio: explore KL, the ELBO and reparameterization; inspect, compare and train models.

    It listens on this machine only, at an address that carries a token. Ctrl-C ends it.

    Args:
        run: folders of runs to inspect; by default those of `nelbo demo`, if they are there.
        port: to listen at; 0 for any free one; by default 8765 or the next free one.
        open: open the browser (--no-open: only print the address).
        allow_origin: an origin to let in besides, as in https://hub.example.org, for a proxy in front of the studio.
        page: to open first: kl, metric, elbo, reparam, inspector, train, report or worksheet.
    """
    _needs_extra()
    from nelbo.studio.server import serve

    serve(run, port=port, open_browser=open, allow_origins=allow_origin or [], page=page)


def export(page: str, out: Path | None = None, *, state: str = "") -> None:
    """Write one page of the studio as a single HTML file that opens from disk, without a server or a network.

    Args:
        page: kl, metric, elbo or reparam.
        out: the file; by default nelbo-PAGE.html.
        state: what to show, as the studio's address has it behind the question mark: "mu_p=2&sigma_q=0.5".
    """
    from urllib.parse import parse_qsl

    from nelbo.files import write_bytes
    from nelbo.studio.link import EXPLORERS, export_html

    if page not in EXPLORERS:
        raise ValueError(
            f"no page {page!r} to export; expected one of {', '.join(EXPLORERS)}. A run's inspector is exported from "
            "its page in the studio: nelbo studio RUN"
        )
    path = out or Path(f"nelbo-{page}.html")
    document = export_html(page, dict(parse_qsl(state.lstrip("?"), keep_blank_values=True)))
    write_bytes(path, document.encode())
    print(f"{path}: {len(document) / 1000:.0f} kB, opens in any browser")


def _needs_extra() -> None:
    for package in ("starlette", "uvicorn", "websockets"):
        if find_spec(package) is None:
            raise ImportError(f"the studio needs {package}: pip install 'nelbo[studio]'")
