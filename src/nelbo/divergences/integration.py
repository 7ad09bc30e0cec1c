"""Integrals of functions of two densities on the line: adaptive Gauss-Kronrod, batched, differentiable.

The line is cut at the ends of both supports. Each piece is mapped to t, in which densities of any scale are smooth:
x = c + s sinh(t) on the whole line, x = a + exp(t) on a half line, x = a + (b - a) / (1 + exp(-t)) between two ends.
The panels in t begin at the landmarks of both distributions; then, in every batch element, the worst panels are halved
until the estimated error is small.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily, TransformedDistribution

from nelbo.divergences.internals import double, log_prob
from nelbo.divergences.supports import Support, batch_shape, device, on_a_line, scalar_support
from nelbo.randomness import own_randomness, seed_noise

Integrand = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(log p, log q, log dx/dt) -> the integrand times dx/dt, and how strongly it reacts to an error in the logarithms."""

# QUADPACK's 10-point Gauss and 21-point Kronrod rules on [-1, 1], the positive half
_NODES = (
    0.995657163025808080735527280689003, 0.973906528517171720077964012084452, 0.930157491355708226001207180059508,
    0.865063366688984510732096688423493, 0.780817726586416897063717578345042, 0.679409568299024406234327365114874,
    0.562757134668604683339000099272694, 0.433395394129247190799265943165784, 0.294392862701460198131126603103866,
    0.14887433898163121088482600112972, 0.0,
)  # fmt: skip
_KRONROD = (
    0.011694638867371874278064396062192, 0.03255816230796472747881897245939, 0.05475589657435199603138130024458,
    0.07503967481091995276704314091619, 0.093125454583697605535065465083366, 0.109387158802297641899210590325805,
    0.123491976262065851077958109585166, 0.134709217311473325928054001771707, 0.142775938577060080797094273138717,
    0.147739104901338491374841515972068, 0.149445554002916905664936468389821,
)  # fmt: skip
_GAUSS = (
    0.066671344308688137593568809893332, 0.149451349150580593145863397657697, 0.219086362515982043995534934228163,
    0.269266719309996355091226921569469, 0.295524224714752870173815619188769,
)  # fmt: skip

# landmarks in units of the scale: the bulk, the shoulders, and far enough for a tail to be seen
_STEPS = (-30.0, -8.0, -3.0, -1.0, 0.0, 1.0, 3.0, 8.0, 30.0)
_QUANTILES = (1e-12, 1e-4, 0.02, 0.2, 0.5, 0.8, 0.98, 1 - 1e-4, 1 - 1e-12)
_FAR = 700.0  # exp(700) is near the largest float64
# points farther out are not visited: their squares, in units of the narrowest scales, leave float64
_WIDEST = 1e120
_TOP = 36.5  # 1 - exp(-36.5) is the last float64 below 1
_EPS = 2.3e-16
_PANELS = 400  # of a batch element and piece: more are not worth their time
_CROSSINGS = 32  # more of them are rounding, where p and q are all but equal
_HALVINGS = 50  # of an eighth of a panel, until its ends are next to each other


class Integral(NamedTuple):
    """A value with its estimated error, and where it is infinite; all (*batch_shape)."""

    value: Tensor
    error: Tensor
    diverges: Tensor


