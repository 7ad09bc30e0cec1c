"""What every q(z|x) and p(z) can do, whatever its family and the shape of its events.

Functions over ``torch.distributions``. What depends on the family is registered here once (``@rebuilt.register`` and
its like take a user's own family too), so that no caller asks a distribution for its class.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)

from nelbo import randomness
from nelbo.divergences import Delta
from nelbo.divergences.internals import broadcast_shapes

__all__ = [
    "Change",
    "UnknownFamilyError",
    "base_of",
    "center",
    "detached",
    "draw",
    "draw_with_log_prob",
    "factorizes",
    "from_keys",
    "has_density",
    "join",
    "marginals",
    "moments",
    "picks",
    "rebuilt",
    "rows",
    "spread",
]

Change = Callable[[list[Tensor]], Tensor]
"""From the values of one parameter in several distributions to a new value."""

_DRAWS_FOR_SPREAD = 64
_BLOCK = 64  # draws that a family without a rule of its own makes of one seed


class UnknownFamilyError(TypeError):
    """A distribution whose parameters cannot be picked or joined; evaluate the model on those examples instead."""


@singledispatch
def rebuilt(q: Distribution, others: Sequence[Any], change: Change) -> Any:
    """A distribution of the family of q, each of its parameters made from those of q and of others.

    Args:
        q: batch shape (batch, ...).
        others: of the same family.
        change: from the parameter's values, q's first, to the new one.

    Raises:
        UnknownFamilyError: the family does not state its parameters.
    """
    names = [name for name in q.arg_constraints if name in vars(q)] or list(q.arg_constraints)
    if "logits" in names and "probs" in names:  # torch keeps the second once it was asked for
        names.remove("probs")
    if not names or type(q).__init__ is Distribution.__init__:
        raise UnknownFamilyError(
            f"a {type(q).__name__} does not state its parameters in arg_constraints; register it with "
            "nelbo.latents.rebuilt.register"
        )
    parts = [q, *others]
    values = {name: change([_along_batch(getattr(part, name), part) for part in parts]) for name in names}
    # settings that are not parameters of an example, such as a temperature
    settings = inspect.signature(type(q).__init__).parameters.keys() - {*q.arg_constraints, "self", "validate_args"}
    values |= {name: getattr(q, name) for name in settings if hasattr(q, name)}
    family: Any = type(q)
    return family(**values, validate_args=False)


def _along_batch(value: Any, q: Distribution) -> Tensor:
    """A parameter with q's whole batch shape in front."""
    value = torch.as_tensor(value)
    extra = value.dim() - len(q.batch_shape)
    return value if extra >= 0 and value.shape[: len(q.batch_shape)] == q.batch_shape else value.expand(q.batch_shape)


def _exactly(q: Distribution, family: type) -> bool:
    """Whether q is of that family itself: a subclass may have another density or other draws."""
    return type(q) is family


@rebuilt.register
def _(q: Normal, others: Sequence[Normal], change: Change) -> Normal:
    if not _exactly(q, Normal):
        return rebuilt.dispatch(Distribution)(q, others, change)
    parts = [q, *others]
    return Normal(
        change([part.loc for part in parts]),
        change([part.scale.expand_as(part.loc) for part in parts]),
        validate_args=False,
    )


@rebuilt.register
def _(q: Independent, others: Sequence[Independent], change: Change) -> Independent:
    base = rebuilt(q.base_dist, [other.base_dist for other in others], change)
    return Independent(base, q.reinterpreted_batch_ndims, validate_args=False)


@rebuilt.register
def _(q: MultivariateNormal, others: Sequence[MultivariateNormal], change: Change) -> MultivariateNormal:
    parts = [q, *others]
    return MultivariateNormal(
        change([part.loc for part in parts]),
        scale_tril=change([part.scale_tril for part in parts]),
        validate_args=False,
    )


@rebuilt.register
def _(q: TransformedDistribution, others: Sequence[TransformedDistribution], change: Change) -> Any:
    if not _exactly(q, TransformedDistribution):
        return rebuilt.dispatch(Distribution)(q, others, change)
    if any(isinstance(value, Tensor) and value.dim() for part in q.transforms for value in vars(part).values()):
        raise UnknownFamilyError("the transforms of this TransformedDistribution may differ between examples")
    base = rebuilt(q.base_dist, [other.base_dist for other in others], change)
    return TransformedDistribution(base, q.transforms, validate_args=False)


@rebuilt.register
def _(q: Delta, others: Sequence[Delta], change: Change) -> Delta:
    return Delta(change([part.location for part in (q, *others)]))


