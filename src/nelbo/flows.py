"""zuko, imported without what its import does to everyone else."""

from types import ModuleType

from torch.distributions import Distribution


def import_zuko() -> ModuleType:
    """The zuko package, with torch's argument validation left as it was.

    ``import zuko`` turns validation off for the whole process (``Normal(0, -1)`` is accepted afterwards) and empties
    ``Distribution.arg_constraints``. Both are put back; zuko's own class gets the empty table it counts on.
    """
    validate, constraints = Distribution._validate_args, Distribution.arg_constraints  # pyright: ignore[reportPrivateUsage]
    import zuko

    Distribution._validate_args = validate  # pyright: ignore[reportPrivateUsage]
    Distribution.arg_constraints = constraints  # pyright: ignore[reportAttributeAccessIssue]
    zuko.distributions.NormalizingFlow.arg_constraints = {}  # pyright: ignore[reportAttributeAccessIssue]
    return zuko
