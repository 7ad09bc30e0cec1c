"""The checks, one file for each part of a VAE that can go wrong; importing a file registers its checks."""

from importlib import import_module

# in this order they run; not-finite stands first, for nothing can be measured behind it
_FILES = ("finite", "collapse", "latent_space", "likelihood", "training")


def load() -> None:
    """Register every check."""
    for name in _FILES:
        import_module(f"nelbo.diagnosis.checks.{name}")
