"""The command line. Commands are imported when they are called, so that ``nelbo --help`` is instant."""

import contextlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from cyclopts import App, Parameter

from nelbo import __version__
from nelbo.cli.flags import in_flags, shown
from nelbo.launcher import launched
from nelbo.wording import in_shell, said

app = App(
    name="nelbo",
    version=__version__,
    help="Train variational autoencoders, measure them in nats, and see what their loss means.\n\n"
    "Start with: nelbo demo",
    help_format="plaintext",
    default_parameter=Parameter(negative="", show_default=shown),
    suppress_keyboard_interrupt=False,  # it says how to go on
)

# name -> where it is, what it does, and lines to try; a test parses every one of them
COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "demo": (
        "demo:demo",
        "Train an autoencoder and two VAEs on real digits, measure and draw them.",
        ("nelbo demo", "nelbo demo --digit 4 --epochs 10 --out runs/four"),
    ),
    "data": (
        "data:data",
        "Show what a file holds, column by column, and what a training would do with it.\n\n"
        "Of a table: the type of each column, the likelihood that would fit its values, missing cells, its range or "
        "most frequent texts, and whether it becomes a feature or a label, is left out, or stops a training, and why. "
        "Of images and arrays: shape, range and layout. Below stands the line of nelbo fit to write next; try other "
        "options here first.",
        ("nelbo data table.csv", "nelbo data table.csv --label species --missing observed", "nelbo data x.npy --json"),
    ),
    "fit": (
        "fit:fit",
        "Train a model on a named set or your own files, or resume a run.",
        (
            "nelbo fit mnist5k --binarize dynamic --latent 2 --epochs 20",
            "nelbo fit table.csv --standardize --recipe beta_vae --beta 4 --out runs/x",
            "nelbo fit --resume runs/x",
            "nelbo fit --resume runs/x moved.csv",
            "nelbo fit table.parquet --shards 8 --ray 4 --out runs/x",
        ),
    ),
    "runs": (
        "runs:runs",
        "List runs: their state, how far they are, and their last numbers.",
        ("nelbo runs", "nelbo runs runs/mnist5k-sweep", "nelbo runs --json"),
    ),
    "measure": (
        "measure:measure",
        "Measure a run in nats, with standard errors, and write its report.",
        (
            "nelbo measure runs/x",
            "nelbo measure runs/x other.npy --effort thorough",
            "nelbo measure my_module:make --data x.npy --out report",
        ),
    ),
    "compare": (
        "measure:compare",
        "Compare runs on the same examples, with paired differences.",
        ("nelbo compare runs/x runs/y --index 6",),
    ),
    "sweep": (
        "sweep:sweep",
        "Train a model for each beta and draw rate against distortion.",
        ("nelbo sweep mnist5k --binarize dynamic --betas 0.3 1 3 10 --epochs 10",),
    ),
    "diagnose": (
        "diagnose:diagnose",
        "Look for faults of a run's model: the evidence, and what to change.",
        (
            "nelbo diagnose runs/x",
            "nelbo diagnose runs/x other.npy",
            "nelbo diagnose runs/x --strict",
            "nelbo diagnose my_module:make --loss my_module:loss --data x.npy",
        ),
    ),
    "explain": (
        "diagnose:explain",
        "Explain a finding of diagnose and how it is measured.",
        ("nelbo explain", "nelbo explain posterior-collapse"),
    ),
    "sample": (
        "outputs:sample",
        "Draw new examples from a run's model.",
        ("nelbo sample runs/x", "nelbo sample runs/x -n 1000 --out x.csv"),
    ),
    "reconstruct": (
        "outputs:reconstruct",
        "Pass data through a run's model and back.",
        ("nelbo reconstruct runs/x", "nelbo reconstruct runs/x other.npy --out x.parquet"),
    ),
    "embed": (
        "outputs:embed",
        "Write the latent coordinates of data under a run's model.",
        ("nelbo embed runs/x --out z.parquet", "nelbo embed runs/x new.csv --out z.csv"),
    ),
    "impute": (
        "impute:impute",
        "Fill in the missing values of data under a run's model.",
        ("nelbo impute runs/x --out filled.csv", "nelbo impute runs/x other.csv --draws 20 --out filled.parquet"),
    ),
    "score": (
        "score:score",
        "Write log p(x) of each example under a run's model: its anomaly score.",
        (
            "nelbo score runs/x new.csv --out scores.csv",
            "nelbo score runs/x new.parquet --method elbo --contributions --out scores.parquet",
            "nelbo score runs/x new.csv --contamination 0.01",
        ),
    ),
    "kl": (
        "divergences:kl",
        "Both KL divergences of two distributions, and what their difference means.",
        ('nelbo kl "Normal(0, 1)" "Normal(1, 2)"', 'nelbo kl "Laplace(0, 1)" "Normal(0, 1)" --plot kl.png'),
    ),
    "axioms": (
        "divergences:axioms",
        "Which axioms of a metric a divergence satisfies, with proofs or witnesses.",
        ("nelbo axioms kl --family Normal", "nelbo axioms sqrt_jensen_shannon --family Bernoulli"),
    ),
    "studio": (
        "studio:studio",
        "Open the browser: drag a Gaussian, drag a latent, see the loss.",
        ("nelbo studio", "nelbo studio runs/x runs/y"),
    ),
    "export": (
        "studio:export",
        "Write a page of the studio, of its theory or of your runs, as one HTML file; or all pages as a site.",
        (
            'nelbo export kl kl.html --state "mu_p=2&sigma_q=0.5"',
            "nelbo export inspector runs/x runs/y two.html",
            "nelbo export report runs/x report.html",
            "nelbo export site runs/x runs/y public",
        ),
    ),
}
for _name, (_where, _help, _examples) in COMMANDS.items():
    _lines = "\n".join(f"  {line}" for line in _examples)
    app.command(f"nelbo.cli.{_where}", name=_name, help=_help, help_epilogue=f"Try:\n{_lines}")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; what a user can get wrong ends in one sentence and exit status 1 or 2, not in a traceback.

    NELBO_TRACEBACK=1 shows the traceback all the same.
    """
    try:
        other = launched().rank
    except ValueError as error:
        print(f"nelbo: {error}", file=sys.stderr)
        return 1
    try:
        with in_shell(), warnings.catch_warnings(), contextlib.ExitStack() as stack:
            if other:  # the first one of the processes that train together speaks for all
                stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
            warnings.showwarning = _show_warning
            result = app(arguments, exit_on_error=True, print_error=True, result_action="return_value")
    except KeyboardInterrupt as stop:
        if other:
            return 130
        print(f"\n{stop or 'stopped'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of our output left (nelbo ... | head): nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
        allocating = isinstance(error, RuntimeError) and "memory" in str(error)  # what torch has for a MemoryError
        if os.environ.get("NELBO_TRACEBACK") or (isinstance(error, RuntimeError) and not allocating):
            raise
        command = app[(sys.argv[1:] if arguments is None else arguments)[0]]
        flags = [name for argument in command.assemble_argument_collection() for name in argument.names]
        if other and isinstance(error, ConnectionError):
            return 1  # the one that failed says why
        text = said(error)
        text = f"there is not enough memory: {text}" if allocating else text or "there is not enough memory"
        who = f"nelbo (process {other})" if other else "nelbo"
        print(f"{who}: {in_flags(text, flags)}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _show_warning(message: Warning | str, category: type[Warning], *_place: Any) -> None:
    """What Python would show with a line of the source, as a sentence."""
    print(f"nelbo: {message}", file=sys.stderr)
