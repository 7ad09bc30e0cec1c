"""KL(p || q) for any two distributions."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from nelbo.divergences.checks import check_pair, check_value, name
from nelbo.divergences.closed_form import closed_form
from nelbo.divergences.exact_sum import can_sum, exact_sum
from nelbo.divergences.monte_carlo import expectation
from nelbo.divergences.quadrature import integrate
from nelbo.divergences.supports import escapes, result_dtype, scalar_support
from nelbo.estimate import Estimate

Method = Literal["auto", "closed_form", "exact_sum", "quadrature", "monte_carlo"]
_METHODS = ("auto", "closed_form", "exact_sum", "quadrature", "monte_carlo")


def kl(
    p: Distribution,
    q: Distribution,
    *,
    method: Method = "auto",
    samples: int | None = None,
    standard_error: float = 0.01,
    max_samples: int = 1_000_000,
    seed: int | None = None,
) -> Estimate:
    """KL(p || q), the mean number of nats by which p explains its own draws better than q does.

    KL(p || q) = E_p[log p(x) - log q(x)]

    Args:
        p: the distribution whose draws are averaged over.
        q: the other, of the same event_shape; the batch shapes broadcast.
        method: "auto" takes the first that applies of "closed_form"; "quadrature" (univariate densities) or
        "exact_sum" (counts);
            the sum over coordinates for `Independent` pairs; "monte_carlo".
        samples: draws of the Monte Carlo method; None draws until `standard_error` or `max_samples` is
        reached.
        standard_error: the wanted Monte Carlo error in nats, for the worst batch element.
        max_samples: the most draws to spend on it; the result says what error was reached.
        seed: of the draws; None uses torch's global generator.

    Returns:
        Estimate: value (batch_shape, nats, >= 0 up to its error), standard_error, method. The value is
        exactly inf where p puts mass outside
        of q's support, and exactly 0 where a closed form meets equal parameters. Differentiable.

    Raises:
        TypeError: for anything that is not a distribution.
        ValueError: for mismatched events or batches, invalid or NaN parameters, and a method that does not
        apply to the pair.

    Source: Kullback & Leibler 1951, eq. 2.4; the closed forms are listed in docs/divergences.md.

    >>> from torch.distributions import Normal
    >>> kl(Normal(0.0, 1.0), Normal(1.0, 2.0))
    Estimate(0.443147 ± 0 nats, closed_form)
    """
    check_pair(p, q, what="kl")
    if method not in _METHODS:
        raise ValueError(f"kl: got method={method!r}; expected one of {', '.join(_METHODS)}.")
    if method in ("auto", "closed_form"):
        value = closed_form(p, q)
        if value is not None:
            check_value(value, p, q, what="kl")
            return Estimate.exactly(value)
    if method == "closed_form":
        raise ValueError(
            f"kl: no closed form is registered for p = {name(p)} and q = {name(q)}. Write method='auto' "
            f"for quadrature, a sum "
            "or Monte Carlo, or register one with torch.distributions.register_kl."
        )
    outside = escapes(p, q)
    if outside is True:
        shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
        return Estimate.exactly(torch.full(shape, torch.inf, dtype=result_dtype(p, q)), "supports")
    result = _estimate(p, q, method, samples, standard_error, max_samples, seed)
    if outside is not False:
        result = Estimate(
            torch.where(outside, torch.inf, result.value),
            torch.where(outside, 0.0, result.standard_error),
            result.method,
        )
    check_value(result.value, p, q, what="kl")
    return result


def _estimate(
    p: Any,
    q: Any,
    method: Method,
    samples: int | None,
    standard_error: float,
    max_samples: int,
    seed: int | None,
) -> Estimate:
    if method != "monte_carlo":
        if isinstance(p, Independent) and isinstance(q, Independent):
            events = p.reinterpreted_batch_ndims
            if events == q.reinterpreted_batch_ndims:
                inner = kl(
                    p.base_dist,
                    q.base_dist,
                    method=method,
                    samples=samples,
                    standard_error=standard_error / max(1, p.event_shape.numel()) ** 0.5,
                    max_samples=max_samples,
                    seed=seed,
                )
                return inner.sum_rightmost(events)
        counts = can_sum(p, q)
        if method == "exact_sum" and not counts:
            raise ValueError(
                f"kl: a sum needs two distributions of counts; got {name(p)} and {name(q)}. "
                "Write method='auto', 'quadrature' (densities on the line) or 'monte_carlo'."
            )
        if method == "quadrature" or (method == "auto" and not counts):
            univariate = not p.event_shape and not counts and all(scalar_support(d) is not None for d in (p, q))
            if univariate:
                return _integrated(p, q, integrate, "quadrature")
            if method == "quadrature":
                raise ValueError(
                    f"kl: quadrature needs two univariate densities; got {name(p)} with event_shape "
                    f"{tuple(p.event_shape)} and "
                    f"{name(q)}. Write method='auto', 'exact_sum' (counts) or 'monte_carlo'."
                )
        if counts:
            return _integrated(p, q, exact_sum, "exact_sum")
    for d in (p, q):
        if type(d).log_prob is Distribution.log_prob:
            raise ValueError(
                f"kl({name(p)}, {name(q)}): {name(d)} has no log_prob, so that no method applies. Give it "
                f"one, register a closed form "
                "with torch.distributions.register_kl, or compare samples: "
                "nelbo.divergences.kl_from_samples(x, y)."
            )
    return expectation(
        lambda log_p, log_q: log_p - log_q,
        p,
        q,
        samples=samples,
        standard_error=standard_error,
        max_samples=max_samples,
        seed=seed,
    )


def _log_ratio(log_p: Tensor, log_q: Tensor, log_jacobian: Tensor) -> tuple[Tensor, Tensor]:
    mass = torch.exp(log_p + log_jacobian)
    on = mass > 0
    ratio = torch.where(on, log_p, 0.0) - torch.where(on, log_q, 0.0)
    return torch.where(on, mass * ratio, 0.0), mass


def _mass(log_p: Tensor, log_q: Tensor, log_jacobian: Tensor) -> tuple[Tensor, Tensor]:
    mass = torch.exp(log_p + log_jacobian)
    return mass, mass


def _integrated(p: Any, q: Any, rule: Callable[..., Any], method: str) -> Estimate:
    result = rule(_log_ratio, p, q, over_p=True)
    with torch.no_grad():
        # mass that the nodes cannot reach (singular ends, tails beyond float64) is missing from the value too
        missing = (rule(_mass, p, q, over_p=True).value - 1).abs()
        missing = torch.where(missing > 1e-14, missing, torch.zeros_like(missing))
        # where mass is lost, at singular ends, the log-ratio may be as large as log(1e-16) and more
        error = result.error + missing * (100 + 10 * result.value.detach().abs())
        infinite = result.diverges | torch.isinf(result.value.detach())
    dtype = result_dtype(p, q)
    value = torch.where(infinite, torch.inf, result.value)
    return Estimate(value.to(dtype), torch.where(infinite, 0.0, error).to(dtype), method)
