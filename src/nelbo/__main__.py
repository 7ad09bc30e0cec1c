"""``python -m nelbo``, and so ``torchrun -m nelbo``, is the command ``nelbo``."""

import sys

from nelbo.cli import main

if __name__ == "__main__":
    sys.exit(main())
