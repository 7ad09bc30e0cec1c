"""D(p || q): how far one distribution is from another, in nats."""

from nelbo.divergences.closed_form import closed_form
from nelbo.divergences.estimate import Estimate
from nelbo.divergences.kullback_leibler import kl
from nelbo.divergences.truncated_normal import TruncatedNormal

__all__ = ["Estimate", "TruncatedNormal", "closed_form", "kl"]
