"""Train variational autoencoders, measure them in nats, and see what their loss means.

Names are loaded when first used, so that ``import nelbo`` costs little and touches no flag, logger or seed. Editors
and type checkers read the imports below.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nelbo import (
        axioms,
        data,
        diagnosis,
        divergences,
        figures,
        latents,
        likelihoods,
        measure,
        nn,
        objectives,
        posteriors,
        priors,
        recipes,
        reparameterization,
        studio,
        widgets,
    )
    from nelbo.diagnosis import diagnose, watch
    from nelbo.divergences import kl
    from nelbo.objectives import loss
    from nelbo.runs import Run, load
    from nelbo.training import fit, resume, track
    from nelbo.vae import VAE, Autoencoder, Model
    from nelbo.wrapping import wrap, wrap_codes

__all__ = [
    "VAE",
    "Autoencoder",
    "Model",
    "Run",
    "__version__",
    "axioms",
    "data",
    "diagnose",
    "diagnosis",
    "divergences",
    "figures",
    "fit",
    "kl",
    "latents",
    "likelihoods",
    "load",
    "loss",
    "measure",
    "nn",
    "objectives",
    "posteriors",
    "priors",
    "recipes",
    "reparameterization",
    "resume",
    "studio",
    "track",
    "watch",
    "widgets",
    "wrap",
    "wrap_codes",
]

if not TYPE_CHECKING:
    # the module of each name that is not a module itself
    _DEFINED_IN = {
        "Autoencoder": "vae",
        "Model": "vae",
        "Run": "runs",
        "VAE": "vae",
        "diagnose": "diagnosis",
        "fit": "training",
        "kl": "divergences",
        "load": "runs",
        "loss": "objectives",
        "resume": "training",
        "track": "training",
        "watch": "diagnosis",
        "wrap": "wrapping",
        "wrap_codes": "wrapping",
    }

    def __getattr__(name: str) -> object:
        if name not in __all__:
            from nelbo.registry import did_you_mean

            raise AttributeError(f"nelbo has no {name!r}{did_you_mean(name, __all__)} It has {', '.join(__all__)}")
        module = import_module(f"nelbo.{_DEFINED_IN.get(name, name)}")
        return getattr(module, name) if name in _DEFINED_IN else module

    def __dir__() -> list[str]:
        return sorted(__all__)
