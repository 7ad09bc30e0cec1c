"""Anyone's PyTorch VAE, viewed as a nelbo model."""

from nelbo.wrapping.codes import Coded, wrap_codes
from nelbo.wrapping.given import Conclusion
from nelbo.wrapping.sampling import Sampling
from nelbo.wrapping.view import Wrapped, wrap

__all__ = ["Coded", "Conclusion", "Sampling", "Wrapped", "wrap", "wrap_codes"]
