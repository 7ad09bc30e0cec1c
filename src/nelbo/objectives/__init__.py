"""What training makes small, as values: settings in a frozen dataclass, called on a model and a batch."""

from nelbo.objectives.aggregate import MMD, BetaTC
from nelbo.objectives.elbo import ELBO, Beta, Capacity, FreeBits, Reconstruction, loss
from nelbo.objectives.importance import Gradient, ImportanceWeighted
from nelbo.objectives.objective import FINISHED, Loss, Model, Objective, Progress, Terms
from nelbo.objectives.record import from_dict, to_dict
from nelbo.objectives.schedules import Cyclical, Linear, Schedule
from nelbo.posteriors import PointMass
from nelbo.vae import VAE

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
    "Model",
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


def default_for(model: VAE) -> Objective:
    """What a model is trained on when nothing is said: the ELBO, or reconstruction alone for an autoencoder."""
    return Reconstruction() if isinstance(model.posterior_family, PointMass) else ELBO()
