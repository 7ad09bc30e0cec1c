"""Objectives to and from JSON: a class name and its settings."""

from dataclasses import fields
from typing import Any

from nelbo.objectives.aggregate import MMD, BetaTC
from nelbo.objectives.elbo import ELBO, Beta, Capacity, FreeBits, Reconstruction
from nelbo.objectives.importance import ImportanceWeighted
from nelbo.objectives.objective import Objective
from nelbo.objectives.schedules import Cyclical, Linear, Schedule
from nelbo.registry import did_you_mean

KNOWN: dict[str, type] = {
    known.__name__: known
    for known in (ELBO, Reconstruction, Beta, FreeBits, Capacity, ImportanceWeighted, BetaTC, MMD, Linear, Cyclical)
}


def to_dict(objective: Objective | Schedule) -> dict[str, Any]:
    """The class name under ``"name"``, and every setting; of an objective of the user's own, how it prints."""
    if KNOWN.get(type(objective).__name__) is not type(objective):
        return {"name": f"{type(objective).__module__}.{type(objective).__qualname__}", "repr": repr(objective)}
    settings = {f.name: getattr(objective, f.name) for f in fields(objective)}  # pyright: ignore[reportArgumentType]
    plain = {key: to_dict(value) if isinstance(value, Schedule) else value for key, value in settings.items()}
    return {"name": type(objective).__name__, **plain}


def from_dict(record: dict[str, Any]) -> Any:
    """The objective that :func:`to_dict` wrote; a class of the user's own is a ValueError."""
    settings = {key: from_dict(value) if isinstance(value, dict) else value for key, value in record.items()}
    name = settings.pop("name", None)
    if str(name) not in KNOWN:
        meant = did_you_mean(str(name), KNOWN).removesuffix(".")
        raise ValueError(
            f"the objective {name!r} is not one of nelbo's ({', '.join(KNOWN)}){meant}; pass objective= again"
        )
    try:
        return KNOWN[name](**settings)
    except TypeError as error:
        raise ValueError(f"the saved objective {record} does not fit nelbo's {name}: {error}") from error
