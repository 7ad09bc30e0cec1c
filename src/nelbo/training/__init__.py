"""fit(): from a model and data to a run."""

from nelbo.training.failure import NonFiniteError
from nelbo.training.fit import fit, pick_device, resume
from nelbo.training.trainer import Interrupted

__all__ = ["Interrupted", "NonFiniteError", "fit", "pick_device", "resume"]
