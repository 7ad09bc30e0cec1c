"""p(x|z) of a table: each column has a family of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from nelbo import latents, randomness
from nelbo.likelihoods.likelihood import LIKELIHOODS, Likelihood
from nelbo.likelihoods.observed import Observed


@final
class Columns(Likelihood):
    """A row of a table: log p(x|z) = sum over the columns d of log p_d(x_d|z), each column with a family of its own.

    x holds one number for each column, a category as its number, so that a row has the shape (columns,). A
    ``Normal("optimal")`` has a sigma for each column. The decoder gives the parameters of families that are alike
    beside each other, ``decoder_event`` numbers in all, and the encoder sees categories one-hot, the logarithms of
    counts and positive values, and other values as they are.

    Columns with a density (real, positive, bounded) and columns with probabilities (the others) add up to nats of a
    mixed measure: it depends on the units of the former.

    >>> import torch
    >>> px = Columns({"age": "normal", "job": "categorical:3"})
    >>> px.decoder_event((2,))
    (4,)
    >>> px(torch.zeros(5, 4), 1).log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])

    Args:
        families: of each column by its name, in the order of the columns: a likelihood, or its name as in
            nelbo.likelihoods.names(), with its number.
    """

    hint = "types={column: kind} of nelbo.data.load changes how a column is read"

    def __init__(self, families: Mapping[str, Likelihood | str]) -> None:
        super().__init__()
        if not families:
            raise ValueError("families must hold one column at least, such as Columns({'age': 'normal'}), got none")
        named: dict[str, Any] = {n: LIKELIHOODS.named(f) if isinstance(f, str) else f for n, f in families.items()}
        bad = [name for name, family in named.items() if not isinstance(family, Likelihood)]
        if bad:
            raise TypeError(
                f"the family of column {bad[0]!r} must be a likelihood or its name, got {families[bad[0]]!r}; write "
                f"Columns({{{bad[0]!r}: 'normal', ...}})"
            )
        self.families: dict[str, Likelihood] = named
        """The family of each column."""
        self.support = f"values of {len(named)} columns, each in the support of its family"
        groups = _alike(list(named.values()))
        self.blocks = nn.ModuleList([family for family, _ in groups])
        self._places = [places for _, places in groups]
        each = [[list(named.values())[p].parameters_per_feature for p in places] for places in self._places]
        self._sizes = [sum(numbers) for numbers in each]
        for i, (family, places) in enumerate(groups):
            self._keep(f"_places_{i}", torch.tensor(places))
            index = _padded(each[i], family.parameters_per_feature)
            self._keep(f"_index_{i}", index)
        self._shapes = [_shape_of_optimum(family, len(places)) for family, places in groups]
        order = torch.tensor([p for places in self._places for p in places]).argsort()
        self._keep("_order", order)
        fillers = [float(family.filler) for family in named.values()]
        self._keep("_filler", torch.tensor(fillers))

    def _keep(self, name: str, value: Tensor | None) -> None:
        self.register_buffer(name, value, persistent=False)

    @property
    def filler(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A value in the support of each column, (columns,)."""
        return self._filler  # pyright: ignore[reportReturnType]

    def _blocks(self) -> list[tuple[Likelihood, Tensor]]:
        """Each family of several columns, and which these are."""
        return [(block, getattr(self, f"_places_{i}")) for i, block in enumerate(self.blocks)]  # pyright: ignore[reportReturnType]

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        if event_dims != 1 or parameters.shape[-1] != sum(self._sizes):
            raise ValueError(
                f"Columns takes {sum(self._sizes)} numbers for the {len(self.families)} columns of a row, got a "
                f"decoder's output of shape {tuple(parameters.shape)}; end the decoder with "
                f"nn.Linear(..., {sum(self._sizes)})"
            )
        bases: list[Distribution] = []
        for i, (part, block) in enumerate(zip(parameters.split(self._sizes, -1), self.blocks, strict=True)):
            index = getattr(self, f"_index_{i}")
            whole = part.contiguous()  # loops over a few numbers of each row take twice the time
            if index is not None:  # a class that a column lacks has the probability 0
                whole = torch.cat([part, torch.full_like(part[..., :1], -torch.inf)], -1).index_select(-1, index)
            bases.append(_base(block(whole, 1), block))
        places = [place for _, place in self._blocks()]
        return Independent(ByColumn(bases, places, self._order), 1, validate_args=False)  # pyright: ignore[reportArgumentType]

    def check_parameters(self, parameters: Tensor, event_dims: int) -> None:
        """Nothing: :meth:`forward` knows the numbers."""

    def accepts(self, x: Tensor) -> bool:
        return all(family.accepts(x[:, i]) for i, family in enumerate(self.families.values()))

    def check(self, x: Tensor) -> None:
        if x.dim() != 2 or x.shape[1] != len(self.families):
            raise ValueError(
                f"Columns needs rows of {len(self.families)} columns, x of shape (batch, {len(self.families)}), got "
                f"{tuple(x.shape)}"
            )
        for i, (name, family) in enumerate(self.families.items()):
            try:
                family.check(x[:, i : i + 1])
            except ValueError as error:
                raise ValueError(f"column {name!r}: {error}. Or {self.hint}") from error

    def _parts(self, px: Any) -> list[tuple[Likelihood, Independent]]:
        """Each family of several columns, and p of these columns."""
        bases: list[Distribution] = px.base_dist.bases
        return [
            (b, Independent(base, 1, validate_args=False)) for (b, _), base in zip(self._blocks(), bases, strict=True)
        ]

    def point_estimate(self, px: Distribution) -> Tensor:
        """The mean of each column; of categories, the most probable one."""
        each = _floats([family.point_estimate(part) for family, part in self._parts(px)])
        return torch.cat(each, -1).index_select(-1, self._order)  # pyright: ignore[reportArgumentType]

    def averaged(self, px: Distribution) -> Tensor:
        """What each family averages, side by side, (\\*batch, numbers)."""
        dims = len(px.batch_shape)
        return torch.cat([family.averaged(part).flatten(dims) for family, part in self._parts(px)], -1)

    def from_average(self, average: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        values: list[Tensor] = []
        errors: list[Tensor] = []
        start = 0
        for family, places in self._blocks():
            # a family that averages several numbers for each feature has them in a last axis
            few = len(places)
            each = family.averaged(family(average.new_zeros(1, *family.decoder_event((few,))), 1))
            stop = start + each[0].numel()
            shape = each.shape[1:]
            value, spread = family.from_average(
                average[..., start:stop].unflatten(-1, shape), error[..., start:stop].unflatten(-1, shape)
            )
            values.append(value)
            errors.append(spread)
            start = stop
        order: Any = self._order
        return torch.cat(values, -1).index_select(-1, order), torch.cat(errors, -1).index_select(-1, order)

    def decoder_event(self, event: Sequence[int]) -> tuple[int, ...]:
        if tuple(event) != (len(self.families),):
            raise ValueError(
                f"Columns has {len(self.families)} columns, so that an example has shape ({len(self.families)},); got "
                f"{tuple(event)}"
            )
        return (sum(self._sizes),)

    def encoder_transform(self, event: Sequence[int]) -> nn.Module:
        transforms = [
            (family.for_encoder([list(self.families.values())[p] for p in places]), places)
            for (family, _), places in zip(self._blocks(), self._places, strict=True)
        ]
        return SideBySide(transforms)

    def for_distances(self, event: Sequence[int]) -> nn.Module:
        """What the encoder sees: categories one-hot, the logarithms of counts and positive values."""
        return self.encoder_transform(event)

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> None:
        """None: a category has no gradient, and the bounds of the other columns differ."""

    def at_mean(self, x: Tensor) -> Tensor:
        starts: list[Tensor] = []
        for i, (family, places) in enumerate(self._blocks()):
            start = family.at_mean(x.index_select(1, places.to(x.device)))
            index: Tensor | None = getattr(self, f"_index_{i}")
            if start is None:
                start, index = x.new_zeros(self._sizes[i]), None
            if index is not None:
                kept = torch.where(index < self._sizes[i])[0]
                start = torch.empty_like(start[: self._sizes[i]]).index_copy_(0, index[kept].to(x.device), start[kept])
            starts.append(start)
        return torch.cat(starts)

    @torch.no_grad()
    def optimum(self, px: Any, x: Tensor, weights: Tensor | None = None) -> Tensor | None:
        """The optima of all families that have one, side by side."""
        found: list[Tensor] = []
        for (family, part), (_, places) in zip(self._parts(px), self._blocks(), strict=True):
            seen = Observed(part) if isinstance(px, Observed) else part
            optimum = family.optimum(seen, x.index_select(-1, places), weights)
            found += [] if optimum is None else [optimum.flatten()]
        return torch.cat(found) if found else None

    def adapt(self, optimum: Tensor) -> None:
        for family, own in self._optima(optimum):
            family.adapt(own)

    def settle(self, optimum: Tensor) -> None:
        for family, own in self._optima(optimum):
            family.settle(own)

    def _optima(self, optimum: Tensor) -> list[tuple[Likelihood, Tensor]]:
        """What belongs to each family that has an optimum."""
        with_one = [
            (family, shape)
            for (family, _), shape in zip(self._blocks(), self._shapes, strict=True)
            if shape is not None
        ]
        parts = optimum.split([shape.numel() for _, shape in with_one])
        return [(family, part.reshape(shape)) for (family, shape), part in zip(with_one, parts, strict=True)]

    @property
    def adapted(self) -> bool:
        return all(family.adapted for family, _ in self._blocks())


class SideBySide(nn.Module):
    """What the encoder sees of a table: what each group of columns becomes, side by side.

    Args:
        parts: a first layer, or None for the values as they are, and the columns that it sees.
    """

    def __init__(self, parts: Sequence[tuple[nn.Module | None, Sequence[int]]]) -> None:
        super().__init__()
        self.parts = nn.ModuleList([part or nn.Identity() for part, _ in parts])
        for i, (_, places) in enumerate(parts):
            self.register_buffer(f"places_{i}", torch.tensor(places), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        seen = [part(x.index_select(1, getattr(self, f"places_{i}"))) for i, part in enumerate(self.parts)]
        return torch.cat([values.to(x.dtype) for values in seen], 1)


class ByColumn(Distribution):
    """Independent distributions of columns, of several families; log_prob gives that of each column.

    Args:
        bases: of the columns of one family, batch shape (\\*batch, few).
        places: which columns these are.
        order: brings the columns of all bases, side by side, into the order of the table.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, bases: Sequence[Distribution], places: Sequence[Tensor], order: Tensor) -> None:
        self.bases, self.places, self.order = list(bases), list(places), order
        super().__init__(torch.Size((*bases[0].batch_shape[:-1], len(order))), validate_args=False)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(_floats(parts), -1).index_select(-1, self.order)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "ByColumn":
        shape = tuple(batch_shape[:-1])
        bases = [base.expand(torch.Size((*shape, base.batch_shape[-1]))) for base in self.bases]
        return ByColumn(bases, self.places, self.order)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log p_d(x_d|z) of each column in nats, (\\*batch, columns)."""
        each = [b.log_prob(value.index_select(-1, at)) for b, at in zip(self.bases, self.places, strict=True)]
        return self._joined(each)

    @property
    def mean(self) -> Tensor:
        """The mean of each column; NaN of categories, whose mean stands for nothing."""
        return self._joined([base.mean for base in self.bases])

    @property
    def variance(self) -> Tensor:
        return self._joined([base.variance for base in self.bases])

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self._joined([base.sample(torch.Size(sample_shape)) for base in self.bases])


@latents.rebuilt.register
def _(q: ByColumn, others: Sequence[ByColumn], change: Any) -> ByColumn:
    bases = [latents.rebuilt(base, [o.bases[i] for o in others], change) for i, base in enumerate(q.bases)]
    return ByColumn(bases, q.places, q.order)


@latents.from_keys.register
def _(q: ByColumn, keys: Tensor, draws: int, start: int) -> Tensor:
    each = [latents.from_keys(b, randomness.folded(keys, i), draws, start) for i, b in enumerate(q.bases)]
    return q._joined(each)  # pyright: ignore[reportPrivateUsage]


def _floats(parts: Sequence[Tensor]) -> list[Tensor]:
    """Values of columns in one floating type: category numbers are integers in torch."""
    kinds = [part.dtype for part in parts if part.is_floating_point()]
    return [part.to(kinds[0] if kinds else torch.get_default_dtype()) for part in parts]


def _base(px: Distribution, family: nn.Module) -> Distribution:
    if not isinstance(px, Independent) or px.base_dist.event_shape:
        raise TypeError(
            f"a family of Columns must give a torch.distributions.Independent of one distribution per feature, got "
            f"{px} of {type(family).__name__}"
        )
    return px.base_dist


def _shape_of_optimum(family: Likelihood, columns: int) -> torch.Size | None:
    """Of the parameter that has a closed-form optimum, or None where there is none."""
    parameters = torch.zeros(1, *family.decoder_event((columns,)))
    optimum = family.optimum(family(parameters, 1), torch.zeros(1, columns))
    return None if optimum is None else optimum.shape


def _alike(families: Sequence[Likelihood]) -> list[tuple[Likelihood, list[int]]]:
    """Families that can be computed together as one, and the columns that have it."""
    groups: list[list[int]] = []
    for i, family in enumerate(families):
        for group in groups:
            first = families[group[0]]
            if type(first) is type(family) and first.for_columns([first, family]) is not None:
                group.append(i)
                break
        else:
            groups.append([i])
    return [(families[g[0]].for_columns([families[i] for i in g]) or families[g[0]], g) for g in groups]


def _padded(each: Sequence[int], most: int) -> Tensor | None:
    """Where the numbers of a family that takes the most per column lie among those there are; one past them is none.

    Args:
        each: numbers of each column, which lie beside each other as the family wants them: all first ones, all second.
        most: numbers that the family takes.

    Returns:
        (most * columns,), or None where they are as the family wants them.
    """
    if all(number == most for number in each):
        return None
    index = torch.full((most, len(each)), sum(each))
    taken = 0
    for number in range(most):
        for column, own in enumerate(each):
            if number < own:
                index[number, column] = taken
                taken += 1
    return index.flatten()
