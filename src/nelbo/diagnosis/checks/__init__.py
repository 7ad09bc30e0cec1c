"""The checks, one file for each part of a VAE that can go wrong; importing a file registers its checks."""

from importlib import import_module

# in this order they run: what is read off the data first, then not-finite, behind which nothing can be measured
_FILES = (
    "support",
    "finite",
    "architecture",
    "normalization",
    "loss",
    "draws",
    "collapse",
    "latent_space",
    "codes",
    "likelihood",
    "scores",
    "training",
    "networks",
    "evaluation",
)


def load() -> None:
    """Register every check."""
    for name in _FILES:
        import_module(f"nelbo.diagnosis.checks.{name}")
