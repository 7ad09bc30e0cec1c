"""zuko, imported without what its import does to everyone else."""

from types import ModuleType

from torch.distributions import Distribution, Normal


def import_zuko() -> ModuleType:
    """Import the zuko package, and leave torch's argument validation as it was.

    ``import zuko`` turns validation off for the whole process (``Normal(0, -1)`` is accepted afterwards) and empties
    ``Distribution.arg_constraints``. Both are put back; zuko's own class gets the empty table it counts on.
    """
    validates, constraints = _torch_validates(), Distribution.arg_constraints
    import zuko

    Distribution.set_default_validate_args(validates)
    Distribution.arg_constraints = constraints  # pyright: ignore[reportAttributeAccessIssue]
    zuko.distributions.NormalizingFlow.arg_constraints = {}  # pyright: ignore[reportAttributeAccessIssue]
    return zuko


def _torch_validates() -> bool:
    """Whether torch checks the arguments of distributions, which has a public setter but no getter."""
    try:
        Normal(0.0, -1.0)
    except ValueError:
        return True
    return False
