"""nelbo fit: its flags are the arguments of nelbo.data.load, of the recipes and of nelbo.fit."""

import inspect
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.group import Group

from nelbo import data as nelbo_data
from nelbo import recipes
from nelbo.cli.flags import flags
from nelbo.training import fit as train
from nelbo.training import resume as go_on
from nelbo.training.seeds import seeded_weights

DATA, MODEL = Group.create_ordered("Data"), Group.create_ordered("Model")
OBJECTIVE, TRAINING = Group.create_ordered("Recipe's own settings"), Group.create_ordered("Training")

_DATA = flags(nelbo_data.load, group=DATA, skip=("sha256", "seed"))
_MODEL = flags(recipes.compose, group=MODEL, skip=("deterministic",), changed={"likelihood": "auto"})
_TRAINING = flags(train, group=TRAINING, skip=("objective", "optimizer", "out", "progress", "callback"))


def _recipe_flags() -> list[inspect.Parameter]:
    """The arguments that only some recipes have, each with the recipes that take it."""
    shared = {parameter.name for parameter in _MODEL}
    found: dict[str, inspect.Parameter] = {}
    takers: dict[str, list[str]] = {}
    for name, recipe in recipes.RECIPES.items():
        for parameter in flags(recipe, group=OBJECTIVE, skip=tuple(shared), unset=True):
            found.setdefault(parameter.name, parameter)
            default = inspect.signature(recipe).parameters[parameter.name].default
            takers.setdefault(parameter.name, []).append(f"{name}: {default}")
    return [
        parameter.replace(
            annotation=Annotated[
                parameter.annotation, Parameter(help=f"default of {', '.join(takers[name])}", show_default=False)
            ]
        )
        for name, parameter in found.items()
    ]


_OBJECTIVE = _recipe_flags()


def _fit(
    data: str | None = None, *, recipe: str = "vae", out: Path | None = None, resume: Path | None = None, **flags: Any
) -> int:
    if resume is not None:
        changed = {"epochs": flags["epochs"]} if flags["epochs"] != _default("epochs") else {}
        run = go_on(resume, **changed)
    else:
        if data is None:
            raise ValueError("nelbo fit needs DATA: mnist5k, digits, mnist or a path; or --resume RUN")
        run = _start(data, recipe, out, flags)
    print(run)
    print(f"Look at it: nelbo sample {run.path} -n 64")
    return 0


def _start(data: str, recipe: str, out: Path | None, flags: dict[str, Any]) -> Any:
    seed = flags["seed"]
    loaded = nelbo_data.load(data, seed=seed, **{p.name: flags[p.name] for p in _DATA})
    model = {p.name: flags[p.name] for p in _MODEL}
    if model["likelihood"] == "auto":
        model["likelihood"] = recipes.likelihood_for(loaded)
        print(f"likelihood {model['likelihood']}, because the data {_why(loaded)}")
    changed = {k: v for k, v in model.items() if v != _composed(k)}
    own = {p.name: flags[p.name] for p in _OBJECTIVE if flags[p.name] is not None}
    with seeded_weights(seed):
        made = recipes.make(recipe, loaded.event_shape, **changed, **own)
    folder = out or _free_folder(Path("runs"), f"{Path(data).stem}-{recipe}")
    print(loaded)
    return train(made, loaded, out=folder, **{p.name: flags[p.name] for p in _TRAINING})
