"""Train variational autoencoders, measure them in nats, and see what their loss means.

Names are loaded when first used, so that ``import nelbo`` costs little and touches no flag, logger or seed.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> the module that defines it; a name that stands for a module maps to itself
_WHERE = {
    "Autoencoder": "nelbo.vae",
    "Run": "nelbo.runs",
    "VAE": "nelbo.vae",
    "axioms": "nelbo.axioms",
    "data": "nelbo.data",
    "diagnose": "nelbo.diagnosis",
    "diagnosis": "nelbo.diagnosis",
    "divergences": "nelbo.divergences",
    "figures": "nelbo.figures",
    "fit": "nelbo.training",
    "kl": "nelbo.divergences",
    "likelihoods": "nelbo.likelihoods",
    "load": "nelbo.runs",
    "loss": "nelbo.objectives",
    "measure": "nelbo.measure",
    "nn": "nelbo.nn",
    "objectives": "nelbo.objectives",
    "posteriors": "nelbo.posteriors",
    "priors": "nelbo.priors",
    "recipes": "nelbo.recipes",
    "reparameterization": "nelbo.reparameterization",
    "resume": "nelbo.training",
    "widgets": "nelbo.widgets",
    "wrap": "nelbo.wrapping",
}

__all__ = [*_WHERE, "__version__"]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"nelbo has no {name!r}; it has {', '.join(_WHERE)}")
    module = import_module(_WHERE[name])
    return module if _WHERE[name] == f"nelbo.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
