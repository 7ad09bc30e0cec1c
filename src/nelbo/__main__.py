"""``python -m nelbo``, and so ``torchrun -m nelbo``, is the command ``nelbo``."""

import sys

from nelbo.cli import main

sys.exit(main())
