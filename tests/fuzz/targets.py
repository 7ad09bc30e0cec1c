"""The four doors through which other people's input comes, each as a property of one input."""

import contextlib
import gzip
import io
import json
import re
import shutil
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from nelbo.cli import main
from nelbo.data.named import FILES
from nelbo.files import json_text
from nelbo.studio.forms import form, read_settings
from nelbo.studio.library import Library
from nelbo.studio.session import Session, _answers
from nelbo.studio.wire import FrameError, pack, unpack
from tests.fuzz.strategies import CSVS, EDITS, EXPRESSIONS, JSON_OR_DEEP, PNGS, replaced

LIMIT = 120  # seconds after which an input counts as a hang; the machine may be busy
_G = np.random.default_rng(0)


class HangError(BaseException):
    """An input that was not done after the limit."""


@dataclass
class Tally:
    """How the inputs of a target ended."""

    ends: Counter[str] = field(default_factory=Counter[str])
    slowest: float = 0.0
    what: str = ""
    """The slowest input."""

    @contextlib.contextmanager
    def watched(self, given: Any) -> Generator[None]:
        """Within, one input is tried."""

        def stop(*_: Any) -> None:
            raise HangError(f"not done after {LIMIT} seconds")

        begun, before = time.perf_counter(), signal.signal(signal.SIGALRM, stop)
        signal.alarm(LIMIT)
        try:
            yield
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
            if (seconds := time.perf_counter() - begun) > self.slowest:
                self.slowest, self.what = seconds, repr(given)[:500]


TALLIES: dict[str, Tally] = {}


