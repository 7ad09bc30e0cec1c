"""Search for inputs that end in a traceback or not at all: ``python -m tests.fuzz [--minutes 10] [--only NAME]``."""

import argparse
import re
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.targets import TALLIES, TARGETS, HangError

_INPUTS_OF_A_ROUND = 60
_PAGE = Path(__file__).parents[2] / "docs/training.md"
_BEGIN, _END = "<!-- fuzz: written by make fuzz -->", "<!-- end of fuzz -->"


def search(name: str, round_: int) -> BaseException | None:
    """Try some inputs of a target; what the smallest faulty one raised, or None."""
    check, inputs = TARGETS[name]
    several = settings(
        max_examples=_INPUTS_OF_A_ROUND, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seed(round_)(several(given(inputs)(check)))()
    except (Exception, HangError) as fault:
        return fault
    return None


def table(seconds: float, faults: dict[str, set[str]]) -> str:
    """The figures, as a table of the docs."""
    lines = ["| input | tried | taken | refused in a sentence | tracebacks | hangs | slowest |", f"|{'---|' * 7}"]
    for name, tally in TALLIES.items():
        hangs = sum("HangError" in fault for fault in faults[name])
        ends = [tally.ends["done"] + tally.ends["refused"], tally.ends["done"], tally.ends["refused"]]
        found = [*map("{:,}".format, ends), len(faults[name]) - hangs, hangs, f"{tally.slowest:.1f} s"]
        lines.append(f"| {name} | {' | '.join(map(str, found))} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return "\n".join([*lines, "", f"In {seconds / 60:.0f} minutes on one core; at most {peak:.1f} GiB of memory."])


def run(arguments: list[str]) -> int:
    """Search for as long as asked, print the figures, and write them into the docs where the search was whole."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", choices=TARGETS, help="search in one target")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--docs", action="store_true", help="write the figures into docs/training.md")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    begun, round_ = time.monotonic(), options.seed
    faults: dict[str, set[str]] = {name: set() for name in TARGETS}
    while time.monotonic() - begun < 60 * options.minutes:
        for name in [options.only] if options.only else TARGETS:
            fault = search(name, round_)
            if fault is not None:
                where = traceback.extract_tb(fault.__traceback__)[-1]
                place = f"{type(fault).__name__} at {Path(where.filename).name}:{where.lineno}"
                if place not in faults[name]:
                    faults[name].add(place)
                    print(f"--- {name}, round {round_}: {place}", flush=True)
                    print("".join(traceback.format_exception(fault)[-1:]), "\n".join(getattr(fault, "__notes__", [])))
                    traceback.print_tb(fault.__traceback__, limit=-6)
        round_ += 1
    figures = table(time.monotonic() - begun, faults)
    print(figures)
    print(*(f"slowest of {name}: {tally.what}" for name, tally in TALLIES.items()), sep="\n")
    if options.docs:
        text = _PAGE.read_text("utf-8")
        _PAGE.write_text(re.sub(f"(?s)({_BEGIN}).*?({_END})", rf"\1\n{figures}\n\2", text), "utf-8")
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
