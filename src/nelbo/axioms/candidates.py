"""The divergences whose axioms are examined: their fast value, their 50-digit value, and the proofs about them."""

# mpmath is untyped, and so is every lambda that computes with it
# pyright: reportUnknownLambdaType=false

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import mpmath as mp
import torch
from torch import Tensor

from nelbo import divergences as V
from nelbo.axioms.families import Family

NON_NEGATIVITY, IDENTITY, SYMMETRY, TRIANGLE = (
    "non-negativity",
    "identity of indiscernibles",
    "symmetry",
    "triangle inequality",
)
AXIOMS = (NON_NEGATIVITY, IDENTITY, SYMMETRY, TRIANGLE)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A divergence that may be a metric.

    Attributes:
        name: in tables and on the command line.
        value: of two batches of distributions.
        integrand: of two densities, in mpmath; None where no witness is ever needed.
        finish: from the integral to the divergence.
        proofs: for an axiom, the reason why it holds for all distributions.
        squared: whether rounding noise of the value is the root of rounding noise of its square.
        integrated: whether a value costs a quadrature, so that the search takes fewer of them.
    """

    name: str
    value: Callable[[Any, Any], Tensor]
    integrand: Callable[[Any, Any], Any] | None = None
    finish: Callable[[Any], Any] = field(default=lambda x: x)
    proofs: dict[str, str] = field(default_factory=dict[str, str])
    squared: bool = False
    integrated: bool = False


_IDENTITY = "equality in Jensen's inequality needs p/q constant, hence p = q; parameters are identifiable"
_GIBBS = "Jensen: E_p[-log(q/p)] >= -log E_p[q/p] >= -log 1 = 0 (Gibbs' inequality)"
_NORM = "it is a norm of a difference"
_SAME = "its definition does not change when p and q trade places"


def _of(f: Callable[..., V.Estimate], **options: Any) -> Callable[[Any, Any], Tensor]:
    return lambda p, q: f(p, q, **options).value


def _plog(p: Any, q: Any) -> Any:
    return p * mp.log(p / q) if p else mp.mpf(0)


def _js(p: Any, q: Any) -> Any:
    m = (p + q) / 2
    return (_plog(p, m) + _plog(q, m)) / 2 if m else mp.mpf(0)


def _metric(reason: str, norm: str = _NORM) -> dict[str, str]:
    return {
        NON_NEGATIVITY: norm,
        IDENTITY: "a norm is 0 only for equal arguments; the family's parameters are identifiable",
        SYMMETRY: _SAME,
        TRIANGLE: reason,
    }


def _renyi(alpha: float) -> Candidate:
    a = mp.mpf(alpha)
    proofs = {
        NON_NEGATIVITY: "Jensen for the power function (van Erven & Harremoes 2014, thm 8)",
        IDENTITY: _IDENTITY,
    }
    if alpha == 0.5:
        proofs[SYMMETRY] = "at order 1/2 the integral of sqrt(p q) does not change when p and q trade places"
    return Candidate(
        name=f"renyi:{alpha:g}",
        value=_of(V.renyi, alpha=alpha),
        integrand=lambda p, q: p**a * q ** (1 - a) if p and q else mp.mpf(0),
        finish=lambda x: mp.log(x) / (a - 1),
        proofs=proofs,
    )


_COUPLINGS = _metric(
    "couplings of p, q and of q, r glue to one of p, r (Villani 2003, thm 7.3)", norm="an average of distances"
)
_JS_PROOFS = {NON_NEGATIVITY: "a mean of two KL divergences: " + _GIBBS, IDENTITY: _IDENTITY, SYMMETRY: _SAME}

CANDIDATES: dict[str, Candidate] = {
    c.name: c
    for c in (
        Candidate(name="kl", value=_of(V.kl), integrand=_plog, proofs={NON_NEGATIVITY: _GIBBS, IDENTITY: _IDENTITY}),
        Candidate(
            name="jeffreys",
            value=_of(V.jeffreys),
            integrand=lambda p, q: _plog(p, q) + _plog(q, p),
            proofs={NON_NEGATIVITY: "a sum of two KL divergences: " + _GIBBS, IDENTITY: _IDENTITY, SYMMETRY: _SAME},
        ),
        Candidate(
            name="jensen_shannon",
            value=_of(V.jensen_shannon),
            integrand=_js,
            proofs=_JS_PROOFS,
            integrated=True,
        ),
        Candidate(
            name="sqrt_jensen_shannon",
            value=lambda p, q: V.jensen_shannon(p, q).value.clamp(min=0).sqrt(),
            integrand=_js,
            finish=mp.sqrt,
            proofs={**_JS_PROOFS, TRIANGLE: "Endres & Schindelin 2003, thm 1; Fuglede & Topsoe 2004"},
            squared=True,
            integrated=True,
        ),
        _renyi(0.5),
        _renyi(2.0),
        Candidate(
            name="chi_squared",
            value=_of(V.chi_squared),
            integrand=lambda p, q: (p - q) ** 2 / q if q else mp.mpf(0),
            proofs={NON_NEGATIVITY: "an average of squares", IDENTITY: "squares vanish only where p = q"},
        ),
        Candidate(
            name="hellinger",
            value=_of(V.hellinger),
            integrand=lambda p, q: (mp.sqrt(p) - mp.sqrt(q)) ** 2 / 2,
            finish=mp.sqrt,
            proofs=_metric("Minkowski: it is |sqrt p - sqrt q| / sqrt 2 in L2"),
            squared=True,
        ),
        Candidate(
            name="total_variation",
            value=_of(V.total_variation),
            integrand=lambda p, q: abs(p - q) / 2,
            proofs=_metric("Minkowski: it is |p - q| / 2 in L1"),
            integrated=True,
        ),
        Candidate(name="wasserstein:1", value=_of(V.wasserstein, order=1), proofs=_COUPLINGS),
        Candidate(name="wasserstein:2", value=_of(V.wasserstein, order=2), proofs=_COUPLINGS, squared=True),
        Candidate(
            name="energy_distance",
            value=_of(V.energy_distance),
            proofs=_metric("Minkowski: on the line it is sqrt 2 |F_p - F_q| in L2 (Szekely & Rizzo 2013)"),
            squared=True,
        ),
        Candidate(
            name="mmd",
            value=_of(V.mmd),
            proofs=_metric(
                "Minkowski: it is the distance of mean embeddings; the Gaussian kernel is characteristic "
                "(Gretton 2012, thm 5)"
            ),
            squared=True,
        ),
    )
}


def candidate(divergence: Any) -> Candidate:
    """The candidate of a name, of one of nelbo's functions, or of any function of two distributions.

    Raises:
        ValueError: for an unknown name.
        TypeError: for something that is neither a name nor callable.
    """
    if isinstance(divergence, Candidate):
        return divergence
    if isinstance(divergence, str):
        if divergence in CANDIDATES:
            return CANDIDATES[divergence]
        head, _, order = divergence.partition(":")
        if head == "renyi" and order:
            with contextlib.suppress(ValueError, ZeroDivisionError):
                alpha = float(Fraction(order))
                return CANDIDATES["kl"] if alpha == 1 else _renyi(alpha)
        if head == "wasserstein" and not order:
            return CANDIDATES["wasserstein:2"]
        raise ValueError(
            f"axioms: divergence must be one of {', '.join(CANDIDATES)}, or renyi:ORDER, as in renyi:1/2; got "
            f"{divergence!r}."
        )
    if not callable(divergence):
        raise TypeError(
            f"axioms: got a {type(divergence).__name__}; expected a name such as 'kl', or a function of two "
            "distributions, as in examine(nelbo.kl, family=Normal)."
        )
    name = getattr(divergence, "__name__", "")
    if divergence is getattr(V, name, None):
        return candidate({"renyi": "renyi:2", "wasserstein": "wasserstein:2"}.get(name, name))

    def value(p: Any, q: Any) -> Tensor:
        result = divergence(p, q)
        return result.value if isinstance(result, V.Estimate) else torch.as_tensor(result)

    return Candidate(name=name or repr(divergence), value=value)


def precise(of: Candidate, family: Family, p: tuple[Fraction, ...], q: tuple[Fraction, ...], digits: int = 50) -> Any:
    """Compute a divergence from its definition, an integral or a sum of densities, in mpmath with so many digits."""
    integrand = of.integrand
    if integrand is None:
        raise ValueError(f"{of.name} has no integrand in mpmath.")
    with mp.workdps(digits + 5):
        a, b = ([mp.mpf(x.numerator) / x.denominator for x in family.full(v).values()] for v in (p, q))

        def at(x: Any) -> Any:
            return integrand(mp.exp(family.log_density(x, *a)), mp.exp(family.log_density(x, *b)))

        if family.counts:
            last = max(*family.points(*a), *family.points(*b))
            total = mp.fsum(at(k) for k in range(int(last) + 1))
        else:
            total = mp.quad(at, sorted({*family.points(*a), *family.points(*b)}))
        return +of.finish(total)
