"""Figures for papers and slides: each function returns a Figure drawn without pyplot; ``save`` writes it.

They are imported when the first one is drawn, because matplotlib takes a second and a half to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from nelbo.figures import palette

if TYPE_CHECKING:
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

if not TYPE_CHECKING:
    _DEFINED_IN = {
        "comparing": ("Row", "comparison", "row"),
        "curves": ("loss_curves",),
        "measurements": ("Point", "bounds", "latent_units", "rate_distortion"),
        "page": ("save",),
        "scatter": ("embedding",),
        "sheets": ("image_grid", "latent_grid", "reconstruction_pairs", "samples"),
    }

    def __getattr__(name: str) -> object:
        for module, names in _DEFINED_IN.items():
            if name in names:
                return getattr(import_module(f"nelbo.figures.{module}"), name)
        raise AttributeError(f"module 'nelbo.figures' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted(__all__)
