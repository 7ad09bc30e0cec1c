"""The form of a training, read from the signatures that take its settings; and the way back."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nelbo import data as nelbo_data
from nelbo import likelihoods, recipes
from nelbo.data.named import NAMED
from nelbo.docstrings import described
from nelbo.training import fit
from nelbo.training.settings import Settings, limits_of

# what the page shows first, in its order; `more` folds out
_DATA = {"binarize": False, "limit": True, "validation": True, "standardize": True, "dequantize": True}
_MODEL = {
    "latent": False,
    "likelihood": False,
    "network": False,
    "hidden": False,
    "channels": True,
    "activation": True,
    "prior": True,
    "posterior": True,
}
# what the studio sees to by itself is left out
_LEFT_OUT = ("shards", "precision", "compile", "capture", "device", "threads", "checkpoint_every")
_FIRST = ("epochs", "learning_rate", "seed")
_TRAINING = dict.fromkeys(_FIRST, False) | {
    each.name: True for each in dataclasses.fields(Settings) if each.name not in (*_FIRST, *_LEFT_OUT)
}
# low and high end of what a field lets in, where the page can say so before anything is loaded
_LIMITS: dict[str, tuple[float, float]] = {
    "latent": (1, 512),
    "beta": (0.0, 1e6),
    "floor": (0.0, 1e3),
    "warm_up": (0.0, 1e5),
    "samples": (1, 1000),
    "limit": (2, 10_000_000),
    "cycles": (1, 1000),
}
# a field has no use for numbers beyond these, which the settings of a training allow
_SMALLEST, _LARGEST = 1e-8, 2**31 - 1
_AUTO = "auto"


def form() -> list[dict[str, Any]]:
    """The fields: name, group, kind, default, help; and the recipes that take it, where not all do."""
    source = {
        "name": "data",
        "group": "data",
        "kind": "text",
        "default": "mnist5k",
        "suggestions": list(NAMED),
        "help": f"{', '.join(NAMED)}, or the path of a .npy, .npz, .csv or .parquet file or of a folder of images or "
        "of .parquet files.",
    }
    recipe = {
        "name": "recipe",
        "group": "model",
        "kind": "choice",
        "choices": list(recipes.RECIPES),
        "default": "vae",
        "help": "The model and its objective, by the published name.",
        "told": {name: (inspect.getdoc(make) or "").split("\n")[0] for name, make in recipes.RECIPES.items()},
    }
    shared = _fields(recipes.compose, _MODEL, "model")
    likelihood = next(field for field in shared if field["name"] == "likelihood")
    likelihood |= {"kind": "text", "default": _AUTO, "suggestions": [_AUTO, *likelihoods.names()]}
    likelihood["help"] = f"auto: what fits the data. {likelihood['help']}"
    return [
        source,
        *_fields(nelbo_data.load, _DATA, "data"),
        recipe,
        *_own(),
        *shared,
        *_fields(fit, _TRAINING, "training"),
    ]


def read_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the form holds, as the task of a training process.

    Args:
        settings: name -> value; what is left out keeps its default.

    Raises:
        ValueError: an unknown name, or a value that its field cannot hold.
    """
    if not isinstance(settings, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"settings are an object of names and values, got {type(settings).__name__}")
    fields = {field["name"]: field for field in form()}
    if unknown := sorted(set(settings) - set(fields)):
        raise ValueError(f"no setting {unknown[0]!r}; there are: {', '.join(fields)}")
    values = {name: _read(fields[name], value) for name, value in settings.items() if value is not None}
    chosen = values.pop("recipe", "vae")
    if values.get("likelihood") == _AUTO:
        del values["likelihood"]
    groups: dict[str, dict[str, Any]] = {"data": {}, "model": {}, "training": {}}
    for name, value in values.items():
        takers = fields[name].get("recipes")
        if takers is None or chosen in takers:
            groups[fields[name]["group"]][name] = value
    return {
        "do": "fit",
        "data": groups["data"].pop("data", "mnist5k"),
        "options": groups["data"],
        "recipe": chosen,
        "arguments": groups["model"],
        "training": groups["training"],
    }


def _own() -> list[dict[str, Any]]:
    """What only some recipes take."""
    shared = inspect.signature(recipes.compose).parameters
    found: dict[str, dict[str, Any]] = {}
    for name, make in recipes.RECIPES.items():
        for parameter in inspect.signature(make).parameters.values():
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or parameter.name in shared:
                continue
            field = found.setdefault(parameter.name, {**_field(parameter, {}, "model"), "recipes": [], "defaults": {}})
            field["recipes"].append(name)
            field["defaults"][name] = parameter.default
    return list(found.values())


def _fields(function: Callable[..., Any], names: Mapping[str, bool], group: str) -> list[dict[str, Any]]:
    parameters, hints, helps = inspect.signature(function).parameters, get_type_hints(function), described(function)
    return [
        {**_field(parameters[name], hints, group), "help": helps.get(name, "").replace("`", ""), "more": more}
        for name, more in names.items()
    ]


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any], group: str) -> dict[str, Any]:
    default, hint = parameter.default, hints.get(parameter.name, parameter.annotation)
    field: dict[str, Any] = {"name": parameter.name, "group": group, "default": default, "kind": "text", "help": ""}
    choices = _choices(hint)
    if choices:
        field.update(kind="choice", choices=choices)
    elif isinstance(default, bool):
        field["kind"] = "flag"
    elif isinstance(default, tuple):
        field.update(kind="widths", default=list(default))
    elif isinstance(default, int) or int in get_args(hint):
        field["kind"] = "whole"
    elif isinstance(default, float) or float in get_args(hint):
        field["kind"] = "number"
    if limits := _limits(parameter.name, group):
        field["limits"] = list(limits)
    return field


def _limits(name: str, group: str) -> tuple[float, float] | None:
    """Low and high end of a field: of a training setting, those that fit() checks."""
    limits = limits_of(name) if group == "training" else None
    if limits is None:
        return _LIMITS.get(name)
    low = max(limits.low, -_LARGEST)
    return (_SMALLEST if 0 < low < _SMALLEST else low), min(limits.high, _LARGEST)


def _choices(hint: Any) -> list[Any]:
    members = get_args(hint)
    found = [choice for each in (hint, *members) if get_origin(each) is Literal for choice in get_args(each)]
    return [None, *found] if found and type(None) in members else found


def _read(field: Mapping[str, Any], value: Any) -> Any:
    name, kind = field["name"], field["kind"]
    if kind == "choice":
        if value not in field["choices"]:
            raise ValueError(f"{name} must be one of {', '.join(map(str, field['choices']))}; got {value!r}")
        return value
    if kind == "flag":
        return bool(value)
    if kind == "widths":
        if not isinstance(value, list) or not all(type(width) is int and 0 < width <= 100_000 for width in value):
            raise ValueError(f"{name} must hold the width of each layer, as in 400 200; got {value!r}")
        return tuple(value)
    if kind in ("whole", "number"):
        return _number(field, value)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a non-empty text, got {value!r}")
    return value


def _number(field: Mapping[str, Any], value: Any) -> int | float:
    name = field["name"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    if field["kind"] == "whole" and value != int(value):
        raise ValueError(f"{name} must be an integer, got {value}")
    low, high = field.get("limits", (-math.inf, math.inf))
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {value}")
    return int(value) if field["kind"] == "whole" else float(value)
