"""The settings of a training: the arguments of fit() that a run records, checked."""

import functools
import inspect
import math
import operator
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, final, get_args, get_origin, get_type_hints

import torch

from nelbo.devices import KINDS
from nelbo.files import plain
from nelbo.registry import check_choice, nearest
from nelbo.training.optimizers import Schedule

Precision = Literal["float32", "bfloat16", "tf32"]


@dataclass(frozen=True)
class Limits:
    """The values that a setting may have: from ``low`` to ``high``, both included; ``words`` says so."""

    words: str
    low: float = -math.inf
    high: float = math.inf


_TINY, _HUGE = math.ulp(0.0), sys.float_info.max
_COUNT = Limits("a positive integer", 1)
_POSITIVE = Limits("a finite number > 0", _TINY, _HUGE)


@final
@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is trained: the arguments of these names of :func:`nelbo.fit`, which has their defaults and help.

    A new setting is an argument of ``fit``, a line of its docstring, and a field here with the values it may have; the
    command line, the studio's form, ``run.json`` and ``resume`` follow.
    """

    epochs: Annotated[int, _COUNT]
    batch_size: Annotated[int, _COUNT]
    shards: Annotated[int, _COUNT]
    learning_rate: Annotated[float, _POSITIVE]
    schedule: Schedule
    learning_rate_warm_up: Annotated[float, Limits("a number of epochs >= 0", 0, _HUGE)]
    weight_decay: Annotated[float, Limits("a finite number >= 0", 0, _HUGE)]
    clip: Annotated[float | None, _POSITIVE]
    ema: Annotated[float | None, Limits("a number between 0 and 1, such as 0.999,", _TINY, math.nextafter(1, 0))]
    patience: Annotated[int | None, _COUNT]
    precision: Precision
    compile: bool
    capture: bool
    device: str
    threads: Annotated[int | None, _COUNT]
    seed: Annotated[int, Limits("an integer")]
    checkpoint_every: Annotated[float, Limits("a number of seconds > 0", _TINY)]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Settings":
        """The settings among these values, as numbers of Python.

        Raises:
            ValueError: one is missing or cannot be meant; the message says which values can.
        """
        hints = get_type_hints(cls, include_extras=True)
        if missing := hints.keys() - values.keys():
            raise ValueError(f"the settings lack {', '.join(sorted(missing))}")
        settings = cls(**{name: _checked(name, values[name], hint) for name, hint in hints.items()})
        if settings.learning_rate_warm_up > settings.epochs:
            raise ValueError(
                f"learning_rate_warm_up must be at most epochs={settings.epochs}, got "
                f"{settings.learning_rate_warm_up:g}: the training would end before the learning rate has risen"
            )
        if settings.batch_size % settings.shards:
            near = max(1, round(settings.batch_size / settings.shards)) * settings.shards
            raise ValueError(
                f"batch_size must be a multiple of shards={settings.shards}, got {settings.batch_size}; write "
                f"batch_size={near}"
            )
        return settings

    @classmethod
    def of_record(cls, values: Mapping[str, Any]) -> "Settings":
        """The settings that :meth:`to_record` wrote, checked again: a file may be damaged."""
        every = values.get("checkpoint_every")
        return cls.of({**values, "checkpoint_every": math.inf if every is None else every})

    def to_record(self) -> dict[str, Any]:
        """The settings for run.json; JSON has no infinity, which becomes null."""
        return plain({field.name: getattr(self, field.name) for field in fields(self)})


def limits_of(name: str) -> Limits | None:
    """The values that a setting may have, where they are numbers with limits."""
    hint = get_type_hints(Settings, include_extras=True)[name]
    return hint.__metadata__[0] if get_origin(hint) is Annotated else None


def _checked(name: str, value: Any, hint: Any) -> Any:
    limits = Limits("a number")
    if get_origin(hint) is Annotated:
        hint, limits = get_args(hint)[:2]
    if value is None and type(None) in get_args(hint):
        return None
    if get_origin(hint) is Literal:
        check_choice(name, value, get_args(hint))
        return value
    if hint is bool:
        check_choice(name, value, (True, False))
        return bool(value)
    if hint is str:
        if not isinstance(value, str | torch.device):
            raise ValueError(f"{name} must be a name such as 'auto' or 'cpu', got {value!r}")
        return str(value)
    number = _number(value, whole=int in (hint, *get_args(hint)))
    if number is None or not limits.low <= number <= limits.high:
        raise ValueError(f"{name} must be {limits.words}{' or None' if get_args(hint) else ''}, got {value!r}")
    return number


def _number(value: Any, *, whole: bool) -> int | float | None:
    """The value as a number of Python, or None for one that is not a number."""
    if isinstance(value, bool | str):
        return None
    try:
        return operator.index(value) if whole else float(value)
    except (TypeError, ValueError):
        return None


P = ParamSpec("P")
R = TypeVar("R")

# how other libraries call it
_SYNONYMS = {
    "learning_rate": ("lr", "base_lr", "step_size", "learning_rate_init"),
    "batch_size": ("batch", "bs", "batchsize", "per_device_train_batch_size"),
    "epochs": ("n_epochs", "num_epochs", "max_epochs", "epoch", "n_iter", "max_iter", "num_train_epochs"),
    "device": ("device_name", "accelerator", "gpu", *KINDS),
    "shards": ("num_shards", "n_shards", "gradient_accumulation_steps", "accumulate_grad_batches", "world_size"),
    "threads": ("num_threads", "n_threads", "n_jobs", "num_workers"),
    "seed": ("random_state", "random_seed", "rng", "manual_seed"),
    "clip": ("grad_clip", "clip_grad", "gradient_clip", "gradient_clip_val", "max_grad_norm", "clip_norm"),
    "weight_decay": ("wd", "l2"),
    "schedule": ("scheduler", "lr_scheduler", "lr_schedule", "learning_rate_schedule"),
    "learning_rate_warm_up": ("warm_up", "warmup", "warmup_epochs", "lr_warmup"),
    "patience": ("early_stopping", "early_stopping_patience", "n_iter_no_change"),
    "precision": ("dtype", "amp", "mixed_precision"),
    "validation": ("val", "val_split", "validation_split", "validation_fraction", "test_size", "valid_size"),
    "objective": ("loss", "loss_fn", "criterion"),
    "optimizer": ("optim", "opt", "optimizer_class"),
    "out": ("output", "output_dir", "out_dir", "path", "folder", "save_dir", "checkpoint_dir", "log_dir"),
    "progress": ("verbose", "show_progress", "progress_bar", "enable_progress_bar"),
    "callback": ("callbacks", "on_epoch_end"),
    "data": ("x", "X", "dataset", "train_data", "training_data"),
    "model": ("vae", "net", "module"),
}


def answers_typos(function: Callable[P, R]) -> Callable[P, R]:
    """Name the argument that was meant when one is not an argument of the function."""
    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in names:
                raise TypeError(f"{function.__name__}() has no argument {name!r}; {_meant(name, names)}")
        return function(*args, **kwargs)

    return call


def _meant(name: str, names: list[str]) -> str:
    meant = next((right for right, wrong in _SYNONYMS.items() if name.lower() in wrong or name in wrong), name)
    if near := meant if meant in names else nearest(name, names):
        return f"write {near}="
    if meant in {field.name for field in fields(Settings)}:
        return f"a run goes on with the {meant} that it began with"
    return f"its arguments are {', '.join(names)}"
