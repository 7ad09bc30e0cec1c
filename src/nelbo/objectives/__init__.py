"""Training objectives, as frozen dataclasses that are called on a model and a batch."""

from nelbo.objectives.aggregate import MMD, BetaTC
from nelbo.objectives.elbo import ELBO, Beta, Capacity, FreeBits, Reconstruction, loss
from nelbo.objectives.importance import Gradient, ImportanceWeighted
from nelbo.objectives.objective import FINISHED, Loss, Objective, Progress, Terms
from nelbo.objectives.record import from_dict, to_dict
from nelbo.objectives.schedules import Cyclical, Linear, Schedule
from nelbo.vae import Model

__all__ = [
    "ELBO",
    "FINISHED",
    "MMD",
    "Beta",
    "BetaTC",
    "Capacity",
    "Cyclical",
    "FreeBits",
    "Gradient",
    "ImportanceWeighted",
    "Linear",
    "Loss",
    "Objective",
    "Progress",
    "Reconstruction",
    "Schedule",
    "Terms",
    "default_for",
    "from_dict",
    "loss",
    "to_dict",
]


def default_for(model: Model) -> Objective:
    """The objective of a model that none was chosen for: its recipe's, else the ELBO, or reconstruction alone.

    An autoencoder is trained on its reconstruction error: its KL is infinite.
    """
    return model.objective or (Reconstruction() if model.deterministic else ELBO())


def __dir__() -> list[str]:
    return sorted(__all__)
