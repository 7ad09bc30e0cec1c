"""The runs that a studio knows: folders named to it, runs below them, and runs in memory."""

import copy
import hashlib
import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, final

from nelbo import runs
from nelbo.files import DamagedFileError
from nelbo.runs import Run
from nelbo.studio.inspection import EXAMPLES, MOST_EXAMPLES, Inspection, checkpoint_epoch, inspect
from nelbo.studio.session import Session

HOME = Path("runs")
"""Where runs are looked for when none is named, and where new ones go."""
_KEPT, _KEPT_EXAMPLES = 8, 250_000  # inspections in memory, and examples in all of them
_LEVELS = ("*", "*/*")
_OF_BETA, _OF_VAES = ("beta", "warm_up"), ("prior", "posterior")  # arguments of recipes


@final
class Library:
    """Finds runs, loads them when asked, and keeps what it loaded.

    Args:
        folders: runs, or folders that hold some; none is `HOME`.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        named = list(folders)
        self.folders = named or [HOME]
        self._named = set(named)
        self.busy = threading.RLock()
        """Held while a model computes: torch's generators, which seed the draws, are the process's own."""
        self._guard = threading.Lock()
        self._in_memory: dict[str, Run] = {}
        self._loaded: OrderedDict[tuple[str, str | None, bool], tuple[int, Inspection]] = OrderedDict()
        self._meant: dict[str, str] = {}
        """By other names than its own, the run that was found under each."""

    @classmethod
    def of(cls, session: Session) -> "Library":
        """The session's library, made when first asked for."""
        with session.lock:
            if "library" not in session.keep:
                session.keep["library"] = cls(session.runs)
            return session.keep["library"]

    def add(self, run: Run | Path, *, expected: bool = True) -> str:
        """Make a run known and return its name; one that is expected is listed even if its folder does not exist."""
        if isinstance(run, Path):
            if run not in self.folders and str(run) not in self.paths():
                self.folders.append(run)
            if expected:
                self._named.add(run)
            return str(run)
        name = str(run.path) if run.path is not None else self._free_name(run.name)
        self._in_memory[name] = _on_cpu(run)
        return name

    def paths(self) -> dict[str, Path]:
        """Name and folder of each run on disk, oldest first among those of one folder."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            if (folder / runs.RECORD).exists():
                found[str(folder)] = folder
                continue
            below = [record for level in _LEVELS for record in folder.glob(f"{level}/{runs.RECORD}")]
            found.update((str(record.parent), record.parent) for record in sorted(below, key=_age))
            if not below and folder in self._named:
                found[str(folder)] = folder  # named by the user: it shall be said what is wrong with it
        return found

    def short_name(self, run: str) -> str:
        """What a link calls a run that is named as by `named`."""
        return short_names(self._known())[run]

    def _known(self) -> list[str]:
        """The names of all runs: on disk, in memory, and those that are still open though their folder is gone."""
        with self._guard:
            loaded = [name for name, _, _ in self._loaded]
        return list(dict.fromkeys([*self.paths(), *self._in_memory, *loaded]))

    def entries(self) -> list[dict[str, Any]]:
        """What a list of runs shows of each; of a damaged one, what is wrong."""
        listed = {name: _entry(name, path) for name, path in self.paths().items() if name not in self._in_memory}
        for name, run in self._in_memory.items():
            listed[name] = _described(name, run.name, run.record or {"status": "in memory"}, run.history)
        with self._guard:
            loaded = [(name, kept.run) for (name, _, _), (_, kept) in self._loaded.items()]
        for name, run in loaded:
            if name not in listed:
                listed[name] = _described(name, run.name, {**run.record, "status": "deleted"}, run.history)
        names = short_names(listed)
        return [{**entry, "name": names[name]} for name, entry in listed.items()]

    def named(self, name: Any) -> str:
        """The run, as `paths` names it, that is meant by its folder or by the end of that, as in a link from elsewhere.

        Raises:
            ValueError: there is no such run, or there are several.
        """
        known = self._known()
        if name in known:
            return name
        found = [key for key in known if isinstance(name, str) and name and _same_run(name, key)]
        if not found:
            raise ValueError(f"no run {name!r} here; there are: {', '.join(known) or 'none yet'}")
        if len(found) > 1:
            raise ValueError(f"{name!r} may be any of {', '.join(found)}; write more of its path")
        return found[0]

    def folder(self, name: Any) -> Path:
        """The folder of a run that the library knows.

        Raises:
            ValueError: it knows none of that name; a page cannot make it read anywhere else.
        """
        paths, key = self.paths(), self.named(name)
        if key not in paths:
            raise ValueError(f"no run {name!r} here; there are: {', '.join(paths) or 'none yet'}")
        return paths[key]

    def inspection(self, name: Any, split: str | None = None, *, whole: bool = False) -> Inspection:
        """A run with its first examples under its model; from memory, where its weights have not changed.

        Args:
            name: of the run.
            split: which part of its data; None takes what was held out.
            whole: take all examples of the part, up to 100,000.

        Raises:
            DamagedFileError: the folder is damaged, half-written or no run.
            ValueError: an unknown run or split, or one whose data or model cannot be rebuilt.
        """
        with self.busy:
            # a drag asks in every frame: folders are searched once
            if name not in self._meant:
                self._meant[name] = self.named(name)
            name = self._meant[name]
            kept, run = self._loaded.get((name, split, whole)), self._in_memory.get(name)
            path = Path(name)
            if run is None and kept is not None and not (path / runs.RECORD).exists():
                return kept[1]  # deleted while open: what is in memory still serves
            version = _version(path) if run is None else id(run)
            if kept is None or kept[0] != version:
                limit = MOST_EXAMPLES if whole else EXAMPLES
                kept = (version, inspect(_read(path) if run is None else run, split=split, limit=limit))
            self._keep(name, split, whole, kept)
            return kept[1]

    def _keep(self, name: str, split: str | None, whole: bool, found: tuple[int, Inspection]) -> None:
        """As the last one looked at, also under the name of its split; the one not looked at for longest goes."""
        with self._guard:
            for key in ((name, split, whole), (name, found[1].split, whole)):
                self._loaded[key] = found
                self._loaded.move_to_end(key)
            while len(self._loaded) > 2 * _KEPT or self._examples() > _KEPT_EXAMPLES:
                if next(iter(self._loaded.values())) is found:
                    break  # alone
                self._loaded.popitem(last=False)

    def _examples(self) -> int:
        return sum(len(one.x) for one in {id(one): one for _, one in self._loaded.values()}.values())

    def _free_name(self, name: str) -> str:
        names = [name, *(f"{name}-{number}" for number in range(2, len(self._in_memory) + 3))]
        return next(free for free in names if free not in self._in_memory)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """The shortest end of each path that is the end of no other: what a link calls the run.

    >>> short_names(["runs/a/vae", "runs/b/vae", "runs/b/ae"])
    {'runs/a/vae': 'a/vae', 'runs/b/vae': 'b/vae', 'runs/b/ae': 'ae'}
    """
    parts = {name: PurePath(name).parts for name in names}
    ends = Counter(own[-n:] for own in parts.values() for n in range(1, len(own) + 1))

    def shortest(name: str, own: tuple[str, ...]) -> str:
        return next((str(PurePath(*own[-n:])) for n in range(1, len(own)) if ends[own[-n:]] == 1), name)

    return {name: shortest(name, own) for name, own in parts.items()}


def _same_run(one: str, other: str) -> bool:
    """Whether two paths are of one folder, as far as they go: one is the end of the other, or both lead there."""
    a, b = PurePath(one).parts, PurePath(other).parts
    n = min(len(a), len(b))
    return n > 0 and (a[-n:] == b[-n:] or Path(one).absolute() == Path(other).absolute())


def _read(path: Path) -> Run:
    """A run as the pages show it: on the CPU, where a drag's few examples take less time than on an accelerator."""
    return runs.read(path, device="cpu")


