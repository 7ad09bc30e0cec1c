"""Figures for papers and slides: each function returns a Figure drawn without pyplot; ``save`` writes it."""

from nelbo.figures import palette
from nelbo.figures.comparing import Row, comparison, row
from nelbo.figures.curves import loss_curves
from nelbo.figures.measurements import Point, bounds, latent_units, rate_distortion
from nelbo.figures.page import save
from nelbo.figures.scatter import embedding
from nelbo.figures.sheets import image_grid, latent_grid, reconstruction_pairs, samples

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
