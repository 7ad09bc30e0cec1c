"""The ways to a divergence D(p, q), and which of them applies to a pair of distributions."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from nelbo.divergences.exact_sum import TooManyCountsError, can_sum, exact_sum
from nelbo.divergences.integration import Integral, Integrand, integrate
from nelbo.divergences.internals import broadcast_shapes, double, parameters, validated
from nelbo.divergences.monte_carlo import Method, Options, expectation
from nelbo.divergences.supports import (
    escapes,
    filled,
    in_words,
    is_discrete,
    on_a_line,
    result_dtype,
    shared_dimensions,
)
from nelbo.estimate import Estimate
from nelbo.registry import check_choice
from nelbo.wording import advice

_T = TypeVar("_T")
Of = Callable[[Tensor, Tensor], Tensor]
"""(log p(x), log q(x)) -> what is averaged over draws of x."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """A number D(p, q), and the ways to it.

    Attributes:
        name: in messages.
        closed_form: of (p, q); None, or a result of None, where no formula applies.
        in_float64: the closed form in float64 of (p, q) in lower precision, where that needs no copies; else None.
        exact_sum: of two distributions of counts; a result of None where it does not apply after all.
        quadrature: of two univariate densities.
        monte_carlo: of any pair.
        additive: whether it is the sum over the coordinates of two `Independent`.
        infinite_outside: whether it is inf where p puts mass outside of q's support.
        hint: what to write where no method applies.
    """

    name: str
    closed_form: Callable[[Any, Any], Tensor | None] | None = None
    in_float64: Callable[[Any, Any], Tensor | None] | None = None
    exact_sum: Callable[[Any, Any], Estimate | None] | None = None
    quadrature: Callable[[Any, Any], Estimate] | None = None
    monte_carlo: Callable[[Any, Any, Options], Estimate] | None = None
    additive: bool = False
    infinite_outside: bool = False
    hint: str = "Write method='auto', 'exact_sum' (counts), 'quadrature' (densities on the line) or 'monte_carlo'."

    def evaluate(self, p: Any, q: Any, options: Options, *, both_ways: bool = False) -> Estimate:
        """D(p, q) by the method of the options: "auto" takes the first that applies.

        Everything but draws is computed in float64 and rounded once, to the dtype of the parameters, which the error
        says.

        Args:
            p: a distribution.
            q: another.
            options: of the method.
            both_ways: D(p, q) + D(q, p) instead.

        Raises:
            TypeError: for anything that is not a distribution.
            ValueError: for mismatched events or batches, invalid or NaN parameters, and a method that does not apply.
        """
        check_pair(p, q, what=self.name)
        check_choice(f"{self.name}: method", options.method, get_args(Method))
        result = self._evaluated(p, q, options)
        if both_ways:
            result = result + self._evaluated(q, p, options)
        result = _rounded(result, result_dtype(p, q))
        check_value(result.value, p, q, what=self.name)
        return result

    def _evaluated(self, p: Any, q: Any, options: Options) -> Estimate:
        if options.method in ("auto", "closed_form") and self.closed_form is not None:
            value = None if self.in_float64 is None else self.in_float64(p, q)
            value = _in_double(self.closed_form, p, q) if value is None else value
            if value is not None:
                return Estimate.exactly(value)
        outside = self.infinite_outside and escapes(p, q)
        if outside is True:
            return Estimate.exactly(filled(p, q, torch.inf), "supports")
        result = self._estimate(p, q, options)
        return _where_infinite(outside, result) if isinstance(outside, Tensor) else result

    def _estimate(self, p: Any, q: Any, options: Options) -> Estimate:
        method = options.method
        if self.additive and method in ("auto", "exact_sum", "quadrature"):
            events = shared_dimensions(p, q)
            if events is not None:
                error = options.standard_error / max(1, p.event_shape.numel()) ** 0.5
                of_each = self._evaluated(p.base_dist, q.base_dist, options._replace(standard_error=error))
                return of_each.sum_rightmost(events)
        if method in ("auto", "exact_sum") and self.exact_sum is not None and can_sum(p, q):
            try:
                result = _in_double(self.exact_sum, p, q)
            except TooManyCountsError:
                if method != "auto" or self.monte_carlo is None:
                    raise
                result = None
            if result is not None:
                return result
        if method in ("auto", "quadrature") and self.quadrature is not None and on_a_line(p, q):
            return _in_double(self.quadrature, p, q)
        if method in ("auto", "monte_carlo") and self.monte_carlo is not None:
            return self.monte_carlo(p, q, options)
        raise ValueError(self._not_applicable(p, q, method))

    def _not_applicable(self, p: Any, q: Any, method: Method) -> str:
        pair = f"p = {type_name(p)} and q = {type_name(q)} of event_shape {tuple(p.event_shape)}"
        expected = {
            "closed_form": f"no closed form is registered for {pair}",
            "exact_sum": f"method='exact_sum' needs two distributions of counts, got {pair}",
            "quadrature": f"method='quadrature' needs two univariate densities, got {pair}",
        }
        return f"{self.name}: {expected.get(method, f'method={method!r} does not apply to {pair}')}. {self.hint}"


def pointwise(
    name: str,
    integrand: Integrand,
    *,
    at_p: Of | None = None,
    at_q: Of | None = None,
    within_p: bool = False,
    kinks: bool = False,
    finish: Callable[[Estimate], Estimate] = lambda e: e,
    **ways: Any,
) -> Divergence:
    """A divergence that compares the densities point by point: finish(the integral or sum of the integrand).

    Args:
        name: in messages.
        integrand: as `integrate` takes it.
        at_p: whose mean over draws of p is the integral, or the first part of it.
        at_q: whose mean over draws of q is the integral, or the rest of it.
        within_p: the integrand vanishes where p does.
        kinks: the integrand has a corner where the densities cross.
        finish: from the integral to the divergence.
        ways: other fields of the `Divergence`.
    """

    def by(rule: Callable[..., Integral], method: str, p: Any, q: Any, **options: Any) -> Estimate:
        result = rule(integrand, p, q, over_p=within_p, **options)
        error = result.error
        if within_p:
            with torch.no_grad():
                # the nodes miss mass at singular ends, and in tails beyond float64; the log-ratio there may be as
                # large as log(1e-16) and more
                missing = (rule(_mass_of_p, p, q, over_p=True).value - 1).abs()
                missing = torch.where(missing > 1e-14, missing, torch.zeros_like(missing))
                error = error + missing * (100 + 10 * result.value.detach().abs())
        infinite = result.diverges | torch.isinf(result.value.detach())
        return finish(_where_infinite(infinite, Estimate(result.value, error, method)))

    def by_draws(p: Any, q: Any, options: Options) -> Estimate:
        for d in (p, q):
            if type(d).log_prob is Distribution.log_prob:
                raise ValueError(
                    f"{name}: {type_name(d)} has no log_prob, so that no method applies. Give it one, register a "
                    "closed form of KL with torch.distributions.register_kl, or compare samples: "
                    "nelbo.divergences.kl_from_samples(x, y)."
                )
        if is_discrete(p) != is_discrete(q):
            raise ValueError(
                f"{name}: {type_name(p)} and {type_name(q)} are a count and a density, which have no mass in common. "
                "nelbo.kl is inf for such a pair; wasserstein and energy_distance compare the values instead."
            )
        parts: list[Estimate] = []
        if at_p is not None:
            parts.append(expectation(at_p, p, q, options))
        if at_q is not None:
            parts.append(expectation(lambda log_q, log_p, f=at_q: f(log_p, log_q), q, p, options))
        return finish(parts[0] if len(parts) == 1 else parts[0] + parts[1])

    return Divergence(
        name=name,
        exact_sum=lambda p, q: by(exact_sum, "exact_sum", p, q),
        quadrature=lambda p, q: by(integrate, "quadrature", p, q, kinks=kinks),
        monte_carlo=by_draws,
        **ways,
    )


def _in_double(way: Callable[[Any, Any], _T], p: Any, q: Any) -> _T:
    """What a way to a divergence gives for p and q in float64."""
    if all(part.dtype == torch.float64 for part in (*parameters(p), *parameters(q))):
        return way(p, q)
    try:
        twins = double(p), double(q)
    except TypeError:  # a device without float64
        return way(p, q)
    try:
        return way(*twins)
    except RuntimeError:  # a part that is no tensor of the distribution's own, as a network, stays in its precision
        return way(p, q)


def _rounded(e: Estimate, dtype: torch.dtype) -> Estimate:
    """The estimate in the dtype of the parameters; the error holds half a unit in the last place of the value."""
    if dtype == torch.float64:
        return e
    value, limits = e.value.to(dtype), torch.finfo(dtype)
    # in place: over many elements, these passes are most of what a KL costs
    error = value.detach().abs().float().nan_to_num_(posinf=0.0).mul_(0.5 * limits.eps)
    error = error.hypot_(e.standard_error.to(error))
    if dtype == torch.float16:  # its range is short: 0 or inf may be what a value rounds to
        lost = (e.value.detach() - value).abs().nan_to_num(nan=0.0, posinf=torch.inf).to(error)
        error = torch.where(lost > 0, error.maximum(lost).clamp(min=limits.eps * limits.tiny), error)
    return replace(e, value=value, standard_error=error.to(dtype))


def _mass_of_p(log_p: Tensor, log_q: Tensor, log_dx: Tensor) -> tuple[Tensor, Tensor]:
    mass = torch.exp(log_p + log_dx)
    return mass, mass


def _where_infinite(infinite: Tensor, e: Estimate) -> Estimate:
    """The estimate, with inf and no error where it is infinite."""
    value, error = torch.where(infinite, torch.inf, e.value), torch.where(infinite, 0.0, e.standard_error)
    return replace(e, value=value, standard_error=error)


def type_name(p: Any) -> str:
    """The type of a distribution, for messages."""
    return f"Independent({type_name(p.base_dist)})" if isinstance(p, Independent) else type(p).__name__


def check_pair(p: Any, q: Any, *, what: str) -> None:
    """Raise where p and q are not two distributions of the same kind of thing.

    Raises:
        TypeError: where either is not a `torch.distributions.Distribution`.
        ValueError: for events or batches of different shape, and for parameters outside of their domain.
    """
    for letter, d in (("p", p), ("q", q)):
        if not isinstance(d, Distribution):
            raise TypeError(
                f"{what}: {letter} is a {type(d).__name__}; expected a torch.distributions.Distribution, as in "
                f"{what}(Normal(0.0, 1.0), Normal(1.0, 2.0)). For two samples without densities, write "
                "nelbo.divergences.kl_from_samples(x, y)."
            )
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"{what}: p = {type_name(p)} has event_shape {tuple(p.event_shape)} and q = {type_name(q)} has "
            f"{tuple(q.event_shape)}; expected the same. Independent(p, 1) turns the last batch dimension into the "
            f"event: {what}(Independent(p, 1), q)."
        )
    try:
        broadcast_shapes(p.batch_shape, q.batch_shape)
    except ValueError:
        raise ValueError(
            f"{what}: batch shapes {tuple(p.batch_shape)} of p = {type_name(p)} and {tuple(q.batch_shape)} of "
            f"q = {type_name(q)} do not broadcast; expected shapes that are equal or 1 from the right, as for tensors. "
            "For all pairs of two batches of sizes n and m, give p's parameters the shape (n, 1) and q's (m,)."
        ) from None
    for letter, d in (("p", p), ("q", q)):
        if not validated(d):
            check_parameters(d, letter=letter, what=what)


def check_parameters(d: Any, *, letter: str, what: str) -> None:
    """Raise ValueError where a parameter is NaN or outside of its domain, with its name and its worst value."""
    for key, constraint in (getattr(d, "arg_constraints", None) or {}).items():
        value = vars(d).get(key)
        if not isinstance(value, Tensor) or constraints.is_dependent(constraint):
            continue
        good = constraint.check(value)
        if not bool(good.all()):
            bad = value[~good].flatten()[:1] if good.shape == value.shape else value.flatten()[:1]
            raise ValueError(
                f"{what}: {letter} = {type_name(d)} has {key} = {float(bad):g} somewhere in its shape "
                f"{tuple(value.shape)}; expected {in_words(constraint)}. torch says so itself with "
                "validate_args=True; `import zuko` switches that off for the whole process."
            )
    for part in (getattr(d, "base_dist", None), getattr(d, "component_distribution", None)):
        if isinstance(part, Distribution):
            check_parameters(part, letter=letter, what=what)


def check_value(value: Tensor, p: Any, q: Any, *, what: str) -> None:
    """Raise ValueError where a computed value is NaN: a parameter was, or the quantity is undefined."""
    if value.is_floating_point() and bool(torch.isnan(value.detach()).any()):
        for letter, d in (("p", p), ("q", q)):
            check_parameters(d, letter=letter, what=what)
        where = torch.isnan(value.detach()).nonzero()[:1].flatten().tolist()
        raise ValueError(
            f"{what}({type_name(p)}, {type_name(q)}) is NaN at batch index {where} although all parameters are in "
            "their domains: they are so extreme that every method rounds away. "
            + advice("Use float64 parameters, or method='monte_carlo'.", "Use less extreme ones.")
        )
