"""A run that is trained once: a second call takes it up, finished or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nelbo import runs
from nelbo.data import Data
from nelbo.files import plain
from nelbo.runs import Run
from nelbo.training.fit import fit, resume
from nelbo.vae import Model


def fit_once(make: Callable[[], Model], data: Data, *, out: Path, seed: int = 0, **settings: Any) -> Run:
    """Train into a folder, or load what an earlier call left there, or go on with it where that was stopped.

    Args:
        make: the freshly initialized recipe; its weights are drawn by the seed.
        data: to train on.
        out: the folder.
        seed: of weights, order and noise.
        **settings: of :func:`nelbo.fit`.

    Raises:
        ValueError: the folder holds a run with another recipe, other data or other settings.
    """
    if not (out / runs.RECORD).exists():
        return fit(make(), data, out=out, seed=seed, **settings)
    record = runs.read_record(out)
    _same(out, record, make(), data, {"seed": seed, **settings})
    if record.get("status") == "finished":
        run = runs.load(out)
        return Run(run.model, run.history, run.path, run.record, data)
    return resume(out, data=data, progress=settings.get("progress", True), callback=settings.get("callback"))


def _same(out: Path, record: dict[str, Any], model: Model, data: Data, settings: dict[str, Any]) -> None:
    there = {
        **(record.get("recipe") or {}).get("arguments", {}),
        **record["training"],
        "data": _same_bytes_and_options(record.get("data")),
    }
    wanted = {**(model.recipe or {}).get("arguments", {}), **settings, "data": _same_bytes_and_options(data.origin)}
    for name, value in wanted.items():
        if name in there and there[name] != plain(value):
            if name == "data":
                raise ValueError(
                    f"{out} was trained on other data, or on these with other options; choose another --out"
                )
            raise ValueError(
                f"{out} was trained with {name}={there[name]!r}, not {value!r}; choose another --out, or write "
                f"--{name.replace('_', '-')} {there[name]}"
            )


def _same_bytes_and_options(origin: dict[str, Any] | None) -> Any:
    return plain({name: (origin or {}).get(name) for name in ("sha256", "options")})
