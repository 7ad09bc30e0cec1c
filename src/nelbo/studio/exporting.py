"""Pages and sites without Python: what their pages of runs would ask for, asked when they are written."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from nelbo.files import write_bytes
from nelbo.studio.beta import all_series, series_of
from nelbo.studio.library import Library
from nelbo.studio.link import OF_RUNS, STATIC, export_html, index_html, travelling
from nelbo.studio.networks import LARGEST
from nelbo.studio.session import Session
from nelbo.studio.wire import pack

_OF_EACH_CLASS, _AT_LEAST = 3, 24  # examples that travel with the file, besides the pinned ones
_SNAPSHOTS = 12
_LONGEST_PATH = 1000
_RANKED = 12  # examples at either end of the order by a term

Ask = Callable[..., dict[str, Any]]


def export_page(session: Session, page: str, state: Mapping[str, Any]) -> str:
    """Any page as one HTML document; a page of runs with what it shows of them.

    Args:
        session: that knows the runs.
        page: as for `nelbo.studio.export_html`.
        state: of the page.

    Raises:
        ValueError: an unknown page, or a run that cannot be opened.
    """
    if not isinstance(state, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f'a state is an object, as in {{"run": "runs/x"}}; got {type(state).__name__}')
    made, found = prepared(session, page, state)
    name = str(made.get("run", "")).rpartition("/")[2]
    return export_html(page, made, attachments=found, title=f"nelbo: {page} of {name}" if name else None)


def export_site(session: Session, out: Path) -> int:
    """Write the studio as a folder of files that any web server can offer: every page, and what it shows of the runs.

    Args:
        session: that knows the runs; each travels alone, and beside each of the first two.
        out: the folder; files of a site that was written there before are replaced.

    Returns:
        The size of all files, in bytes.

    Raises:
        ValueError: a run cannot be opened.
    """
    runs = [entry["run"] for entry in Library.of(session).entries() if entry["status"] in ("finished", "in memory")]
    answers = Answers(session, _short(runs))
    for run in runs:
        for page in ("train", "report", "inspector"):
            _ask_for(answers, page, {}, [run])
        for other in runs[:2]:
            if other != run:
                _ask_for(answers, "inspector", {}, [run, other])
    for series in all_series(Library.of(session)):
        _ask_for(answers, "beta", {}, [one["run"] for one in series["runs"]])
    answers.list_only(runs)
    travels = [path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.suffix in (".js", ".css")]
    files = {name: travelling(name).encode() for name in travels}
    manifest: dict[str, str] = {}
    for question, answer in answers.packed.items():
        manifest[question] = f"answers/{hashlib.sha256(answer).hexdigest()[:16]}.bin"
        files[manifest[question]] = answer
    files["index.html"] = index_html(manifest).encode()
    for name, content in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out / name, content)
    return sum(map(len, files.values()))


class Answers:
    """The answers to a page's questions, each asked once.

    Args:
        session: that answers.
        names: how runs are called in what travels, by their names in the session.
    """

    def __init__(self, session: Session, names: Mapping[str, str]) -> None:
        self.session, self.names = session, names
        self.packed: dict[str, bytes] = {}
        """By the question, as core/recorded.js spells it."""
        self._known: dict[str, dict[str, Any]] = {}

    def ask(self, kind: str, *, required: bool = True, **content: Any) -> dict[str, Any]:
        """The answer, which is kept; {} where there is none and none is required."""
        question = f"{kind} {json.dumps(_renamed(content, self.names), sort_keys=True, separators=(',', ':'))}"
        if question not in self._known:
            reply = self.session.ask({"kind": kind, "id": 0, **content})
            if "error" in reply.content:
                if required:
                    raise ValueError(reply.content["error"])
                return {}
            answer = {name: value for name, value in reply.content.items() if name not in ("id", "kind")}
            if kind == "inspect.open":
                answer["name"] = answer["run"]  # what travels has one name for a run
            self._known[question] = answer
            self.packed[question] = pack(_renamed(answer, self.names), reply.buffers)
        return self._known[question]

    def list_only(self, runs: Sequence[str]) -> None:
        """Have the lists of runs name only those that travel."""
        entries = [entry for entry in Library.of(self.session).entries() if entry["run"] in runs]
        entries = _renamed([{**entry, "name": entry["run"]} for entry in entries], self.names)
        demo = {"out": "", "models": {}, "missing": [], "offer": False}
        self.packed["inspect.runs {}"] = pack({"runs": entries})
        series = [
            each for each in all_series(Library.of(self.session)) if all(one["run"] in runs for one in each["runs"])
        ]
        named = [{**each, "runs": [{**one, "name": one["run"]} for one in each["runs"]]} for each in series]
        self.packed["beta.series {}"] = pack({"series": _renamed(named, self.names)})
        self.packed["train.list {}"] = pack({"runs": entries, "jobs": [], "demo": demo})


def prepared(session: Session, page: str, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The state of a page of runs with its run named, and the answers that it will need, by their questions.

    Args:
        session: that knows the runs.
        page: "inspector", "train", "report" or "beta"; others need nothing.
        state: of the page.

    Raises:
        ValueError: there is no such run, or it cannot be opened.
    """
    if page not in OF_RUNS:
        return dict(state), {}
    library = Library.of(session)
    made = {**state, "run": state.get("run") or _first(session, page)}
    made |= {key: library.named(made[key]) for key in ("run", "other") if made.get(key)}
    if page == "beta":
        runs = [one["run"] for one in series_of(library, made["run"])]
    else:
        runs = [name for name in (made["run"], made.get("other")) if name]
    answers = Answers(session, _short(runs))
    _ask_for(answers, page, made, runs)
    answers.list_only(runs)
    return _renamed(made, answers.names), answers.packed


