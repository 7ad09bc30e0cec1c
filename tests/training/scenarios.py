"""Trainings that are killed and resumed in a process of their own: ``python -m tests.training.scenarios``.

Each is a name -> (fit's settings, a function that makes (model, data)).
"""

import json
import os
import random
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import torch

import nelbo
from tests.training.simple import small


def _sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True)


def _images(folder: Path) -> tuple[Any, Any]:
    return small(event=(1, 6, 6)), nelbo.data.load(folder / "images.npy", binarize="dynamic", validation=40)


def _conv(folder: Path) -> tuple[Any, Any]:
    made = small("beta_vae", event=(1, 6, 6), network="residual", channels=(8,), warm_up=1.0, beta=2.0)
    return made, nelbo.data.load(folder / "images.npy", binarize="dynamic", validation=40)


def _table(folder: Path) -> tuple[Any, Any]:
    return small("sigma_vae", event=(5,)), nelbo.data.load(folder / "table.npy", standardize=True, validation=0.2)


SCENARIOS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dynamic_ema": (
        _images,
        {"ema": 0.99, "schedule": "cosine", "clip": 1.0, "learning_rate_warm_up": 1.0, "checkpoint_every": 1e-4},
    ),
    "convolutions": (_conv, {"patience": 50, "weight_decay": 0.01, "checkpoint_every": 0.02}),
    "optimal_sigma_sgd": (_table, {"optimizer": _sgd, "ema": 0.9, "patience": 3, "schedule": "burda"}),
}


def start(scenario: str, folder: Path, out: Path | None, **more: Any) -> Any:
    make, settings = SCENARIOS[scenario]
    model, data = make(folder)
    return nelbo.fit(
        model,
        data,
        **({"out": out, "epochs": 8, "batch_size": 16, "progress": False, "device": "cpu"} | settings | more),
    )


def go_on(scenario: str, out: Path, **more: Any) -> Any:
    optimizer = SCENARIOS[scenario][1].get("optimizer")
    return nelbo.resume(out, optimizer=optimizer, progress=False, **more)


def _die_in_write(kill_at: int) -> None:
    """SIGKILL to itself in the middle of that write of a file, with half of it written."""
    real, count = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            about = os.fstat(descriptor)
            if stat.S_ISREG(about.st_mode):
                os.truncate(descriptor, about.st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = fsync


# a number: SIGKILL in that write of a file; None: at a moment of chance, in Python or in a kernel of torch
KILLS = (2, 5, None, 7, None, 10, None)


def _children(scenario: str, folder: Path, out: Path, seed: int) -> None:
    """Fork trainings that are killed, then one that ends: torch is imported once for all of them."""
    random.seed(seed)
    torch.set_num_threads(1)
    start(scenario, folder, None, epochs=1)  # imports what is imported where it is used
    for number, kill in enumerate((*KILLS, 0)):
        moment = random.uniform(0.02, 0.2)
        pid = os.fork()
        if pid == 0:
            if kill is None:
                signal.setitimer(signal.ITIMER_REAL, moment)  # nobody handles SIGALRM: the process ends at once
            elif kill:
                _die_in_write(kill)
            _ = go_on(scenario, out) if (out / "run.json").exists() else start(scenario, folder, out)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        run = json.loads((out / "run.json").read_text())["status"] if (out / "run.json").exists() else "not begun"
        print(number, "killed" if os.WIFSIGNALED(status) else f"ended {os.waitstatus_to_exitcode(status)}", run)


if __name__ == "__main__":
    scenario, folder, out, seed = sys.argv[1:]
    _children(scenario, Path(folder), Path(out), int(seed))