def _command(name: str, *words: str) -> tuple[int, str]:
    """What a command returns and says; anything but a sentence and a status is a fault, and raised."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([name, *words])
        except SystemExit as stop:  # words that are no command line
            status = int(stop.code or 0)
    said = err.getvalue()
    assert status in (0, 1, 2), f"status {status}: {said}"
    assert "Traceback" not in said, said
    assert status == 0 or said.strip() or out.getvalue().strip(), "refused without a word"
    assert len(said) < 20_000, f"{len(said)} characters: {said[:500]}"
    TALLIES[_now[0]].ends["done" if status == 0 else "refused"] += 1
    return status, said


_now = [""]


def _target(name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    TALLIES[name] = Tally()

    def decorate(check: Callable[[Any], None]) -> Callable[[Any], None]:
        def checked(given: Any) -> None:
            _now[0] = name
            with TALLIES[name].watched(given):
                check(given)

        return checked

    return decorate


# ---- the data of nelbo fit


def _bytes_of(write: Callable[[io.BytesIO], Any]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


_ROWS, _IMAGES = _G.normal(size=(12, 4)).astype(np.float32), _G.integers(0, 256, (3, 8, 8), dtype=np.uint8)
_TABLE = pa.table({"a": np.arange(40), "b": _G.normal(size=40), "c": ["x", "y"] * 20, "d": np.arange(40) % 2 == 0})
_WHOLE = {
    "a.npy": _bytes_of(lambda f: np.save(f, _ROWS)),
    "b.npy": _bytes_of(lambda f: np.save(f, _IMAGES)),
    "a.npz": _bytes_of(lambda f: np.savez(f, x=_ROWS, y=np.arange(12))),
    "b.npz": _bytes_of(lambda f: np.savez_compressed(f, x_train=_ROWS, x_test=_ROWS)),
    "a.csv": b"a,b,c\n" + b"".join(b"%d,%d.5,2\n" % (i, i % 3) for i in range(12)),
    "a.parquet": _bytes_of(lambda f: parquet.write_table(_TABLE.drop_columns("c"), f, row_group_size=16)),
    "b.parquet": _bytes_of(lambda f: parquet.write_table(_TABLE, f, compression="gzip", use_dictionary=["c"])),
    "1.png": _bytes_of(lambda f: Image.fromarray(_IMAGES[0]).save(f, "png")),
    "1.jpg": _bytes_of(lambda f: Image.fromarray(_IMAGES[0]).save(f, "jpeg")),
    "idx": struct.pack(">IIII", 0x803, 3, 8, 8) + _IMAGES.tobytes(),
    "idx.gz": gzip.compress(struct.pack(">II", 0x801, 3) + b"\0\1\2", mtime=0),
}
DATA = st.one_of(
    st.tuples(st.sampled_from(sorted(_WHOLE)), EDITS),
    st.tuples(st.just("csv"), CSVS),
    st.tuples(st.just("png"), PNGS),
)


@_target("data of fit")
def fit_data(given: tuple[str, Any]) -> None:
    """``nelbo fit PATH`` trains on whatever stands there, or says what is wrong with it."""
    kind, how = given
    content = how if isinstance(how, bytes) else _WHOLE[kind]
    for edit in [] if isinstance(how, bytes) else how:
        content = edit(content)
    with TemporaryDirectory() as folder:
        here = Path(folder)
        if kind.startswith("idx"):
            for name, whole in zip(FILES, ("idx", "idx.gz", "idx", "idx.gz"), strict=True):
                suffix = ".gz" if whole == "idx.gz" else ""
                (here / f"{name}{suffix}").write_bytes(content if whole == kind else _WHOLE[whole])
            path = here
        elif kind in ("png", "1.png", "1.jpg"):
            (here / "images").mkdir()
            (here / "images/0.png").write_bytes(_WHOLE["1.png"])
            (here / "images" / f"1{Path(kind).suffix or '.png'}").write_bytes(content)
            path = here / "images"
        else:
            path = here / f"data.{kind.rpartition('.')[2]}"
            path.write_bytes(content)
        size = ("--latent", "2", "--hidden", "4", "--network", "mlp", "--epochs", "1", "--limit", "50")
        _, said = _command("fit", str(path), *size, "--out", str(here / "run"))
        assert "[Errno" not in said, said


# ---- the expressions of nelbo kl


KL = st.tuples(EXPRESSIONS, EXPRESSIONS)


@_target("expressions of kl")
def kl_expressions(given: tuple[str, str]) -> None:
    """``nelbo kl P Q`` gives two numbers, or says where the expression is wrong."""
    status, said = _command("kl", *given)
    assert status == 0 or "method=" not in said, f"a flag that the shell lacks: {said}"


# ---- folders of runs


@contextlib.contextmanager
def _runs() -> Generator[Path]:
    """A folder with a finished run, ``whole``, and the same run as a kill would leave it, ``killed``; made once."""
    if not _made:
        folder = Path(_kept.name)
        np.save(folder / "x.npy", _G.normal(size=(40, 3)).astype(np.float32))
        words = ("--latent", "2", "--hidden", "4", "--epochs", "2", "--batch-size", "16")
        _command("fit", str(folder / "x.npy"), *words, "--out", str(folder / "whole"))
        shutil.copytree(folder / "whole", folder / "killed")
        (folder / "killed/weights.safetensors").unlink()
        record = json.loads((folder / "killed/run.json").read_text())
        (folder / "killed/run.json").write_text(json_text({**record, "status": "training"}))
        _made.append(folder)
    yield _made[0]


_kept = TemporaryDirectory()
_made: list[Path] = []
_PARTS = ("run.json", "metrics.jsonl", "weights.safetensors", "checkpoint/state.safetensors")
RUNS = st.tuples(
    st.sampled_from(["whole", "killed"]),
    st.one_of(
        st.tuples(st.sampled_from(_PARTS), EDITS),
        st.tuples(st.just("record"), st.integers(0, 300), st.one_of(JSON_OR_DEEP, st.just(...))),
        st.tuples(st.just("position"), st.integers(0, 300), st.one_of(JSON_OR_DEEP, st.just(...))),
        st.tuples(st.just("line"), st.integers(0, 300), st.one_of(JSON_OR_DEEP, st.just(...))),
        st.tuples(st.sampled_from(_PARTS), st.just(None)),
    ),
    st.sampled_from(["sample", "embed", "reconstruct", "resume", "compare", "studio"]),
)


@_target("folders of runs")
def run_folders(given: tuple[str, tuple[Any, ...], str]) -> None:
    """A damaged run is gone on with, or refused with the file's name."""
    which, damage, command = given
    with _runs() as made, TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        shutil.copytree(made / which, run)
        _damage(run, *damage)
        if command == "resume":
            _command("fit", "--resume", str(run), "--epochs", "3")
        elif command == "compare":
            _command("compare", str(made / "whole"), str(run), "--effort", "quick", "--out", f"{folder}/page.html")
        elif command == "studio":
            session = Session([run, made / "whole"])
            for kind in ("inspect.runs", "inspect.open", "train.list", "train.state", "beta.series", "report.open"):
                _answered(session.ask({"kind": kind, "id": 1, "run": str(run)}))
        else:
            more = ("-n", "2") if command == "sample" else ()
            _command(command, str(run), *more, "--out", f"{folder}/out.npy")


def _damage(run: Path, part: str, *how: Any) -> None:
    from nelbo.files import read_tensors, write_tensors

    if part == "record":
        record = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(replaced(record, *how)))
    elif part == "line":
        first, *others = (run / "metrics.jsonl").read_text().splitlines()
        (run / "metrics.jsonl").write_text("\n".join([json.dumps(replaced(json.loads(first), *how)), *others, ""]))
    elif part == "position":
        tensors, position = read_tensors(run / "checkpoint/state.safetensors")
        write_tensors(run / "checkpoint/state.safetensors", tensors, replaced(position, *how))
    elif how == (None,):
        (run / part).unlink(missing_ok=True)
    elif (run / part).exists():
        content = (run / part).read_bytes()
        for edit in how[0]:
            content = edit(content)
        (run / part).write_bytes(content)


# ---- messages to the studio


