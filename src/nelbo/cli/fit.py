"""nelbo fit: its flags are the arguments of nelbo.data.load, of the recipes and of nelbo.fit."""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.group import Group

from nelbo import data as nelbo_data
from nelbo import likelihoods, recipes
from nelbo.cli.flags import flag_names, flags, in_flags, plain, with_flags
from nelbo.data.parquet import is_address
from nelbo.data.previewing import Preview, is_table, preview
from nelbo.devices import pick_device
from nelbo.docstrings import described
from nelbo.runs import RECORD, Epoch, Run, read_history, read_record
from nelbo.training import fit as train
from nelbo.training import resume as go_on
from nelbo.training import track as tracked
from nelbo.training.tracking import TrackerName

Callback = Callable[[Epoch], None] | None

DATA = flags(nelbo_data.load, group=Group.create_ordered("Data"), skip=("sha256", "seed"))
MODEL = flags(
    recipes.compose,
    group=Group.create_ordered("Model"),
    skip=("deterministic",),
    notes={"likelihood": f"One of {', '.join(likelihoods.names())}; what fits the data if not given."},
)
TRAINING = flags(
    train,
    group=Group.create_ordered("Training"),
    skip=("validation", "objective", "optimizer", "out", "ray", "progress", "callback"),
)
_RECIPE = inspect.Parameter(
    "recipe",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Literal[tuple(recipes.RECIPES)] | None,
        Parameter(
            help="the model, by its published name (default vae; of data with missing values, missing_vae; of a mixed "
            "table, table_vae)."
        ),
    ],
)
_OF_RESUME = ("epochs", "device", "threads")


def _recipe_flags() -> list[inspect.Parameter]:
    """The arguments that only some recipes have, each with its meaning in the recipes that take it."""
    shared = tuple(parameter.name for parameter in MODEL)
    group = Group.create_ordered("Recipe's own settings")
    parameters: dict[str, inspect.Parameter] = {}
    helps: dict[str, list[str]] = {}
    for name, recipe in recipes.RECIPES.items():
        words = described(recipe)
        for parameter in flags(recipe, group=group, skip=shared):
            parameters.setdefault(parameter.name, parameter)
            default = inspect.signature(recipe).parameters[parameter.name].default
            helps.setdefault(parameter.name, []).append(f"{name} (default {plain(default)}): {words[parameter.name]}")
    return [
        parameter.replace(annotation=Annotated[parameter.annotation, Parameter(help="of " + " Of ".join(helps[name]))])
        for name, parameter in parameters.items()
    ]


_OWN = _recipe_flags()


@with_flags(_RECIPE, *DATA, *MODEL, *_OWN, *TRAINING)
def fit(
    data: str | None = None,
    *,
    out: Path | None = None,
    resume: Path | None = None,
    ray: int | None = None,
    track: TrackerName | None = None,
    **values: Any,
) -> int:
    """Train a model on a named set or your own files, or resume a run.

    Args:
        data: mnist5k, digits, mnist, or a path: .npy, .npz, .csv, .parquet, a folder of .parquet files (or its address,
            such as s3://bucket/folder), an image folder. With --resume, where the data of the run lie now.
        out: directory of the run; by default runs/DATA-RECIPE.
        resume: resume this run instead; the result is that of an uninterrupted one.
        ray: train by so many processes of a Ray cluster, that of RAY_ADDRESS or one that is started here, of --threads
            (default 1) each. They must divide --shards, which are as many by default. Needs nelbo[cluster].
        track: also send the numbers of each epoch to tensorboard, mlflow, wandb or trackio, which must be installed.
        **values: of nelbo.data.load, of the recipe and of nelbo.fit.
    """
    callback = None if track is None else tracked(track)  # before anything is read
    if resume is not None:
        run = _go_on(resume, data, values, ray, callback)
        if run is None:
            return 0
    elif data is None:
        raise ValueError("nelbo fit needs DATA: mnist5k, digits, mnist or a path; or --resume RUN")
    else:
        run = _start(data, values["recipe"], out, values, ray, callback)
    print(run)
    print(f"Is it any good?   nelbo measure {run.path}")
    if not run.model.deterministic:  # there is no bound of an autoencoder to diagnose
        print(f"What is wrong?    nelbo diagnose {run.path}")
    print(f"Look inside:      nelbo studio {run.path}")
    return 0