@rebuilt.register
def _(q: MixtureSameFamily, others: Sequence[MixtureSameFamily], change: Change) -> MixtureSameFamily:
    weights = rebuilt(q.mixture_distribution, [other.mixture_distribution for other in others], change)
    components = rebuilt(q.component_distribution, [other.component_distribution for other in others], change)
    return MixtureSameFamily(weights, components, validate_args=False)


def rows(q: Distribution, index: slice | Tensor) -> Any:
    """The distributions of some examples, by their place along the first batch axis."""
    return _changed(q, lambda value: value[index])


def join(parts: Sequence[Distribution]) -> Any:
    """Distributions of batch shapes (a,), (b,), ... as one of batch shape (a + b + ...,)."""
    return parts[0] if len(parts) == 1 else rebuilt(parts[0], parts[1:], torch.cat)


@singledispatch
def detached(q: Distribution) -> Any:
    """The same distribution, held fixed: its log_prob has a gradient with respect to z alone."""
    return _changed(q, Tensor.detach)


def _changed(q: Distribution, change: Callable[[Tensor], Tensor]) -> Any:
    """A distribution of the same family, each of its parameters changed."""

    def first(values: list[Tensor]) -> Tensor:
        return change(values[0])

    return rebuilt(q, [], first)


class Expandable(Distribution):
    """A base class for a family of one's own: ``expand`` by its rule of :func:`rebuilt`, or without any by repeating.

    It stands before a torch distribution whose own ``expand`` is to be replaced.
    """

    def expand(self, batch_shape: Any, _instance: Any = None) -> Distribution:
        """The same distribution with its parameters expanded to batch_shape."""
        shape, axes = torch.Size(batch_shape), len(self.batch_shape)
        try:
            return _changed(self, lambda value: value.expand(*shape, *value.shape[axes:]))
        except UnknownFamilyError:
            return _Repeated(self, _expanded(self.batch_shape, shape))


def _expanded(shape: torch.Size, to: Sequence[int]) -> torch.Size:
    """The second shape; a RuntimeError as of ``Tensor.expand`` where the first does not expand to it."""
    return torch.empty(()).expand(shape).expand(torch.Size(to)).shape


