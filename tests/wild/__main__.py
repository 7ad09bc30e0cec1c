"""Print what the loss of each model really weighs: python -m tests.wild [NAME ...] [-v], with requirements.txt.

-v prints every view and its diagnosis.
"""

import sys
import traceback
import warnings

import nelbo
from tests.wild.models import MODELS


def main(arguments: list[str]) -> int:
    """Print a line for each model; the status is 1 where one failed otherwise than with a sentence for its user."""
    warnings.simplefilter("ignore")
    wanted = [name for name in arguments if not name.startswith("-")]
    failures = 0
    for name, make in MODELS.items():
        if wanted and not any(part.lower() in name.lower() for part in wanted):
            continue
        try:
            view, loss, x = make()
            if "-v" in arguments:
                print(view)
            weighed = None if loss is None else nelbo.diagnosis.effective_beta(loss, view, x)
            print(f"{name:30} {'' if weighed is None else ' '.join(str(weighed).split())}", flush=True)
            if "-v" in arguments:
                print(nelbo.diagnose(view, x, loss=loss, examples=100))
        except (TypeError, ValueError) as error:
            print(f"{name:30} refused: {error}", flush=True)
        except Exception:
            failures += 1
            print(f"{name:30} FAILED")
            traceback.print_exc()
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
