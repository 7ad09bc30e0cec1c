"""nelbo sweep: the curve of rate and distortion."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from nelbo import data as nelbo_data
from nelbo import recipes
from nelbo.cli.fit import DATA, MODEL, TRAINING, given
from nelbo.cli.flags import with_signature
from nelbo.measure.sweep import BETAS
from nelbo.measure.sweep import sweep as train_all
from nelbo.report.terminal import row_table


def _sweep(
    data: str, *, betas: Sequence[float] = BETAS, out: Path | None = None, json: bool = False, **values: Any
) -> int:
    seed = values["seed"] or 0
    loaded = nelbo_data.load(data, seed=seed, **given(DATA, values))
    model, suggestion = given(MODEL, values), recipes.make_for(loaded, **given(MODEL, values))[1]
    if suggestion is not None:
        model["likelihood"] = suggestion.name
    settings = {name: value for name, value in given(TRAINING, values).items() if name != "seed"}
    folder = out or Path("runs") / f"{Path(data).stem}-sweep"
    found = train_all(loaded, out=folder, betas=betas, model=model, seed=seed, **settings)
    record, picture = found.save(folder)
    if json:
        print(record.read_text("utf-8"), end="")
        return 0
    console = Console()
    console.print(row_table(found.rows, "per held-out example"))
    console.print(f"{picture}  the curve\n{record}  the numbers", highlight=False, soft_wrap=True)
    return 0


_FIRST = [
    inspect.Parameter(
        "data",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[str, Parameter(help="mnist5k, digits, mnist, or a path.")],
    ),
    inspect.Parameter(
        "betas",
        inspect.Parameter.KEYWORD_ONLY,
        default=BETAS,
        annotation=Annotated[tuple[float, ...], Parameter(help="Weights of the KL.", consume_multiple=True)],
    ),
    inspect.Parameter(
        "out",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Path | None, Parameter(help="Folder of the runs; by default runs/DATA-sweep.")],
    ),
    inspect.Parameter(
        "json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, Parameter(help="Print sweep.json instead of the table.")],
    ),
]

sweep = with_signature(_sweep, [*_FIRST, *DATA, *MODEL, *TRAINING])
sweep.__name__ = "sweep"
sweep.__doc__ = """Train a model for each beta, and an autoencoder, and draw rate against distortion.

Every model is a run that stays: a stopped sweep goes on where it was, and more betas join it.

Example: nelbo sweep mnist5k --binarize threshold --betas 0.3 1 3 10 --epochs 20"""