class _Repeated(Distribution):
    """A distribution whose parameters are not known, repeated along new axes and those of length 1."""

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, base: Distribution, batch_shape: torch.Size) -> None:
        self.base = base
        super().__init__(batch_shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Distribution:
        return _Repeated(self.base, _expanded(self.batch_shape, batch_shape))

    @property
    def mean(self) -> Tensor:
        return self.base.mean.expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        return self.base.variance.expand(self._extended_shape())

    @property
    def support(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.base.support

    @property
    def _times(self) -> list[int]:
        """How often each axis of the base is repeated."""
        own = self.base.batch_shape
        shape = self.batch_shape[len(self.batch_shape) - len(own) :]
        return [1 if n == repeated else repeated for n, repeated in zip(own, shape, strict=True)]

    def log_prob(self, value: Tensor) -> Tensor:
        shape, axes = broadcast_shapes(value.shape, self._extended_shape()), len(self.base.batch_shape)
        first = len(shape) - len(self.event_shape) - axes
        pairs = [n for pair in zip(self._times, self.base.batch_shape, strict=True) for n in pair]
        value = value.expand(shape).reshape(*shape[:first], *pairs, *self.event_shape)
        value = value.movedim([*range(first, first + 2 * axes, 2)], [*range(first, first + axes)])
        return self._merged(self.base.log_prob(value), first)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        new = self.batch_shape[: len(self.batch_shape) - len(self.base.batch_shape)]
        front = (*sample_shape, *new)
        return self._merged(self.base.sample(torch.Size((*front, *self._times))), len(front))

    def _merged(self, values: Tensor, first: int) -> Tensor:
        """Values (\\*front, \\*times, \\*own, \\*rest) with each axis joined to its repetitions."""
        axes = len(self.base.batch_shape)  # of each and its repetitions, one has length 1
        values = values.movedim([*range(first, first + axes)], [*range(first, first + 2 * axes, 2)])
        for axis in range(first, first + axes):
            values = values.flatten(axis, axis + 1)
        return values


def picks(q: Distribution) -> bool:
    """Whether :func:`rows` and :func:`join` know this family."""
    try:
        rows(q, slice(0, 1))
    except (UnknownFamilyError, TypeError, AttributeError, NotImplementedError):
        return False
    return True


def base_of(distribution: Distribution) -> Distribution:
    """The distribution of one feature or unit: what Independent wraps."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def factorizes(q: Distribution) -> bool:
    """Whether the latent units are independent under q: then the marginals are all there is."""
    return isinstance(q, Independent) and not q.base_dist.event_shape and len(q.event_shape) > 0


@singledispatch
def marginals(q: Distribution) -> Distribution | None:
    """The marginal distribution of each latent unit, batch shape (\\*batch, \\*event); None where none is known."""
    return None


@marginals.register
def _(q: Independent) -> Distribution | None:
    return q.base_dist if factorizes(q) else None


@marginals.register
def _(q: MultivariateNormal) -> Distribution | None:
    return Normal(q.mean, q.variance.sqrt(), validate_args=False)


def has_moments(q: Distribution) -> bool:
    """Whether q is a normal or a point over d units, so that :func:`moments` has its mean and covariance.

    Nothing is computed: the covariances of many examples over thousands of units fit into no memory.
    """
    return isinstance(q, MultivariateNormal | Delta) or (isinstance(q, Independent) and _exactly(q.base_dist, Normal))


def moments(q: Distribution) -> tuple[Tensor, Tensor] | None:
    """Mean (\\*batch, d) and covariance (\\*batch, d, d) of a normal or a point over d units; None for any other.

    >>> mean, covariance = moments(Independent(Normal(torch.zeros(5, 2), torch.ones(5, 2)), 1))
    >>> mean.shape, covariance.shape
    (torch.Size([5, 2]), torch.Size([5, 2, 2]))
    """
    if not has_moments(q):
        return None
    if isinstance(q, MultivariateNormal):
        return q.mean, q.covariance_matrix
    batch = q.batch_shape
    return q.mean.reshape(*batch, -1), torch.diag_embed(q.variance.reshape(*batch, -1))


def has_density(q: Distribution) -> bool:
    """Whether q has a density; a point, as of an autoencoder, has none."""
    return getattr(q, "has_density", True)


def center(q: Distribution, keys: Tensor | None = None) -> Tensor:
    """The one z that stands for q, (\\*batch, \\*event): its mean, or what the family gives where that is not known.

    ``keys`` as of :func:`draw`, for a family that gives nothing: then a draw stands for it.
    """
    try:
        return q.mean
    except NotImplementedError:
        known = getattr(q, "center", None)
        return draw(q, keys=keys).detach() if known is None else known


def spread(q: Distribution, keys: Tensor | None = None) -> Tensor:
    """Standard deviations of q, (\\*batch, \\*event), by 64 draws where there is no closed form; 0 of a point.

    ``keys`` as of :func:`draw`.
    """
    try:
        return q.variance.sqrt()
    except NotImplementedError:
        return draw(q, _DRAWS_FOR_SPREAD, keys).detach().std(0)


def draw(q: Distribution, draws: int | None = None, keys: Tensor | None = None, *, start: int = 0) -> Tensor:
    """Reparameterized draws z ~ q.

    Args:
        q: batch shape (batch,), or () where keys say how many examples draw from it.
        draws: of each example; None is one, without an axis of its own.
        keys: (batch,) of each example's own random numbers (:func:`nelbo.randomness.example_keys`); None draws from
            torch's global generator.
        start: number of the first draw, where keys are given.

    Returns:
        z: (draws, batch, \\*event), or (batch, \\*event).
    """
    if keys is None:
        return _rsample(q, torch.Size() if draws is None else torch.Size((draws,)))
    z = from_keys(q, keys, draws or 1, start)
    return z[0] if draws is None else z


def draw_with_log_prob(
    q: Distribution, draws: int | None = None, keys: Tensor | None = None, *, start: int = 0
) -> tuple[Tensor, Tensor]:
    """Draws z ~ q and log q(z) in nats, (draws, batch); a flow gives both in one pass. Arguments as of :func:`draw`."""
    both = getattr(q, "rsample_and_log_prob", None)
    if keys is None and both is not None:
        return both(torch.Size() if draws is None else torch.Size((draws,)))
    z = draw(q, draws, keys, start=start)
    return z, q.log_prob(z)


def _rsample(q: Distribution, shape: torch.Size) -> Tensor:
    return q.rsample(shape) if q.has_rsample else q.sample(shape)


@singledispatch
def from_keys(q: Distribution, keys: Tensor, draws: int, start: int) -> Tensor:
    """Draws of each example from its own random numbers, (draws, batch, \\*event); see :func:`draw`.

    A family without a rule of its own goes through its inverse distribution function, or, where it has none, through
    one generator for each example.
    """
    if not q.event_shape:
        event = q.batch_shape[1:]
        u = randomness.uniform(keys, draws, event.numel(), start=start)
        try:
            return q.icdf(u.reshape(draws, len(keys), *event).to(_parameter(q)))
        except NotImplementedError:
            pass
    return _one_by_one(q, keys, draws, start)


def _one_by_one(q: Distribution, keys: Tensor, draws: int, start: int) -> Tensor:
    first, last = start // _BLOCK, -(-(start + draws) // _BLOCK)
    found: list[Tensor] = []
    picked = not q.batch_shape or picks(q)
    with randomness.own_randomness(keys.device):
        for i, key in enumerate(keys.tolist()):
            # of a family that cannot be picked all are drawn, and one is taken
            one = (rows(q, slice(i, i + 1)) if q.batch_shape else q.expand(torch.Size((1,)))) if picked else q
            blocks: list[Tensor] = []
            for block in range(first, last):
                randomness.seed_noise(keys.device, randomness.derive(key, "block", block))
                z = _rsample(one, torch.Size((_BLOCK,)))
                blocks.append(z if picked else z[:, i : i + 1])
            found.append(torch.cat(blocks))
    begin = start - first * _BLOCK
    return torch.cat(found, 1)[begin : begin + draws]


def _parameter(q: Distribution) -> Tensor:
    """Any tensor of the precision and on the device of q."""
    tensors = [value for value in vars(q).values() if isinstance(value, Tensor) and value.is_floating_point()]
    return tensors[0] if tensors else torch.empty(0)


def standard_noise(like: Tensor, keys: Tensor, draws: int, start: int, event: torch.Size) -> Tensor:
    """Standard normal numbers (draws, batch, \\*event), in the precision of a parameter."""
    eps = randomness.normal(keys, draws, event.numel(), start=start)
    return eps.reshape(draws, len(keys), *event).to(like.dtype)


@from_keys.register
def _(q: Normal, keys: Tensor, draws: int, start: int) -> Tensor:
    if not _exactly(q, Normal):
        return _one_by_one(q, keys, draws, start)
    return q.loc + q.scale * standard_noise(q.loc, keys, draws, start, q.batch_shape[1:])


@from_keys.register
def _(q: Bernoulli, keys: Tensor, draws: int, start: int) -> Tensor:
    if not _exactly(q, Bernoulli):
        return _one_by_one(q, keys, draws, start)
    u = randomness.uniform(keys, draws, q.batch_shape[1:].numel(), start=start)
    return (u.reshape(draws, *q.batch_shape).to(q.probs) < q.probs).to(q.probs.dtype)


@from_keys.register
def _(q: Categorical, keys: Tensor, draws: int, start: int) -> Tensor:
    if not _exactly(q, Categorical):
        return _one_by_one(q, keys, draws, start)
    u = randomness.uniform(keys, draws, q.batch_shape[1:].numel(), start=start)
    below = q.probs.cumsum(-1)[..., :-1]
    return (u.reshape(draws, *q.batch_shape, 1).to(below) > below).sum(-1)


@from_keys.register
def _(q: Independent, keys: Tensor, draws: int, start: int) -> Tensor:
    base = q.base_dist
    if not q.batch_shape:
        base = base.expand(torch.Size((len(keys), *base.batch_shape)))
    return from_keys(base, keys, draws, start)


@from_keys.register
def _(q: MultivariateNormal, keys: Tensor, draws: int, start: int) -> Tensor:
    eps = standard_noise(q.loc, keys, draws, start, q.event_shape)
    return q.loc + (q.scale_tril @ eps[..., None])[..., 0]


@from_keys.register
def _(q: Delta, keys: Tensor, draws: int, start: int) -> Tensor:
    return q.location.expand(draws, len(keys), *q.event_shape)


@from_keys.register
def _(q: MixtureSameFamily, keys: Tensor, draws: int, start: int) -> Tensor:
    u = randomness.uniform(randomness.folded(keys, 0), draws, 1, start=start)
    weights = q.mixture_distribution.probs.cumsum(-1)  # pyright: ignore[reportAttributeAccessIssue]
    chosen = (u.to(weights) > weights / weights[..., -1:]).sum(-1)
    # a draw of every component of every example, of which one is taken
    n, k = len(keys), q.mixture_distribution.param_shape[-1]  # pyright: ignore[reportAttributeAccessIssue]
    components = _changed(
        q.component_distribution, lambda value: _for_each(value, n, k, per_example=bool(q.batch_shape))
    )
    each = torch.stack([randomness.folded(keys, 1 + component) for component in range(k)], 1).flatten()
    z = from_keys(components, each, draws, start).unflatten(1, (n, k))
    index = chosen.reshape(draws, n, 1, *(1,) * len(q.event_shape))
    return z.gather(2, index.expand(draws, n, 1, *q.event_shape))[:, :, 0]


def _for_each(value: Tensor, n: int, k: int, *, per_example: bool) -> Tensor:
    """A parameter of k components, as one of n * k."""
    return value.flatten(0, 1) if per_example else value.expand(n, *value.shape).flatten(0, 1)


def __dir__() -> list[str]:
    return sorted(__all__)
