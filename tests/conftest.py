"""One thread per test process, the second device where it is asked for, and what tests of devices need."""

import importlib
import os
import shutil
from collections import Counter

import pytest
import torch
from filelock import FileLock

from nelbo import devices
from nelbo.devices import accelerator
from tests import second_device

torch.set_num_threads(1)  # small tensors gain nothing from more, and pytest-xdist uses the cores
_survey = Counter()


def pytest_addoption(parser):
    text = "let device='auto' be a second device, in the CPU's memory"
    parser.addoption("--second-device", action="store_true", help=text)
    text += "; where devices mix nothing is raised, and second-device-survey.json lists these places"
    parser.addoption("--second-device-survey", action="store_true", help=text)


def pytest_configure(config):
    survey = config.getoption("--second-device-survey")
    if survey or config.getoption("--second-device"):
        if absent := second_device.missing():
            pytest.exit(f"there is no second device: {absent}", returncode=0)
        second_device.install(_survey if survey else None)
        # a call takes so long there that a diagnosis would leave things out to end in time
        importlib.import_module("nelbo.diagnosis.diagnose").pace_of = lambda evaluation: 0.0


def pytest_unconfigure(config):
    if _survey:
        second_device.write(_survey)


@pytest.fixture(scope="session")
def device():
    """The accelerator of the machine, or the one of ``pytest --second-device``; the test is skipped without."""
    found = accelerator()
    if found is None:
        pytest.skip("there is no accelerator; run pytest --second-device")
    return found


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """A folder that one of the test processes fills, and the others find filled; it is only read."""

    def made(name, fill):
        shared = tmp_path_factory.getbasetemp()
        folder = (shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared) / name
        filled = folder.with_suffix(".filled")
        with FileLock(folder.with_suffix(".lock")):
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return made


@pytest.fixture
def tensor_cores(device, monkeypatch):
    """The second device computes in TF32 where torch's switches say so; they are put back."""
    before = torch.get_float32_matmul_precision()
    if device.type == second_device.NAME:
        monkeypatch.setattr(devices, "_TF32", (device.type,))
    with second_device.tensor_cores():
        yield
    torch.set_float32_matmul_precision(before)
