"""Training: from a model and data to a run."""

from nelbo.devices import pick_device
from nelbo.training.fit import fit
from nelbo.training.loop import Interrupted
from nelbo.training.nonfinite import NonFiniteError
from nelbo.training.resuming import fit_or_resume, resume
from nelbo.training.step import Step
from nelbo.training.tracking import track

__all__ = ["Interrupted", "NonFiniteError", "Step", "fit", "fit_or_resume", "pick_device", "resume", "track"]
