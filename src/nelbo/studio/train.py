"""Trainings that the studio started, each in a process of its own; and what the training page asks."""

import atexit
import contextlib
import multiprocessing
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from torch import Tensor

from nelbo import demo, runs
from nelbo.studio.forms import form, read_settings
from nelbo.studio.library import HOME, Library
from nelbo.studio.session import Buffers, Content, Reply, Session, answers
from nelbo.studio.trainee import Examples, kept_snapshot, kept_snapshots, kept_units, shapes, work
from nelbo.studio.wire import pack, unpack

_AT_ONCE = max(2, (os.cpu_count() or 2) // 2)
_STEPS_KEPT = 4000  # reports of running epochs that a page gets when it opens; older ones thin out
_PATIENCE = 20.0  # seconds that a training has to save itself when the studio ends
_ORDERS = ("pause", "play", "step", "epoch", "stop")
_STATUS = {"begin": "training", "paused": "paused", "playing": "training"}  # of a job, by what it reports
_DEMO = HOME / "demo"


@dataclass(eq=False)
class Job:
    """One training process, as far as it has reported."""

    key: str
    out: Path
    does: str
    process: Any
    pipe: Any
    title: str
    status: str = "starting"
    stage: str | None = "importing torch"
    """What it does before the first step."""
    message: str | None = None
    run: str | None = None
    """The run that is in training now; the demo trains three in turn."""
    steps: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    snapshot: Reply | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process is at work, or waits to be told to go on."""
        return self.status in ("starting", "training", "paused")

    def summary(self) -> dict[str, Any]:
        """What a list of trainings shows."""
        names = ("run", "title", "status", "stage", "message")
        return {"job": self.key, **{name: getattr(self, name) for name in names}}


@final
class Jobs:
    """The trainings of one studio.

    Args:
        session: told of everything that happens.
    """

    def __init__(self, session: Session) -> None:
        self.session, self.library = session, Library.of(session)
        self.jobs: OrderedDict[str, Job] = OrderedDict()
        self._clicks: dict[str, str] = {}
        self._lock = threading.RLock()
        session.closing.append(self.close)
        # before multiprocessing's own end, which would kill them; a notebook's kernel ends this way
        atexit.register(self.close)

    @classmethod
    def of(cls, session: Session) -> "Jobs":
        """The session's jobs, made when first asked for."""
        with session.lock:
            if "jobs" not in session.keep:
                session.keep["jobs"] = cls(session)
            return session.keep["jobs"]

    def start(self, task: Mapping[str, Any], out: Path, title: str, *, click: str | None = None) -> Job:
        """Start a process; a second click on the same button finds the job of the first.

        Raises:
            ValueError: too many are at work.
        """
        with self._lock:
            if click is not None and click in self._clicks:
                return self.jobs[self._clicks[click]]
            running = [job for job in self.jobs.values() if job.is_running]
            key = f"{out}{' report' if task['do'] == 'report' else ''}"
            if any(job.key == key for job in running):
                return self.jobs[key]
            if len(running) >= _AT_ONCE:
                names = ", ".join(job.title for job in running)
                raise ValueError(f"{len(running)} trainings are at work ({names}); stop one, or wait for it")
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, {**task, "out": str(out)}), daemon=True)
            process.start()
            theirs.close()  # or the end of the process would not be heard
            job = self.jobs[key] = Job(key, out, task["do"], process, ours, title)
            if click is not None:
                self._clicks[click] = key
        threading.Thread(target=self._listen, args=(job,), daemon=True).start()
        return job

    def order(self, job: Job, order: str) -> None:
        """Pause, play, step, epoch (go on to the end of one) or stop."""
        if not job.is_running:
            raise ValueError(f"the training of {job.title} has ended ({job.status}); go on with it as a new one")
        try:
            job.pipe.send_bytes(pack({"order": order}))
        except OSError:
            return  # it ended this moment, and says so itself
        if order in ("play", "epoch", "step") and job.status == "paused":
            job.status = "training"

    def close(self) -> None:
        """Stop all trainings and wait until they have saved; called when the studio ends."""
        with self._lock:
            running = [job for job in self.jobs.values() if job.process.is_alive()]
            for job in running:
                with contextlib.suppress(OSError):  # it ended this moment
                    job.pipe.send_bytes(pack({"order": "stop"}))
        for job in running:
            job.process.join(_PATIENCE)
            if job.process.is_alive():
                job.process.terminate()
        atexit.unregister(self.close)

    def of_run(self, name: str) -> Job | None:
        """The latest job that trains this run, or trained it."""
        with self._lock:
            for job in reversed(self.jobs.values()):
                if job.does != "report" and (name in (str(job.out), job.run) or name in job.steps):
                    return job
        return None

    def _listen(self, job: Job) -> None:
        """Take what the process sends until it ends, and pass it on to the pages."""
        ended: dict[str, Any] | None = None
        while True:
            try:
                content, buffers = unpack(job.pipe.recv_bytes())
            except (EOFError, OSError):
                break
            if content["event"] == "end":
                ended = content
                continue
            self._note(job, content, buffers)
            self.session.tell("train", {**content, "event": "train", "what": content["event"], "job": job.key}, buffers)
        job.process.join()
        if ended is None:
            code = job.process.exitcode
            how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
            saved = (job.out / "checkpoint").exists()
            advice = "; its last checkpoint is kept, and it can go on from there" if saved else ""
            ended = {"status": "failed", "message": f"the training process {how}{advice}"}
        job.status, job.message = ended["status"], ended["message"]
        self.session.tell("train", {"what": "end", **job.summary()})

    def _note(self, job: Job, content: dict[str, Any], buffers: Buffers) -> None:
        what, run = content["event"], str(content["run"])
        job.status = _STATUS.get(what, job.status)
        job.stage = content["title"] if what == "stage" else None
        if what == "begin":
            job.run = run
            job.steps.setdefault(run, [])
        elif what == "step":
            job.steps[run].append({key: value for key, value in content.items() if key not in ("event", "run")})
            if len(job.steps[run]) > _STEPS_KEPT:
                job.steps[run] = job.steps[run][::2]
        elif what == "snapshot":
            job.snapshot = Reply(content, [bytes(buffer) for buffer in buffers])