def _on_cpu(run: Run) -> Run:
    """The run; with a copy of its model on the CPU, where the examples are, if it is on an accelerator."""
    if all(parameter.device.type == "cpu" for parameter in run.model.parameters()):
        return run
    return replace(run, model=copy.deepcopy(run.model).cpu().eval())


def _age(record: Path) -> float:
    """When the run began: its checkpoint's folder is made then; run.json is written again when it ends."""
    made = record.parent / "checkpoint"
    return (made if made.exists() else record).stat().st_mtime


def _version(path: Path) -> int:
    files = [path / runs.WEIGHTS, path / runs.CHECKPOINT]
    return next((file.stat().st_mtime_ns for file in files if file.exists()), 0)


def _entry(name: str, path: Path) -> dict[str, Any]:
    try:
        entry = _described(name, path.name, runs.read_record(path), runs.read_history(path))
        return {**entry, "weights": (path / runs.WEIGHTS).is_file(), "checkpoint": checkpoint_epoch(path)}
    except (DamagedFileError, OSError) as error:
        return {"run": name, "title": path.name, "status": "damaged", "error": str(error)}


def _described(name: str, title: str, record: dict[str, Any], history: list[runs.Epoch]) -> dict[str, Any]:
    recipe = record.get("recipe") or {}
    arguments = recipe.get("arguments") or {}
    last = history[-1] if history else {}
    part = "validation" if "validation_nelbo" in last else "train"
    terms = {term: last.get(f"{part}_{term}") for term in ("reconstruction_error", "kl", "nelbo")}
    return {
        "run": name,
        "title": title,
        "status": record.get("status", "unfinished"),
        "weights": True,
        "error": record.get("error"),
        "recipe": recipe.get("name"),
        "latent": arguments.get("latent"),
        "objective": record.get("objective"),
        "kin": _kin(arguments, record.get("data")),
        "model": record.get("model"),
        "data": (record.get("data") or {}).get("source"),
        "seed": (record.get("training") or {}).get("seed"),
        "epochs": len(history),
        "of": (record.get("training") or {}).get("epochs"),
        "seconds": last.get("seconds"),
        "split": part if last else None,
        "terms": terms if last else None,
        "standard_error": last.get(f"{part}_nelbo_standard_error"),
    }


def _kin(arguments: dict[str, Any], data: Any) -> list[str]:
    """Two short words, equal for runs that differ in beta alone: for all models, and for what autoencoders lack."""
    own = {name: arguments.get(name) for name in _OF_VAES}
    shared = {name: value for name, value in arguments.items() if name not in (*_OF_VAES, *_OF_BETA)}
    words = (json.dumps(part, sort_keys=True, default=str) for part in ([shared, data], own))
    return [hashlib.sha256(word.encode()).hexdigest()[:12] for word in words]
