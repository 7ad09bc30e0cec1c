"""nelbo demo: the theory on real digits, in under a minute."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from nelbo import demo as show
from nelbo.demo import Measured
from nelbo.estimate import Estimate


def demo(
    *,
    out: Path = Path("runs/demo"),
    digit: int = 6,
    index: int | None = None,
    epochs: int = show.EPOCHS,
    seed: int = 0,
    device: str = "auto",
) -> int:
    """Train an autoencoder, a VAE and a VAE whose KL weighs too much on real digits; measure and draw them.

    A second call takes the trained models from the folder, and draws another digit at once.

    Args:
        out: folder for the three runs and the figures.
        digit: the digit to look at, 0 to 9: its first held-out example.
        index: or the held-out example at this position.
        epochs: passes over the 4,000 training digits.
        seed: of weights, order and noise.
        device: to train and to measure on: auto (the accelerator where there is one), cpu, cuda, cuda:1, mps, ...
    """
    console = Console()
    data = show.load_data(seed=seed)
    console.print(f"{len(data.train):,} real MNIST digits to train on, 1,000 held out, each pixel black or white.")
    runs = show.train(data, out, epochs=epochs, seed=seed, device=device)
    examples = data.validation
    if examples is None or examples.labels is None:
        raise ValueError("the demo needs held-out digits with labels")
    position = show.pick(examples, digit=digit, index=index)
    what = f"held-out digit {int(examples.labels[position])} (index {position})"
    measured = [show.measure(name, run, examples, position, seed=seed) for name, run in runs.items()]
    console.print(_table(measured, what))
    for sentence in show.compare(measured, what):
        console.print(f"- {sentence}", highlight=False)
    console.print("\nFigures and runs:")
    for path, text in show.draw_figures(measured, out, seed=seed):
        console.print(f"  {path}  {text}", highlight=False, soft_wrap=True)
    console.print("\nReports, each one file to read or to mail:")
    for path, text in show.reports(measured, out, index=position, seed=seed):
        console.print(f"  {path}  {text}", highlight=False, soft_wrap=True)
    return 0


def _table(models: list[Measured], what: str) -> Table:
    table = Table(box=SIMPLE_HEAD, title="\nnats per digit, ± standard error", title_justify="left", pad_edge=False)
    for column in ("", "reconstruction error", "+ KL", "= NELBO"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for model in models:
        one = model.one
        table.add_row(model.title)
        table.add_row("  all held-out", *(_cell(float(term), term.error) for term in model.held_out))
        of_one = ((one.reconstruction_error, one.standard_error), (one.kl, 0.0), (one.nelbo, one.standard_error))
        table.add_row(f"  digit {what.split()[2]}", *(_cell(*term) for term in of_one), end_section=True)
    return table


def _cell(value: float, error: float) -> str:
    return Estimate.number(value, error).text
