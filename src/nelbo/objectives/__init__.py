"""What training makes small, as values: settings in a frozen dataclass, called on a model and a batch."""

from nelbo.objectives.aggregate import MMD, BetaTC
from nelbo.objectives.elbo import ELBO, Beta, Capacity, FreeBits, Reconstruction, loss
from nelbo.objectives.importance import ImportanceWeighted
from nelbo.objectives.objective import FINISHED, Loss, Model, Objective, Progress, Terms
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
    "loss",
]


def default_for(model: VAE) -> Objective:
    """What a model is trained on when nothing is said: the ELBO, or reconstruction alone for an autoencoder."""
    return Reconstruction() if isinstance(model.posterior_family, PointMass) else ELBO()
