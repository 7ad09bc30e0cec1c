"""The settings: one frozen dataclass that agrees with fit's signature, and answers to what was meant."""

import dataclasses
import inspect
import math
from typing import get_type_hints

import numpy as np
import pytest
import torch
from torch import nn

import nelbo
from nelbo.training.fit import fit
from nelbo.training.resuming import resume
from nelbo.training.settings import Settings
from tests.training.simple import binary, quick, small, weights

# the arguments of fit that a run does not record as settings
OTHERS = {"model", "data", "validation", "objective", "optimizer", "out", "ray", "progress", "callback"}


def defaults(**changes):
    return {name: p.default for name, p in inspect.signature(fit).parameters.items()} | changes


def test_a_setting_is_an_argument_of_fit_of_the_same_type():
    hints = get_type_hints(fit)
    expected = {name: hints[name] for name in inspect.signature(fit).parameters if name not in OTHERS}
    assert get_type_hints(Settings) == expected


def test_through_a_record():
    for changes in ({}, {"checkpoint_every": math.inf, "ema": 0.9, "clip": 2, "threads": 3, "seed": -4}):
        settings = Settings.of(defaults(**changes))
        assert Settings.of_record(settings.to_record()) == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.epochs = 3


def test_numbers_become_python_s():
    settings = Settings.of(
        defaults(epochs=np.int64(3), learning_rate=np.float32(0.5), clip=torch.tensor(2.0), device=torch.device("cpu"))
    )
    assert (settings.epochs, settings.learning_rate, settings.clip, settings.device) == (3, 0.5, 2.0, "cpu")
    assert [type(value) for value in (settings.epochs, settings.learning_rate, settings.device)] == [int, float, str]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": True}, "epochs must be a positive integer, got True"),
        ({"epochs": "3"}, "epochs must be a positive integer, got '3'"),
        ({"learning_rate": math.inf}, "learning_rate must be a finite number > 0, got inf"),
        ({"learning_rate": "1e-3"}, "learning_rate must be a finite number > 0, got '1e-3'"),
        ({"learning_rate": None}, "learning_rate must be a finite number > 0, got None"),
        ({"compile": "no"}, "compile must be one of True, False; got 'no'"),
        ({"compile": 2}, "compile must be one of True, False; got 2"),
        ({"device": 3}, "device must be a name such as 'auto' or 'cpu', got 3"),
        ({"device": None}, "device must be a name such as 'auto' or 'cpu', got None"),
        (
            {"schedule": "cosin"},
            "schedule must be one of 'constant', 'cosine', 'exponential', 'burda'; got 'cosin', did you mean 'cosine'?",
        ),
        (
            {"precision": ["float32"]},
            "precision must be one of 'float32', 'bfloat16', 'tf32'; got ['float32'], did you mean 'float32'?",
        ),
        ({"seed": 1.5}, "seed must be an integer, got 1.5"),
        ({"threads": 0}, "threads must be a positive integer or None, got 0"),
        ({"checkpoint_every": 0}, "checkpoint_every must be a number of seconds > 0, got 0"),
        ({"ema": 0.0}, "ema must be a number between 0 and 1, such as 0.999, or None, got 0.0"),
        ({"learning_rate_warm_up": -1}, "learning_rate_warm_up must be a number of epochs >= 0, got -1"),
    ],
)
def test_what_a_setting_may_be(changes, message):
    with pytest.raises(ValueError, match=changes.keys().__iter__().__next__()) as caught:
        Settings.of(defaults(**changes))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)}, "optimizer must be a function from"),
        ({"optimizer": "adam"}, "optimizer must be a function from parameters"),
        ({"progress": "no"}, "progress must be True, False or a function"),
        ({"progress": None}, "progress must be True, False or a function"),
        ({"callback": 3}, "callback must be a function of an epoch's metrics or None, got 3"),
        ({"out": 3}, "out must be a path or None, got 3"),
        ({"objective": nelbo.objectives.ELBO}, "objective must be a value such as"),
    ],
)
def test_what_the_other_arguments_may_be(argument, expected):
    with pytest.raises(TypeError, match=expected):
        quick(small(), binary(), **argument)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("lr", "learning_rate"),
        ("batch", "batch_size"),
        ("batchsize", "batch_size"),
        ("n_epochs", "epochs"),
        ("max_epochs", "epochs"),
        ("epcohs", "epochs"),
        ("device_name", "device"),
        ("random_state", "seed"),
        ("n_jobs", "threads"),
        ("validation_split", "validation"),
        ("early_stopping", "patience"),
        ("verbose", "progress"),
        ("X", "data"),
    ],
)
def test_near_misses_are_answered_with_the_right_name(wrong, right):
    with pytest.raises(TypeError, match=rf"^fit\(\) has no argument '{wrong}'; write {right}=$"):
        nelbo.fit(small(), binary(), **{wrong: 1})


def test_a_run_goes_on_with_its_settings(tmp_path):
    with pytest.raises(TypeError, match=r"^resume\(\) has no argument 'max_epochs'; write epochs=$"):
        resume(tmp_path, max_epochs=3)
    for name in ("lr", "learning_rate"):
        with pytest.raises(TypeError, match=rf"argument '{name}'; a run goes on with the learning_rate that it began"):
            resume(tmp_path, **{name: 3})
    with pytest.raises(TypeError, match=r"argument 'colour'; its arguments are path, epochs, "):
        resume(tmp_path, colour=3)


def test_the_signature_is_what_an_editor_shows():
    parameters = inspect.signature(nelbo.fit).parameters
    assert parameters["validation"].default is None
    assert parameters["learning_rate"].default == 1e-3
    assert "validation: share or number" in nelbo.fit.__doc__


# --- validation= ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("validation", "sizes"), [(None, (180, 20)), (0, (200, None)), (0.25, (150, 50)), (7, (193, 7))]
)
def test_what_is_held_out_of_an_array(validation, sizes):
    for x in (binary(), binary().numpy(), (binary(), torch.arange(200))):
        data = quick(small(), x, epochs=1, validation=validation).data
        assert (len(data.train), None if data.validation is None else len(data.validation)) == sizes


def test_data_that_are_split_stay_split(tmp_path):
    data = nelbo.data.as_data(binary(), validation=30)
    assert len(quick(small(), data, epochs=1).data.validation) == 30
    with pytest.raises(ValueError, match=r"validation=0\.2 was given for a Data, which is split already; leave it out"):
        quick(small(), data, validation=0.2)
    with pytest.raises(ValueError, match=r"validation=0\.2 was given for a InMemory, which is used as it is; leave it"):
        quick(small(), data.train, validation=0.2)
    given = quick(small(), data.train, epochs=1, validation=data.validation)
    assert given.data.validation is data.validation


def test_a_run_remembers_what_was_held_out(tmp_path):
    quick(small(), binary(), validation=0, out=tmp_path / "run")
    run = nelbo.resume(tmp_path / "run", data=binary(), epochs=4, progress=False)
    assert run.data.validation is None
    whole = quick(small(), binary(), validation=0, epochs=4)
    assert all(
        torch.equal(a, b) for a, b in zip(weights(run.model).values(), weights(whole.model).values(), strict=True)
    )