def _start(
    data: str, recipe: str | None, out: Path | None, values: dict[str, Any], ray: int | None, callback: Callback
) -> Run:
    if ray is None:
        pick_device(values["device"])  # before anything is read or downloaded
    seed = values["seed"] or 0
    options = given(DATA, values)
    expects_holes = bool(options.get("missing"))  # asked for, though there may be none yet
    if not options.keys() & {"columns", "types"}:
        options |= for_table(previewed(data, options), options)
    loaded = nelbo_data.load(data, seed=seed, **options)
    print(in_flags(str(loaded), flag_names(DATA)))
    chosen = given((*MODEL, *_OWN), values)
    if loaded.kinds:
        recipe = recipe or "table_vae"
        print(f"Its columns are of several kinds: --columns all --recipe {recipe}, a likelihood for each column")
    if loaded.missing:
        recipe = recipe or "missing_vae"
        print(f"{loaded.missing:,} values are missing: --recipe {recipe}, whose encoder is told which")
    elif expects_holes:
        recipe = recipe or "missing_vae"
        chosen.setdefault("takes_missing", True)
        print(f"No value is missing, and --missing observed was asked for: --recipe {recipe} takes data with holes")
    recipe = recipe or "vae"
    _only_its_own(recipe, chosen)
    model, suggestion = recipes.make_for(loaded, recipe, **chosen)
    if suggestion is not None:
        print(f"What the model sees looks like {suggestion.summary.kind}: --likelihood {suggestion.name}")
    folder = out or _free_folder(Path("runs"), f"{Path(data).stem}-{recipe}")
    return train(model, loaded, out=folder, ray=ray, callback=callback, **given(TRAINING, values))


def given(parameters: Iterable[inspect.Parameter], values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that belong to these flags and were given."""
    found = {p.name: values[p.name] for p in parameters if values[p.name] is not None}
    if "types" in found:
        pairs = [text.rpartition("=") for text in found["types"]]
        bad = [text for text, (name, _, _) in zip(found["types"], pairs, strict=True) if not name]
        if bad:
            raise ValueError(f"--types takes COLUMN=KIND, such as --types zip=categorical, got {bad[0]!r}")
        found["types"] = {name: kind for name, _, kind in pairs}
    return found


def previewed(source: str, chosen: dict[str, Any]) -> Preview | None:
    """The columns of a table, or None of anything else.

    Args:
        source: a path or the name of a set.
        chosen: the options that were given.
    """
    if not (is_table(source) and (is_address(source) or Path(source).expanduser().exists())):
        return None
    named = chosen.get("columns")
    return preview(source, label=chosen.get("label"), columns=None if named == ["all"] else named)


def for_table(found: Preview | None, chosen: dict[str, Any]) -> dict[str, Any]:
    """The options by which a table is taken whose columns are not all numbers, or have empty cells."""
    if found is None or "columns" in chosen or "types" in chosen:
        return {}
    empty = "missing" not in chosen and any(c.missing for c in found.columns if c.used == "feature")
    return {"columns": ["all"]} if found.names("refused") or empty else {}


def _only_its_own(recipe: str, chosen: dict[str, Any]) -> None:
    for name in chosen:
        takers = [known for known, make in recipes.RECIPES.items() if name in inspect.signature(make).parameters]
        if recipe not in takers:
            raise ValueError(f"--{name.replace('_', '-')} is for {', '.join(takers)}; got --recipe {recipe}")


def _go_on(path: Path, data: str | None, values: dict[str, Any], ray: int | None, callback: Callback) -> Run | None:
    """Resume, or say that the run is complete; flags that would change it are refused, but for epochs and machine."""
    chosen = {name: value for name, value in values.items() if value is not None}
    refused = [f"--{name.replace('_', '-')}" for name in chosen if name not in _OF_RESUME]
    if refused:
        raise ValueError(
            f"--resume takes everything but DATA, --epochs, --device and --threads from {path / RECORD}; leave out "
            f"{', '.join(refused)}"
        )
    record = read_record(path)
    settings = record["training"]
    if record.get("status") != "finished" or chosen.get("epochs", settings["epochs"]) != settings["epochs"]:
        return go_on(path, data=data, ray=ray, callback=callback, **chosen)
    done = len(read_history(path))
    print(f"{path} is complete: it was trained for {done} {'epoch' if done == 1 else 'epochs'}.")
    if done == settings["epochs"] and settings["schedule"] == "constant":
        print(f"Train on with:    nelbo fit --resume {path} --epochs {2 * done}")
    else:
        print("It ended by its schedule or by --patience: for more epochs, train a new run.")
    return None


def _free_folder(parent: Path, name: str) -> Path:
    """parent/name, or parent/name-2, ...: the first without a run."""
    names = [name, *(f"{name}-{number}" for number in range(2, 10_000))]
    return next(parent / n for n in names if not (parent / n / RECORD).exists())
