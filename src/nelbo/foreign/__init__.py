"""Anyone's PyTorch VAE, seen as a nelbo.VAE."""

from nelbo.foreign.conclusion import Conclusion
from nelbo.foreign.sampling import Sampling
from nelbo.foreign.view import Wrapped
from nelbo.foreign.wrapping import wrap

__all__ = ["Conclusion", "Sampling", "Wrapped", "wrap"]
