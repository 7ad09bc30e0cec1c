"""A seed covers everything: two fresh processes give the same results, whatever their generators hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import seeds


def test_every_public_function_with_a_seed_repeats_in_a_fresh_process():
    assert seeds.seeded().keys() == seeds.calls().keys()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.seeds", str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": str(number)},
        )
        for number in (1, 2)
    ]
    (first, second), errors = zip(*(process.communicate() for process in processes), strict=True)
    assert all(process.returncode == 0 for process in processes), errors
    first, second = json.loads(first), json.loads(second)
    assert first.keys() == seeds.calls().keys()
    assert {name for name in first if first[name] != second[name]} == set()