@answers("train.form")
def settings_form(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Every setting of a training, from the signatures that take them."""
    return Reply({"fields": form()})


@answers("train.list")
def list_jobs(session: Session, content: Content, buffers: Buffers) -> Reply:
    """The runs there are, and the trainings at work."""
    jobs = Jobs.of(session)
    missing = [name for name in demo.MODELS if not (_DEMO / name / runs.WEIGHTS).exists()]
    offer = bool(missing) and jobs.library.folders[0] == HOME
    made = {"out": str(_DEMO), "models": demo.TITLES, "missing": missing, "offer": offer}
    return Reply({"runs": jobs.library.entries(), "jobs": [job.summary() for job in jobs.jobs.values()], "demo": made})


@answers("train.start")
def start(session: Session, content: Content, buffers: Buffers) -> Reply:
    """A new training with the settings of the form."""
    jobs = Jobs.of(session)
    task = read_settings(content["settings"])
    out = _free_folder(jobs, task)
    return Reply(_started(jobs, task, out, content))


@answers("train.resume")
def go_on(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Go on with an interrupted run, or with a finished one to more epochs."""
    jobs = Jobs.of(session)
    folder, epochs = jobs.library.folder(content["run"]), content.get("epochs")
    if not (epochs is None or (type(epochs) is int and epochs > 0)):
        raise ValueError(f"epochs must be a positive integer, got {epochs!r}")
    return Reply(_started(jobs, {"do": "resume", "epochs": epochs}, folder, content))


@answers("train.demo")
def make_demo(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Train the three models of `nelbo demo` into runs/demo."""
    return Reply(_started(Jobs.of(session), {"do": "demo"}, _DEMO, content))


@answers("train.order")
def order(session: Session, content: Content, buffers: Buffers) -> Reply:
    """Pause, play, step or stop a training."""
    if content["order"] not in _ORDERS:
        raise ValueError(f"an order is one of {', '.join(_ORDERS)}; got {content['order']!r}")
    jobs = Jobs.of(session)
    job = jobs.of_run(str(content["run"]))
    if job is None:
        raise ValueError(f"this studio does not train {content['run']!r}; a training is stopped where it was started")
    jobs.order(job, content["order"])
    return Reply({})


@answers("train.state")
def state(session: Session, content: Content, buffers: Buffers) -> Reply:
    """All there is of a run, whether in training here, in another process, or finished long ago."""
    jobs = Jobs.of(session)
    name = str(content["run"])
    job = jobs.of_run(name)
    if job is not None and name == str(job.out) and job.run is not None:
        name = job.run
    path = Path(name) if job is not None else jobs.library.folder(name)
    record: dict[str, Any] = runs.read_record(path) if job is None or (path / runs.RECORD).exists() else {}
    current = job is not None and job.run in (None, name)  # none yet, where it is still starting or never did
    return Reply(
        {
            "run": name,
            "record": {key: record.get(key) for key in ("status", "recipe", "objective", "data", "training", "error")},
            "history": runs.read_history(path),
            "steps": job.steps.get(name, []) if job is not None else [],
            "snapshots": kept_snapshots(path),
            "units": kept_units(path),
            "job": job.summary() if job is not None and current else None,
        }
    )


@answers("train.snapshot")
def snapshot(session: Session, content: Content, buffers: Buffers) -> Reply:
    """What a run's latent space looked like after an epoch; without ``epoch``, the latest of one in training."""
    jobs = Jobs.of(session)
    name, epoch = str(content["run"]), content.get("epoch")
    job = jobs.of_run(name)
    if epoch is None:
        if job is not None and job.snapshot is not None and job.snapshot.content["run"] == name:
            return job.snapshot
        return _snapshot(*_at_the_end(jobs.library, name))
    if type(epoch) is not int:
        raise ValueError(f"epoch must be an integer, got {epoch!r}")
    path = Path(name) if job is not None else jobs.library.folder(name)
    return _snapshot(epoch, kept_snapshot(path, epoch))


def _at_the_end(library: Library, name: str) -> tuple[int, dict[str, Tensor]]:
    """What a finished run that kept no snapshots looks like now."""
    inspection = library.inspection(name)
    with library.busy:
        dataset = inspection.run.data.validation or inspection.run.data.train
        return len(inspection.run.history), Examples(dataset).under(inspection.model)


def _snapshot(at: int, tensors: Mapping[str, Tensor]) -> Reply:
    order = sorted(tensors)
    return Reply(
        {"at": at, "names": order, **shapes({name: tensors[name] for name in order})},
        [tensors[name].float().contiguous().numpy().tobytes() for name in order],
    )


def _started(jobs: Jobs, task: Mapping[str, Any], out: Path, content: Content) -> dict[str, Any]:
    click = content.get("click")
    job = jobs.start(task, out, out.name, click=None if click is None else str(click))
    jobs.library.add(job.out, expected=False)
    return job.summary()


def _free_folder(jobs: Jobs, task: Mapping[str, Any]) -> Path:
    """HOME/DATA-RECIPE, or with a number behind it: the first that holds no run and is not about to."""
    name = re.sub(r"[^\w.-]+", "-", f"{Path(task['data']).stem}-{task['recipe']}")
    wanted = [HOME / name, *(HOME / f"{name}-{number}" for number in range(2, 10_000))]
    return next(out for out in wanted if not (out / runs.RECORD).exists() and str(out) not in jobs.jobs)
