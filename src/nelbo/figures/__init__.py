"""Figures for papers and slides: each function returns a Figure drawn without pyplot; ``save`` writes it."""

from nelbo.figures import palette
from nelbo.figures.bounds import bounds
from nelbo.figures.comparing import Row, comparison, row
from nelbo.figures.curves import loss_curves
from nelbo.figures.page import save
from nelbo.figures.rate_distortion import Point, rate_distortion
from nelbo.figures.scatter import embedding
from nelbo.figures.sheets import image_grid, latent_grid, reconstruction_pairs, samples
from nelbo.figures.usage import latent_units

__all__ = [
    "Point",
    "Row",
    "bounds",
    "comparison",
    "embedding",
    "image_grid",
    "latent_grid",
    "latent_units",
    "loss_curves",
    "palette",
    "rate_distortion",
    "reconstruction_pairs",
    "row",
    "samples",
    "save",
]