def _ask_for(answers: Answers, page: str, state: Mapping[str, Any], runs: list[str]) -> None:
    """Ask what a page will ask of these runs."""
    if page == "train":
        _training(answers.ask, runs)
    elif page == "beta":
        rows = [state["row"]] if type(state.get("row")) is int else []
        for run in runs:
            _inspector(answers.session, answers.ask, {"pins": rows}, [run])
        answers.ask("beta.directions", run=runs[0])
    else:
        _inspector(answers.session, answers.ask, state, runs)
    if page == "report":
        answers.ask("report.open", run=runs[0])


def _short(runs: Sequence[str]) -> dict[str, str]:
    """Each run's folder as its name, numbered where two are called the same: paths of a disk are nobody's business."""
    names: dict[str, str] = {}
    for run in runs:
        name = Path(run).name
        same = sum(Path(other).name == name for other in names)
        names[run] = f"{name}-{same + 1}" if same else name
    return names


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A value of JSON in which runs have other names, also in words, and data are named without the path to them."""
    if isinstance(value, Mapping):
        return {key: _renamed(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    if not isinstance(value, str) or value in names:
        return names.get(value, value)
    for run, name in names.items():
        for path in (str(Path(run).absolute()), run):
            value = value.replace(path, name) if "/" in path else value
    is_place = len(value) < _LONGEST_PATH and Path(value).is_absolute() and Path(value).exists()
    return Path(value).name if is_place else value  # of the data


def _first(session: Session, page: str) -> str:
    series = all_series(Library.of(session)) if page == "beta" else []
    if series:
        return series[0]["runs"][0]["run"]
    entries = [entry for entry in Library.of(session).entries() if entry["status"] in ("finished", "in memory")]
    if not entries:
        raise ValueError("no finished run to export; name one, as in nelbo export inspector runs/NAME")
    return next((entry["run"] for entry in entries if entry["recipe"] != "autoencoder"), entries[0]["run"])


def _inspector(session: Session, ask: Ask, state: Mapping[str, Any], names: list[str]) -> None:
    split = {"split": state["split"]} if state.get("split") else {}
    asked: list[dict[str, Any]] = []
    for name in names:
        which = {"run": name, **split}
        _look_closely(session, which, state.get("pins"))
        info = ask("inspect.open", **which)
        asked.append(_axes(state, info, own=not asked))
        parts = [part for part, travels in info["in_page"].items() if travels]
        for part in parts:
            ask("inspect.weights", run=name, part=part)
        local = "decoder" in parts
        # with all inputs, and a decoder, every example can be looked at in the file; they shall not outweigh a decoder
        all_inputs = local and info["n"] * prod(info["event"]) <= LARGEST
        if all_inputs:
            ask("inspect.inputs", **which)
        for row in _rows(session, which, info["n"], state.get("pins"), few=all_inputs):
            ask("inspect.examples", **which, rows=[row])
        if len(info["axes"]) == 2:
            _planes(ask, {**which, **asked[-1]}, info, local=local)
    if len(names) == 2:
        first = ask("inspect.open", run=names[0], **split)
        both = {**asked[0], **{f"other_{key}": axes for key, axes in asked[1].items()}}
        ask("inspect.align", required=False, run=names[0], other=names[1], split=first["split"], **both)


def _look_closely(session: Session, which: Mapping[str, Any], pins: Any) -> None:
    """Measure the examples with the largest and smallest terms over many draws: the file's table ranks by them."""
    library = Library.of(session)
    with library.busy:
        inspection = library.inspection(which["run"], which.get("split"))
        n = len(inspection.x)
        if inspection.evaluation.is_point:
            return
        some = min(_RANKED, n)
        order = [each.value.argsort().tolist() for each in inspection.terms.values()]
        pinned = [row for row in pins if type(row) is int and 0 <= row < n] if isinstance(pins, list) else []
        for row in {*pinned, *(row for rows in order for row in rows[:some] + rows[-some:])}:
            inspection.closely(row)


