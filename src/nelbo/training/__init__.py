"""fit(): from a model and data to a run."""

from nelbo.training.again import fit_once
from nelbo.training.failure import NonFiniteError
from nelbo.training.fit import fit, pick_device, resume
from nelbo.training.signals import Interrupted

__all__ = ["Interrupted", "NonFiniteError", "fit", "fit_once", "pick_device", "resume"]