def _rule(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    half = torch.tensor(_NODES, dtype=torch.float64, device=device)
    kronrod = torch.tensor(_KRONROD, dtype=torch.float64, device=device)
    gauss = torch.zeros_like(kronrod)
    gauss[1::2] = torch.tensor(_GAUSS, dtype=torch.float64, device=device)
    return (
        torch.cat([-half, half[:-1].flip(0)]),
        torch.cat([kronrod, kronrod[:-1].flip(0)]),
        torch.cat([gauss, gauss[:-1].flip(0)]),
    )


class _Line:
    """The pieces of the line, and the densities of p and q on them."""

    def __init__(
        self,
        p: Distribution,
        q: Distribution,
        ends: tuple[Support, Support],
        *,
        over_p: bool,
        of: Callable[[Any, Tensor], Tensor] | None,
    ) -> None:
        self.p, self.q, self.of = double(p), double(q), of
        self.shape = batch_shape(p, q)
        self.device = device(p, q)
        self.ends = [tuple(self._expand(e) for e in (s.lower, s.upper)) for s in ends]
        ends_of_p, ends_of_q = self.ends
        self.cuts = torch.stack([*ends_of_p] if over_p else [*ends_of_p, *ends_of_q]).sort(0).values
        of_p, of_q = self._points(self.p), self._points(self.q)
        self.points = torch.nan_to_num(torch.cat([of_p, of_q]), posinf=_WIDEST, neginf=-_WIDEST)
        of_p = torch.where(torch.isfinite(of_p), of_p, torch.zeros_like(of_p))
        self.center = of_p.median(0).values
        self.scale = (of_p - self.center).abs().median(0).values.clamp(min=1e-300)

    def _expand(self, end: Tensor | float) -> Tensor:
        return torch.as_tensor(end, dtype=torch.float64, device=self.device).expand(self.shape)

    def _points(self, d: Distribution) -> Tensor:
        points = landmarks(d).to(self.device)
        extra = len(self.shape) - points.dim() + 1
        return points.reshape(len(points), *(1 for _ in range(extra)), *points.shape[1:]).expand(-1, *self.shape)

    def x(self, t: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The point of t (nodes, panels, *batch) and log dx/dt."""
        has_low, has_high = torch.isfinite(low), torch.isfinite(high)
        one = torch.ones_like(low)
        a, b = torch.where(has_low, low, -one), torch.where(has_high, high, one)
        both, neither = has_low & has_high, ~has_low & ~has_high
        width = torch.where(both, b - a, one)
        one_end = torch.where(has_low, a + t.exp(), b - (-t).exp())
        line = self.center + self.scale * torch.sinh(t)
        x = torch.where(both, a + width * torch.sigmoid(t), torch.where(neither, line, one_end))
        softplus = torch.nn.functional.softplus
        log_cosh = t.abs() + torch.log1p(torch.exp(-2 * t.abs())) - math.log(2)
        between = width.clamp(min=1e-300).log() - softplus(t) - softplus(-t)
        one_end = torch.where(has_low, t, -t)
        slope = torch.where(both, between, torch.where(neither, self.scale.log() + log_cosh, one_end))
        # a node that rounds onto an end is pushed inside, where densities are finite
        inside_low = torch.nextafter(low, torch.full_like(low, torch.inf)).detach()
        inside_high = torch.nextafter(high, torch.full_like(high, -torch.inf)).detach()
        x = torch.where(x <= low, torch.where(has_low, inside_low, x), x)
        x = torch.where(x >= high, torch.where(has_high, inside_high, x), x)
        return x.clamp(-_WIDEST, _WIDEST), slope

    def t(self, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The inverse of `x`, clipped to the representable range."""
        has_low, has_high = torch.isfinite(low), torch.isfinite(high)
        both, neither = has_low & has_high, ~has_low & ~has_high
        above = torch.where(has_low, x - low, torch.ones_like(x)).clamp(min=1e-304)
        below = torch.where(has_high, high - x, torch.ones_like(x)).clamp(min=1e-304)
        line = torch.asinh((x - self.center) / self.scale)
        one_end = torch.where(has_low, above.log(), -below.log())
        t = torch.where(both, above.log() - below.log(), torch.where(neither, line, one_end))
        far = torch.as_tensor(_FAR, dtype=torch.float64, device=x.device)
        line_far = (torch.asinh(_WIDEST / self.scale.clamp(min=1e-4))).clamp(max=far)
        largest = torch.where(both, torch.full_like(line_far, _TOP), torch.where(neither, line_far, far))
        smallest = torch.where(neither, -line_far, -far)
        return torch.minimum(torch.maximum(t, smallest), largest)

    def ends_in_t(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The ends of a piece in t, as far as points are visited."""
        bottom, top = self.t(torch.stack([torch.full_like(low, -_WIDEST), torch.full_like(low, _WIDEST)]), low, high)
        has_low, has_high = torch.isfinite(low), torch.isfinite(high)
        return torch.where(has_low, -_FAR, bottom), torch.where(has_high & ~has_low, _FAR, top)

    def log_densities(self, x: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Log p and log q at x; -inf on pieces outside of their supports."""
        logs: list[Tensor] = []
        for d, (bottom, top) in zip((self.p, self.q), self.ends, strict=True):
            if self.of is not None:
                logs.append(self.of(d, torch.minimum(torch.maximum(x, bottom), top)))
                continue
            inside = (low >= bottom) & (high <= top)
            log = log_prob(d, torch.where(inside, x, self._anywhere(d, bottom, top)))
            log = torch.where(inside.expand_as(log), log, torch.full_like(log, -torch.inf))
            logs.append(torch.where(torch.isnan(log), torch.full_like(log, -torch.inf), log))
        return logs[0], logs[1]

    def _anywhere(self, d: Distribution, bottom: Tensor, top: Tensor) -> Tensor:
        """A point in the support, for the branch that is masked out."""
        low, high = torch.isfinite(bottom), torch.isfinite(top)
        middle = torch.where(low & high, 0.5 * (bottom + top), torch.zeros_like(bottom))
        return torch.where(low & ~high, bottom + 1, torch.where(~low & high, top - 1, middle)).detach()


def _crossings(line: _Line, edges: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Points where the densities cross, (k, *batch), between which even |p - q| is smooth; edges[0] beyond the last."""

    def above(t: Tensor) -> Tensor:
        log_p, log_q = line.log_densities(line.x(t, low, high)[0], low, high)
        return log_p >= log_q

    parts = torch.linspace(0, 1, 9, dtype=torch.float64, device=edges.device).reshape(-1, 1, *(1 for _ in line.shape))
    points = (edges[:-1] + parts * (edges[1:] - edges[:-1])).flatten(0, 1).sort(0).values
    side = above(points)
    crosses = side[1:] != side[:-1]
    count = min(int(crosses.sum(0).max()), _CROSSINGS) if crosses.numel() else 0
    order = crosses.to(torch.int8).argsort(dim=0, descending=True, stable=True)[:count]
    left, right, start, crosses = (x.gather(0, order) for x in (points[:-1], points[1:], side[:-1], crosses))
    for _ in range(_HALVINGS if count else 0):
        middle = 0.5 * (left + right)
        same = above(middle) == start
        left, right = torch.where(same, middle, left), torch.where(same, right, middle)
    return torch.where(crosses, 0.5 * (left + right), edges[:1])


def _panels(line: _Line, low: Tensor, high: Tensor) -> Tensor:
    """Edges (m + 1, *batch) of the first panels in t: landmarks, and steps that double towards the far ends."""
    inside = (line.points > low) & (line.points < high)
    within = torch.where(inside.any(0), torch.where(inside, line.points, -torch.inf).max(0).values, line.center)
    # a landmark outside of the piece would become a panel edge at its far end, and the steps towards that end would be
    # skipped
    edges = line.t(torch.where(inside, line.points, within), low, high)
    first, last = edges.min(0).values, edges.max(0).values
    doubling = 2.0 ** torch.arange(0, 11, dtype=torch.float64, device=edges.device)
    doubling = doubling.reshape(-1, *(1 for _ in line.shape))
    tails = torch.cat([first - doubling, last + doubling])
    bottom, top = line.ends_in_t(low, high)
    edges = torch.cat([edges, torch.minimum(torch.maximum(tails, bottom), top), bottom[None], top[None]])
    return edges.sort(0).values


class _Panels(NamedTuple):
    """Panels, and the integral over each; all (m, *batch)."""

    left: Tensor
    right: Tensor
    value: Tensor
    """By the Kronrod rule."""
    error: Tensor
    """The difference of the rules; QUADPACK's power of 3/2 would be wrong for the kinks of |p - q|."""
    size: Tensor
    """The integral of the absolute value."""
    noise: Tensor
    """The cost of rounding x and the logarithms, which can exceed the error of the rule."""


def _evaluated(line: _Line, f: Integrand, left: Tensor, right: Tensor, low: Tensor, high: Tensor) -> _Panels:
    nodes, kronrod, gauss = _rule(left.device)
    shape = (-1, *(1 for _ in left.shape))
    half = 0.5 * (right - left)
    t = 0.5 * (left + right) + half * nodes.reshape(shape)
    x, slope = line.x(t, low, high)
    log_p, log_q = line.log_densities(x, low, high)
    value, weight = f(log_p, log_q, slope)
    empty = (half == 0) | (high <= low)
    value = torch.where(empty, torch.zeros_like(value), value)
    k, g = kronrod.reshape(shape), gauss.reshape(shape)
    with torch.no_grad():
        size = (k * value.abs()).sum(0) * half
        error = ((k - g) * value).sum(0).abs() * half
        logs = torch.nan_to_num(log_p.abs(), posinf=0.0) + torch.nan_to_num(log_q.abs(), posinf=0.0)
        steep = torch.zeros_like(logs)
        dx = (x[1:] - x[:-1]).abs().clamp(min=1e-300)
        for log in (log_p, log_q):
            steep[1:] += torch.nan_to_num((log[1:] - log[:-1]).abs() / dx, posinf=0.0)
        noise = _EPS * (logs + 1 + torch.nan_to_num(x.abs() * steep, posinf=0.0)) * weight
        noise = torch.where(empty, 0.0, (k * torch.nan_to_num(noise, posinf=0.0)).sum(0) * half)
    return _Panels(left, right, (k * value).sum(0) * half, error, size, noise)


def integrate(
    f: Integrand,
    p: Distribution,
    q: Distribution,
    *,
    over_p: bool = False,
    relative: float = 1e-11,
    kinks: bool = False,
    of: Callable[[Any, Tensor], Tensor] | None = None,
) -> Integral:
    """Integrate f(log p, log q) over the union of the supports, or over p's alone.

    The error is the difference between the Gauss and the Kronrod rule, plus the cost of rounding points and logarithms.

    Args:
        f: the integrand, of the log-densities and log dx/dt.
        p: univariate, continuous.
        q: univariate, continuous.
        over_p: the integrand vanishes where p does.
        relative: the wanted error, as a fraction of the integral of |f|.
        kinks: f has a corner where p = q, as |p - q| has: panels end where the densities cross.
        of: a function of each distribution at x that f takes instead of the log-density, such as its cdf.

    Returns:
        Integral of shape batch_shape, float64.

    Raises:
        ValueError: for counts, vectors, and supports that are not intervals.
    """
    supports = scalar_support(p), scalar_support(q)
    if supports[0] is None or supports[1] is None or not on_a_line(p, q):
        raise ValueError(
            f"quadrature needs two univariate densities on intervals, got {type(p).__name__} on {p.support} and "
            f'{type(q).__name__} on {q.support}. Write method="monte_carlo" instead.'
        )
    line = _Line(p, q, (supports[0], supports[1]), over_p=over_p, of=of)
    total: Tensor = torch.zeros(line.shape, dtype=torch.float64, device=line.device)
    error, diverges = torch.zeros_like(total), torch.zeros(line.shape, dtype=torch.bool, device=line.device)
    for low, high in zip(line.cuts[:-1], line.cuts[1:], strict=True):
        piece, off = _piece(line, f, low, high, relative, kinks=kinks)
        with torch.no_grad():
            missed, endless = _tails(line, f, low, high)
        total, error, diverges = total + piece, error + off + missed, diverges | endless
    return Integral(total, error, diverges)


def _tails(line: _Line, f: Integrand, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """An estimate of the integral beyond the last panels, and whether the integrand does not fall off at all (in t)."""
    left, right = line.ends_in_t(low, high)
    t = torch.stack([left, 0.5 * left, 0.5 * right, right])
    x, slope = line.x(t, low, high)
    value = f(*line.log_densities(x, low, high), slope)[0].abs()
    empty = high <= low
    value = torch.where(empty, torch.zeros_like(value), torch.nan_to_num(value, nan=0.0))
    # between two finite ends the upper one is cut at rounding, not at the end: there the missing mass tells
    upper_open = ~(torch.isfinite(low) & torch.isfinite(high))
    endless = (value[0] > 0) & (value[0] >= 0.98 * value[1])
    endless = endless | (upper_open & (value[3] > 0) & (value[3] >= 0.98 * value[2]))
    return 2 * _FAR * (value[0] + torch.where(upper_open, value[3], torch.zeros_like(value[3]))), endless


def _piece(
    line: _Line, f: Integrand, low: Tensor, high: Tensor, relative: float, *, kinks: bool
) -> tuple[Tensor, Tensor]:
    fixed_low, fixed_high = low.detach(), high.detach()
    with torch.no_grad():
        edges = _panels(line, fixed_low, fixed_high)
        if kinks:
            edges = torch.cat([edges, _crossings(line, edges, fixed_low, fixed_high)]).sort(0).values
        done = _evaluated(line, f, edges[:-1], edges[1:], fixed_low, fixed_high)
        while len(done.left) < _PANELS and bool((done.error.sum(0) > relative * done.size.sum(0)).any()):
            worst = done.error.topk(max(4, len(done.left) // 8), dim=0).indices
            left, right = done.left.gather(0, worst), done.right.gather(0, worst)
            middle = 0.5 * (left + right)
            halves = torch.cat([left, middle]), torch.cat([middle, right])
            fresh = _evaluated(line, f, *halves, fixed_low, fixed_high)
            is_worst = torch.zeros_like(done.error, dtype=torch.int8).scatter(0, worst, 1)
            others = is_worst.sort(dim=0, stable=True).indices[: -len(worst)]
            done = _Panels(*(torch.cat([a.gather(0, others), b]) for a, b in zip(done, fresh, strict=True)))
    error = done.error.sum(0) + done.noise.sum(0)
    if torch.is_grad_enabled() and _needs_grad(line):
        done = _evaluated(line, f, done.left, done.right, low, high)
    return done.value.sum(0), error


def _needs_grad(line: Any) -> bool:
    probe = torch.zeros((), dtype=torch.float64, device=line.device)
    with torch.enable_grad():
        logs = line.log_densities(
            torch.where(torch.isfinite(line.cuts[0]), line.cuts[0] + 1, probe), line.cuts[0], line.cuts[-1]
        )
    return any(x.requires_grad for x in (*logs, line.cuts))


def landmarks(p: Distribution) -> Tensor:
    """Points (k, *batch_shape) where a univariate density has structure that an integrator must not step over.

    In float64, unsorted, without gradient; some may be outside of the support or not finite.
    """
    with torch.no_grad():
        return _landmarks(p).detach().double()


def _landmarks(p: Any) -> Any:
    if isinstance(p, MixtureSameFamily):
        parts = _landmarks(p.component_distribution)
        return parts.movedim(-1, 0).flatten(0, 1)
    if _has(p, "loc") and _has(p, "scale") and not isinstance(p, TransformedDistribution):
        return _spread(p.loc, p.scale)
    if isinstance(p, TransformedDistribution):
        by_level = _quantiles(p)
        if by_level is not None and bool(torch.isfinite(by_level).any(0).all()):
            return by_level
        points = _landmarks(p.base_dist)
        for transform in p.transforms:
            points = transform(points)
        return points
    mean, deviation = _moments(p)
    if mean is not None and deviation is not None and bool((torch.isfinite(mean) & torch.isfinite(deviation)).all()):
        return _spread(mean, deviation)
    by_level = _quantiles(p)
    return by_level if by_level is not None else _drawn(p)


def _quantiles(p: Any) -> Tensor | None:
    levels = torch.tensor(_QUANTILES, dtype=torch.float64, device=device(p, p))
    levels = levels.reshape(-1, *(1 for _ in p.batch_shape))
    try:
        return p.icdf(levels.expand(-1, *p.batch_shape))
    except NotImplementedError:
        return None


def _spread(center: Tensor, scale: Tensor) -> Tensor:
    center, scale = torch.broadcast_tensors(center.double(), scale.double())
    steps = torch.tensor(_STEPS, dtype=torch.float64, device=center.device)
    return center + scale * steps.reshape(-1, *(1 for _ in center.shape))


def _has(p: Any, name: str) -> bool:
    return isinstance(getattr(p, name, None), Tensor)


def _moments(p: Any) -> tuple[Tensor | None, Tensor | None]:
    try:
        return p.mean, p.variance.sqrt()
    except NotImplementedError:
        return None, None


def _drawn(p: Distribution) -> Tensor:
    """Order statistics of draws with a fixed seed, for distributions without moments and quantiles."""
    on = device(p, p)
    with own_randomness(on):
        seed_noise(on, 0)
        draws = p.sample(torch.Size([1024])).double()
    levels = torch.tensor(_QUANTILES[1:-1], dtype=torch.float64, device=draws.device)
    return torch.quantile(draws, levels, dim=0)
