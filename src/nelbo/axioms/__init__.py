"""Is it a metric? Each of the four axioms answered by a proof or by a witness in 50 digits."""

from nelbo.axioms.examine import Verdict, Verdicts, Witness, examine
from nelbo.axioms.families import Family
from nelbo.axioms.gaussians import kl_asymmetry, kl_triangle_excess
from nelbo.axioms.known import AXIOMS, KNOWN

__all__ = [
    "AXIOMS",
    "KNOWN",
    "Family",
    "Verdict",
    "Verdicts",
    "Witness",
    "examine",
    "kl_asymmetry",
    "kl_triangle_excess",
]
