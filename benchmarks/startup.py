"""Wall time of starting up: ``nelbo --help`` and ``import nelbo``, beside ``import torch`` and an empty Python.

Each in fresh processes, by turns.
"""

import os
import subprocess
import sys
import time
from statistics import median

from benchmarks.mnist import ROOT
from benchmarks.results import Row, options, show

COMMANDS = {
    "nelbo --help": [sys.executable, "-c", "import sys; from nelbo.cli import main; sys.exit(main(['--help']))"],
    "import nelbo": [sys.executable, "-c", "import nelbo"],
    "import torch": [sys.executable, "-c", "import torch"],
    "empty Python": [sys.executable, "-c", "pass"],
}
# bytecode must be written once, or every run would compile anew
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])),
    "PYTHONDONTWRITEBYTECODE": "",
}
"""Of a process that runs this nelbo."""


def measure(*, rounds: int) -> list[Row]:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(1 + rounds):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"{name} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
            if number:  # the first run reads files from disk
                seconds[name].append(time.perf_counter() - started)
    return [Row("start", name, median(times), "s", details={"seconds": times}) for name, times in seconds.items()]


if __name__ == "__main__":
    chosen = options(__doc__).parse_args()
    show(measure(rounds=chosen.rounds), as_json=chosen.json)
