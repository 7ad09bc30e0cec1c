"""The process that trains for the studio: it reports through a pipe, and obeys what comes back.

It ends in one of four ways, each a run on disk: finished; stopped by the page; stopped because the studio ended, or was
killed, which closes the pipe; or by an error, whose text is reported. In all but the last the run can be resumed.
"""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nelbo import data as nelbo_data
from nelbo import demo, diagnosis, measure, recipes, runs
from nelbo.data import Dataset
from nelbo.evaluation import evaluate, sample
from nelbo.files import DamagedFileError, read_tensors, write_tensors
from nelbo.studio.wire import pack, unpack
from nelbo.training import Interrupted, fit, resume
from nelbo.training.loop import Loop

SNAPSHOTS = "snapshots"
"""Folder in a run that holds what its latent space looked like after some of its epochs."""
_STEPS_APART = 0.05  # seconds between two reports of a running epoch: 20 a second
_SHARE = 0.15  # of the training time that live pictures may take
_CLOUD, _PICTURES, _SAMPLES = 1000, 16, 25
_MOST_ON_DISK = 200  # snapshots of a run
_MOST_UNITS = 64  # of the latent space whose use is followed
_MOST_CLASSES = 20  # more labels than can be told apart by colour


def work(pipe: Connection, task: Mapping[str, Any]) -> None:
    """Train as the task says: the target of the spawned process."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in the terminal is for the studio, which then asks for a stop: once, not twice
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a studio in the background ignores it, and so would we
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)  # the pages go first
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    end: dict[str, Any] = {"event": "end", "status": "finished", "message": None}
    try:
        if task["do"] == "report":
            _report(task, pipe)
        else:
            _train(task, pipe)
    except Interrupted as stopped:
        end.update(status="interrupted", message=str(stopped))
    except KeyboardInterrupt:
        end.update(status="interrupted", message="stopped before the first step")
    except Exception as error:
        end.update(status="failed", message=str(error) or type(error).__name__)
    with contextlib.suppress(OSError):  # the studio may be gone
        pipe.send_bytes(pack(end))


def _train(task: Mapping[str, Any], pipe: Connection) -> None:
    out, progress = task["out"], partial(Reporter, pipe)
    _tell(pipe, "stage", out, "loading the data")
    if task["do"] == "demo":
        demo.train(demo.load_data(), Path(out), progress=progress)
        return
    if task["do"] == "resume":
        resume(out, epochs=task.get("epochs"), progress=progress)
        return
    seed = task["training"].get("seed", 0)
    loaded = nelbo_data.load(task["data"], seed=seed, **task["options"])
    _tell(pipe, "stage", out, "making the model")
    model, _ = recipes.make_for(loaded, task["recipe"], **task["arguments"])
    fit(model, loaded, out=out, progress=progress, **task["training"])


def _report(task: Mapping[str, Any], pipe: Connection) -> None:
    """Measure and diagnose a run, section by section, and keep what was found with it."""
    folder = task["out"]
    tell = partial(_tell, pipe, "section", folder)
    tell("loading the run")
    run = runs.read(folder)
    report = measure.report(run, effort=task["effort"], progress=tell)
    report.save(folder)  # before the diagnosis, which may fail
    tell("looking for faults")
    findings = diagnosis.diagnose(run)
    findings.save(folder)
    report.save(folder, first=[findings.to_html()])


def _tell(pipe: Connection, event: str, run: str, title: str) -> None:
    """Say what is being done."""
    with contextlib.suppress(OSError):  # the studio is gone
        pipe.send_bytes(pack({"event": event, "run": run, "title": title}))


@final
class Reporter:
    """What a training shows, sent through a pipe; and the pipe's other end: pause, play, step, stop.

    Args:
        pipe: to the studio.
        loop: of the training.
    """

    def __init__(self, pipe: Connection, loop: Loop) -> None:
        self.pipe, self.loop = pipe, loop
        self._next = self._next_picture = 0.0
        self._paused = False
        self._until: str | None = None
        dataset = loop.data.validation or loop.data.train
        self._examples = Examples(dataset)
        self._keep_every = max(1, -(-loop.settings.epochs // _MOST_ON_DISK))
        begin = {"epochs": loop.settings.epochs, "batches": loop.updates.per_epoch, "lines": loop.history}
        self._send("begin", begin)
        self._show(loop.state.position.epoch, keep=loop.state.position.step == 0)

    def due(self) -> bool:
        """Whether a report is due; asked at every step, so orders are heard here."""
        self._obey()
        return self._paused or time.monotonic() >= self._next

    def update(self, epoch: int, batch: int, means: dict[str, float], speed: float) -> None:
        """Report the running epoch; while paused, wait here."""
        self._next = time.monotonic() + _STEPS_APART
        at = epoch + batch / self.loop.updates.per_epoch
        norm = _gradient_norm(self.loop.model)
        self._send("step", {"at": at, **means, "gradient_norm": norm, "examples_per_second": round(speed, 1)})
        if self._paused or time.monotonic() >= self._next_picture:
            self._show(at)
        if self._until == "step":
            self._until, self._paused = None, True
            self._send("paused", {"at": at})
        while self._paused and self._until is None:
            self._obey(wait=True)

    def end_epoch(self, epoch: dict[str, Any]) -> None:
        """Report a finished epoch, and keep what its latent space looks like."""
        self._send("epoch", {"line": epoch})
        number = epoch["epoch"]
        self._show(number, keep=number % self._keep_every == 0 or number == self.loop.settings.epochs)
        if self._until == "epoch":
            self._until, self._paused = None, True
            self._send("paused", {"at": number})

    def _obey(self, *, wait: bool = False) -> None:
        try:
            while self.pipe.poll(0.25 if wait else 0):
                order = unpack(self.pipe.recv_bytes())[0]["order"]
                if order == "stop":
                    self._stop()
                elif order in ("step", "epoch"):
                    self._until, self._paused = order, order == "step"
                    return
                else:
                    self._until, self._paused = None, order == "pause"
                    self._send("paused" if self._paused else "playing", {})
        except (EOFError, OSError):  # the studio is gone
            self._stop()

    def _stop(self) -> None:
        self._paused, self._until = False, None
        signal.raise_signal(signal.SIGINT)  # the loop obeys it between two steps, and saves

    def _show(self, at: float, *, keep: bool = False) -> None:
        """Send a picture of the latent space, and keep it with the run."""
        began = time.monotonic()
        tensors = self._examples.under(self.loop.model, seed=self.loop.settings.seed)
        self._send("snapshot", {"at": at, "names": list(tensors), **shapes(tensors)}, tensors)
        if keep and self.loop.keeper.folder is not None:
            write_tensors(self.loop.keeper.folder / SNAPSHOTS / f"{int(at):06d}.safetensors", tensors)
        now = time.monotonic()
        self._next_picture = now + max(0.1, (now - began) / _SHARE)

    def _send(self, event: str, content: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
        name = None if self.loop.keeper.folder is None else str(self.loop.keeper.folder)
        buffers = [tensor.contiguous().numpy().tobytes() for tensor in (tensors or {}).values()]
        with contextlib.suppress(OSError):  # the studio is gone: the next order to be heard is its silence
            self.pipe.send_bytes(pack({"event": event, "run": name, **content}, buffers))


@final
class Examples:
    """The examples whose way through the model is shown while it trains.

    Args:
        dataset: of which the first are taken.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.batch = dataset.examples(min(_CLOUD, len(dataset)))
        labels = self.batch.labels
        self.labels = None if labels is None or len(labels.unique()) > _MOST_CLASSES else labels

    def under(self, model: Any, *, seed: int = 0) -> dict[str, Tensor]:
        """Means of q(z|x), KL of each unit, and pictures, as float32.

        Returns:
            ``z`` (n, latent), ``kl_per_unit`` (latent or 1,), ``x`` and ``reconstruction`` (16, \\*event), ``samples``
            (25, \\*event) decoded from the same draws of p(z) each time; ``labels`` (n,) where there are classes.
        """
        evaluation = evaluate(model, self.batch, seed=seed)
        units = evaluation.kl_per_unit
        few = evaluation[:_PICTURES]
        tensors = {
            "z": evaluation.embedding,
            "kl_per_unit": evaluation.terms(2).kl.value.mean()[None] if units is None else units.mean(0),
            "x": few.x,
            "reconstruction": few.reconstruction,
            "samples": sample(model, _SAMPLES, mean=True, seed=seed),
        }
        if self.labels is not None:
            tensors["labels"] = self.labels
        return {name: tensor.detach().float().cpu() for name, tensor in tensors.items()}


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The shape of each, for the page that gets them as buffers."""
    return {"shapes": [list(tensor.shape) for tensor in tensors.values()]}


def kept_snapshots(run: Path) -> list[int]:
    """The epochs after which a run's latent space was kept."""
    return sorted(int(file.stem) for file in (run / SNAPSHOTS).glob("[0-9]*.safetensors"))