def _axes(state: Mapping[str, Any], info: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
    """The axes of a plane, where the page will ask for others than Python chooses; units are the first run's own."""
    if state.get("projection") == "principal" and info["principal"]:
        return {"axes": "principal"}
    units = state.get("axes") if own else None
    return {"axes": units} if units and units != info["axes"] else {}


def _planes(ask: Ask, which: Mapping[str, Any], info: Mapping[str, Any], *, local: bool) -> None:
    if "axes" in which:
        ask("inspect.plane", **which, layers=["prior"], n=8)
    # the whole plane, and the part that holds the prior: an autoencoder's codes lie far beyond it
    prior = dict(zip(("low", "high"), info["prior_box"], strict=True)) if "axes" not in which else {}
    for ends in ({}, prior) if prior else ({},):
        ask("inspect.plane", **which, layers=["prior", "aggregate"], n=72, **ends)
        ask("inspect.plane", required=False, **which, layers=["prior", "holes"], n=72, **ends)
    if info["latent"] == 2:
        ask("inspect.plane", **which, layers=["stretch"], n=32)
        if not local:
            ask("inspect.plane", **which, layers=["decoded"], n=15)


def _rows(session: Session, which: Mapping[str, Any], n: int, pins: Any, *, few: bool) -> list[int]:
    """The pinned examples, some of each class, and the first."""
    inspection = Library.of(session).inspection(which["run"], which.get("split"))
    pinned = pins if isinstance(pins, list) else []
    chosen = {row: None for row in pinned if type(row) is int and 0 <= row < n}
    if inspection.labels is not None:
        for label in inspection.labels.unique()[:20]:
            rows = (inspection.labels == label).nonzero().flatten()
            chosen |= dict.fromkeys(rows[: 1 if few else _OF_EACH_CLASS].tolist())
    chosen |= dict.fromkeys(range(min(n, max(0, (1 if few else _AT_LEAST) - len(chosen)))))
    return list(chosen)


def _training(ask: Ask, names: list[str]) -> None:
    for name in names:
        state = ask("train.state", run=name)
        kept = state["snapshots"]
        some = kept[:: max(1, -(-len(kept) // _SNAPSHOTS))]
        for epoch in dict.fromkeys([*some, *kept[-1:]]):
            ask("train.snapshot", required=False, run=name, epoch=epoch)
        if not kept:
            ask("train.snapshot", required=False, run=name)
