"""Train and measure every model of the plan, two at a time, and write docs/reproduce.md.

Stopped at any moment, the same command goes on where it was; what is done is not done again.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import mnist
from benchmarks.reproduce.figure import draw
from benchmarks.reproduce.job import MEASURED
from benchmarks.reproduce.plan import FULL, QUICK, Plan
from benchmarks.reproduce.table import markdown, read, write
from nelbo import runs

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reproduce.md"
_POLL = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description=__doc__)
    parser.add_argument("--mnist", help="a .npz file with x_train and x_test")
    parser.add_argument("--out", type=Path, help="folder of the runs (runs/reproduce)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each (2)")
    parser.add_argument("--quick", action="store_true", help="an epoch of 1,000 images each; no page is written")
    chosen = parser.parse_args(arguments)
    if chosen.jobs < 1:
        parser.error(f"--jobs is at least 1, got {chosen.jobs}")
    plan = QUICK if chosen.quick else FULL
    out = chosen.out or ROOT / "runs" / ("reproduce-quick" if chosen.quick else "reproduce")
    finished = _run_all(plan, mnist.find(chosen.mnist), out, jobs=chosen.jobs, quick=chosen.quick)
    content = markdown(plan, read(plan, out))
    print(content)
    if not finished:
        print(f"\nstopped; everything so far is in {out}. Go on with the same command", file=sys.stderr)
        return 130
    if not chosen.quick:
        write(PAGE, content)
        draw(plan, out, PAGE.parent / "images" / "reproduce.png")
    return 0


def _run_all(plan: Plan, path: Path, out: Path, *, jobs: int, quick: bool) -> bool:
    """Run every training and its measurement, each in a process of its own; False where Ctrl-C stopped them."""
    out.mkdir(parents=True, exist_ok=True)
    waiting, running = list(plan.trainings), dict[str, subprocess.Popen[bytes]]()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with Shown(plan, out) as shown:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    training = waiting.pop(0)
                    command = [sys.executable, "-m", "benchmarks.reproduce.job", training.name, str(path), str(out)]
                    running[training.name] = subprocess.Popen(
                        [*command, "quick" if quick else "full"], cwd=ROOT, env=environment, start_new_session=True
                    )
                time.sleep(_POLL)
                shown.update()
                for name, process in list(running.items()):
                    if (code := process.poll()) is not None:
                        del running[name]
                        if code:
                            raise SystemExit(f"{name} ended with status {code}; the others were stopped and saved")
            shown.update()
        except KeyboardInterrupt:
            return False
        finally:
            # each stops between two steps and saves; a process that is not waited for would write on
            for process in running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
            for process in running.values():
                process.wait()
    return True


class Shown:
    """A bar for each training, read from the files that it writes; a line now and then where nobody sees bars."""

    def __init__(self, plan: Plan, out: Path) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.plan, self.out = plan, out
        self.console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.tasks = {
            training.name: self.bars.add_task(training.title, total=training.epochs, state="waits")
            for training in plan.trainings
        }
        self.said: dict[str, str] = {}

    def __enter__(self) -> "Shown":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def update(self) -> None:
        for training in self.plan.trainings:
            folder = self.out / training.name
            history = runs.read_history(folder)
            if not history:
                continue
            state = f"NELBO {history[-1]['validation_nelbo']:.2f} nats on {self.plan.held_out} held-out images"
            if (folder / MEASURED).is_dir():
                state = f"trained, {len(list((folder / MEASURED).glob('*.json')))} measurements"
            self.bars.update(self.tasks[training.name], completed=len(history), state=state)
            part = f"{10 * len(history) // training.epochs}0 %"
            if not self.console.is_terminal and self.said.get(training.name) != part:
                self.said[training.name] = part
                self.console.print(f"{training.title}: {len(history)} of {training.epochs} epochs, {state}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # asked to end, it ends as at Ctrl-C
    sys.exit(main())
