"""Is it a metric? Each of the four axioms answered by a proof or by a witness in 50 digits."""

from nelbo.axioms.candidates import AXIOMS, CANDIDATES
from nelbo.axioms.examine import Verdict, Verdicts, Witness, examine
from nelbo.axioms.families import Family
from nelbo.axioms.gaussians import kl_asymmetry, kl_triangle_excess

__all__ = [
    "AXIOMS",
    "CANDIDATES",
    "Family",
    "Verdict",
    "Verdicts",
    "Witness",
    "examine",
    "kl_asymmetry",
    "kl_triangle_excess",
]
