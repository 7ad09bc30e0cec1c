"""The command line. Commands are imported when they are called, so that ``nelbo --help`` is instant."""

import os
import sys

from cyclopts import App

from nelbo import __version__

app = App(
    name="nelbo",
    version=__version__,
    help="Train variational autoencoders, measure them in nats, and see what their loss means.\n\n"
    "Start with: nelbo demo",
    help_format="plaintext",
)
_COMMANDS = {
    "demo": ("nelbo.cli.demo:demo", "Train an autoencoder and two VAEs on real digits, measure and draw them."),
    "fit": ("nelbo.cli.fit:fit", "Train a model on a named set or your own files, or resume a run."),
    "measure": ("nelbo.cli.measure:measure", "Measure a run in nats, with standard errors, and write its report."),
    "compare": ("nelbo.cli.measure:compare", "Set runs side by side on the same examples, with paired differences."),
    "sweep": ("nelbo.cli.sweep:sweep", "Train a model for each beta and draw rate against distortion."),
    "diagnose": ("nelbo.cli.diagnose:diagnose", "What is wrong with a run's model, the evidence, and what to change."),
    "explain": ("nelbo.cli.diagnose:explain", "What a finding of diagnose means and how it is measured."),
    "sample": ("nelbo.cli.outputs:sample", "Draw new examples from a run's model."),
    "reconstruct": ("nelbo.cli.outputs:reconstruct", "Pass data through a run's model and back."),
    "kl": ("nelbo.cli.divergences:kl", "Both KL divergences of two distributions, and what their difference means."),
    "axioms": (
        "nelbo.cli.divergences:axioms",
        "Which axioms of a metric a divergence satisfies, with proofs or witnesses.",
    ),
    "studio": ("nelbo.cli.studio:studio", "Open the browser: drag a Gaussian, drag a latent, see the loss."),
    "export": ("nelbo.cli.studio:export", "Write a page of the studio as one HTML file."),
    "embed": ("nelbo.cli.outputs:embed", "Write the latent coordinates of data under a run's model."),
}
for _name, (_where, _help) in _COMMANDS.items():
    app.command(_where, name=_name, help=_help)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; what a user can get wrong ends in one sentence and exit status 1 or 2, not in a traceback.

    NELBO_TRACEBACK=1 shows the traceback all the same.
    """
    try:
        result = app(arguments, exit_on_error=True, print_error=True, result_action="return_value")
    except KeyboardInterrupt as stop:
        print(f"\n{stop or 'stopped'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of our output left (nelbo ... | head): nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ArithmeticError, ImportError, OSError, TypeError, ValueError) as error:
        if os.environ.get("NELBO_TRACEBACK"):
            raise
        print(f"nelbo: {error}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0