_STARTS_A_PROCESS = {"train.start", "train.resume", "train.demo", "report.make"}
_NEEDED = ("rows", "part", "layers", "p", "q")
_EXPLORED = {
    **{"family": "normal", "mu": 0, "sigma": 1, "nu": 3, "skew": 1, "low": -1, "high": 1},
    **{"weight": 0.5, "mu2": 1, "sigma2": 2, "rate": 1, "prob": 0.5},
}
_WORDS: dict[str, Any] = {
    "split": ["train", "validation", None],
    "rows": [[0], [0, 1], list(range(100)), "0"],
    "all": [True, False],
    "part": ["decoder", "encoder"],
    "axes": [[0, 1], [1, 0], "principal", None],
    "at": [[0.0, 0.0], None],
    "low": [[-1, -1]],
    "high": [[1, 1], [-1, -1]],
    "layers": [["prior"], ["holes"], ["decoded", "aggregate", "stretch"], "prior"],
    "n": [2, 16, 128, 10**9],
    "draws": [2, 100, 10**9],
    "inputs": [True],
    "order": ["pause", "stop"],
    "epoch": [0, 1, -1],
    "p": [_EXPLORED, {"family": "mixture"}, {**_EXPLORED, "sigma": 1e-300}],
    "q": [{**_EXPLORED, "family": family} for family in ("laplace", "student", "truncated", "mixture", "skew")],
}
_CONTENT = st.fixed_dictionaries(
    {
        "id": st.one_of(st.integers(), JSON_OR_DEEP),
        "run": st.one_of(*[st.sampled_from(["whole", "killed"])] * 4, JSON_OR_DEEP),
        "other": st.sampled_from(["whole", "killed"]),
        **{name: st.one_of(*[st.sampled_from(_WORDS[name])] * 4, JSON_OR_DEEP) for name in _NEEDED},
    },
    optional={
        name: st.one_of(*[st.sampled_from(values)] * 2, JSON_OR_DEEP)
        for name, values in _WORDS.items()
        if name not in _NEEDED
    },
)
_NUMBERS = st.lists(st.one_of(st.floats(-3, 3), st.floats(width=32)), min_size=1, max_size=4)
_FLOATS = _NUMBERS.map(lambda values: np.array(values).astype("<f4").tobytes())
MESSAGES = st.one_of(
    st.tuples(st.integers(0, 99), _CONTENT, st.lists(st.one_of(_FLOATS, st.binary(max_size=9)), max_size=3)),
    st.tuples(st.just("settings"), st.dictionaries(st.sampled_from([f["name"] for f in form()]), JSON_OR_DEEP)),
    st.tuples(st.just("bytes"), st.one_of(st.binary(max_size=60), EDITS)),
)


@_target("messages to the studio")
def studio_messages(given: tuple[Any, ...]) -> None:
    """Every message gets an answer that can be sent; a wrong one says what is wrong."""
    what, *rest = given
    if what == "bytes":
        frame = rest[0]
        if isinstance(frame, list):
            frame = pack({"kind": "inspect.runs", "id": 1}, [b"abc", b"defg"])
            for edit in rest[0]:
                frame = edit(frame)
        try:
            unpack(frame)
            TALLIES[_now[0]].ends["done"] += 1
        except FrameError:
            TALLIES[_now[0]].ends["refused"] += 1
    elif what == "settings":
        try:
            read_settings(rest[0])
            TALLIES[_now[0]].ends["done"] += 1
        except (TypeError, ValueError):
            TALLIES[_now[0]].ends["refused"] += 1
    else:
        with _runs() as made:
            session = _session(made)
            kinds = sorted(set(_answers) - _STARTS_A_PROCESS)
            content = {"id": 1, **rest[0], "kind": kinds[what % len(kinds)]}
            for name in ("run", "other"):
                content[name] = (
                    str(made / content[name]) if content.get(name) in ("whole", "killed") else content.get(name)
                )
            content, buffers = unpack(pack(content, rest[1])) if _packs(content) else (content, rest[1])
            _answered(session.ask(content, buffers))


def _packs(content: Any) -> bool:
    try:
        unpack(pack(content))
    except FrameError:  # too deep: the studio refuses it before anyone is asked
        return False
    return True


_sessions: list[Session] = []


def _session(made: Path) -> Session:
    if not _sessions:
        session = Session([made / "whole", made / "killed"])
        session.prepare()
        Library.of(session)
        _sessions.append(session)
    return _sessions[0]


def _answered(reply: Any) -> None:
    pack(reply.content, reply.buffers)
    error = reply.content.get("error")
    assert error is None or not re.match(r"\w+Error: ", str(error)), error
    TALLIES[_now[0]].ends["done" if error is None else "refused"] += 1


TARGETS: dict[str, tuple[Callable[[Any], None], Any]] = {
    "data of fit": (fit_data, DATA),
    "expressions of kl": (kl_expressions, KL),
    "folders of runs": (run_folders, RUNS),
    "messages to the studio": (studio_messages, MESSAGES),
}