def kept_snapshot(run: Path, epoch: int) -> dict[str, Tensor]:
    """What `Examples.under` found after an epoch.

    Raises:
        DamagedFileError: none was kept, or the file is damaged.
    """
    kept = kept_snapshots(run)
    if epoch not in kept:
        raise DamagedFileError(f"{run} keeps no picture of epoch {epoch}; it keeps {len(kept)}")
    return read_tensors(run / SNAPSHOTS / f"{epoch:06d}.safetensors")[0]


def kept_units(run: Path) -> list[tuple[int, list[float]]]:
    """Epoch and KL of each latent unit, in nats, after the epochs that were kept; none for an autoencoder."""
    found: list[tuple[int, list[float]]] = []
    for epoch in kept_snapshots(run):
        try:
            with safe_open(run / SNAPSHOTS / f"{epoch:06d}.safetensors", "pt") as file:
                kl = file.get_tensor("kl_per_unit")[:_MOST_UNITS]
        except (OSError, SafetensorError):
            continue  # damaged: what it holds is asked for by itself, and then said
        if bool(kl.isfinite().all()):
            found.append((epoch, [round(value, 5) for value in kl.tolist()]))
    return found


def _gradient_norm(model: torch.nn.Module) -> float:
    """Of the last step, over all weights."""
    squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
