"""nelbo sweep: the curve of rate and distortion."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from nelbo import data as nelbo_data
from nelbo import recipes
from nelbo.cli.fit import DATA, MODEL, TRAINING, given
from nelbo.cli.flags import with_flags
from nelbo.cli.writing import Writing
from nelbo.files import json_text
from nelbo.measure.sweep import BETAS
from nelbo.measure.sweep import sweep as train_all
from nelbo.report.terminal import row_table


@with_flags(*DATA, *MODEL, *TRAINING)
def sweep(
    data: str,
    *,
    betas: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = BETAS,
    out: Path | None = None,
    ray: int | None = None,
    json: bool = False,
    **values: Any,
) -> int:
    """Train a model for each beta, and an autoencoder, and draw rate against distortion.

    Every model is a run that stays: a stopped sweep goes on where it was, and more betas join it.

    Args:
        data: mnist5k, digits, mnist, or a path.
        betas: weights of the KL.
        out: folder of the runs; by default runs/DATA-sweep.
        ray: train so many models at a time in a Ray cluster, that of RAY_ADDRESS or one that is started here, each on
            --threads (default 1). Needs nelbo[cluster].
        json: print sweep.json instead of the table.
        **values: of nelbo.data.load, of the recipe and of nelbo.fit.
    """
    seed = values["seed"] or 0
    loaded = nelbo_data.load(data, seed=seed, **given(DATA, values))
    model, suggestion = given(MODEL, values), recipes.make_for(loaded, **given(MODEL, values))[1]
    if suggestion is not None:
        model["likelihood"] = suggestion.name
    if loaded.missing:
        model["takes_missing"] = True
    settings = {name: value for name, value in given(TRAINING, values).items() if name != "seed"}
    folder = out or Path("runs") / f"{Path(data).stem}-sweep"
    found = train_all(loaded, out=folder, betas=betas, model=model, seed=seed, ray=ray, **settings)
    writing = Writing()
    files = writing(lambda: found.save(folder))
    if json:
        print(json_text(found.to_dict()))
        return writing.end()
    console = Console()
    console.print(row_table(found.rows, "per held-out example"))
    if files is not None:
        record, picture = files
        console.print(f"{picture}  the curve\n{record}  the numbers", highlight=False, soft_wrap=True)
    return writing.end()
