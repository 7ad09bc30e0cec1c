"""What somebody's decode returns, read as the parameters of p(x|z): probabilities or logits, images or vectors."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

# fmt: off
_RECONSTRUCTIONS = (
    "reconstruction", "recon_x", "recon", "recons", "x_recon", "x_hat", "xhat", "reconstructed", "x_rec", "logits",
    "probs", "probabilities", "mean", "mu", "loc", "sample", "rate",
)
# fmt: on


@final
@dataclass(frozen=True)
class Place:
    """Where the reconstruction stands in what decode returns; ``key`` None: it is the whole."""

    key: Any = None
    field: bool = False

    def read(self, output: Any) -> Any:
        """The reconstruction."""
        if self.key is None:
            return output
        return getattr(output, self.key) if self.field else output[self.key]

    def write(self, output: Any, value: Tensor) -> Any:
        """The same kind of thing as ``output``, with this reconstruction in it."""
        if self.key is None:
            return value
        if isinstance(output, tuple):
            values = [value if i == self.key else v for i, v in enumerate(output)]
            return getattr(type(output), "_make", type(output))(values)
        result = copy.copy(output)
        if self.field:
            setattr(result, self.key, value)
        else:
            result[self.key] = value
        return result


def find_place(output: Any, batch: int, numel: int) -> Place:
    """Where the reconstruction stands: the whole, or the one tensor with ``numel`` values for each z.

    Raises:
        ValueError: none or several fit.
    """
    if isinstance(output, Tensor | Distribution):
        return Place()
    field = False
    if isinstance(output, Mapping):
        entries = dict(output)
    elif isinstance(output, tuple | list):
        entries = dict(enumerate(output))
    else:
        entries, field = dict(getattr(output, "__dict__", {})), True
    fitting = [k for k, v in entries.items() if isinstance(v, Tensor) and v.numel() == batch * numel]
    named = [name for name in _RECONSTRUCTIONS if name in fitting]
    if len(fitting) == 1 or named:
        return Place(named[0] if named else fitting[0], field)
    shapes = {k: tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for k, v in entries.items()}
    raise ValueError(
        f"decode returns a {type(output).__name__} with {shapes}, in which the reconstruction ({numel} numbers for "
        f"each of {batch} examples) does not stand out; return just that, such as decode=lambda z: model.decode(z)[0], "
        "or a torch.distributions.Distribution of x"
    )


def as_distribution(output: Distribution, batch: int, event: torch.Size) -> Distribution:
    """The distribution with batch shape (batch,) and the rest as its event."""
    extra = len(output.batch_shape) - 1
    if extra > 0:
        output = Independent(output, extra)
    if output.batch_shape != (batch,) or output.event_shape.numel() != event.numel():
        raise ValueError(
            f"decode gives a {type(output).__name__} with batch shape {tuple(output.batch_shape)} and event shape "
            f"{tuple(output.event_shape)}, expected ({batch},) and {tuple(event)}; wrap it in "
            f"torch.distributions.Independent(px, {len(event)})"
        )
    return output


@final
class Reshaped(Distribution):
    """A distribution of n examples, seen as one with another batch shape of n entries and another event shape.

    Args:
        base: batch shape (n,).
        batch_shape: the batch shape to show, of n entries.
        event_shape: the event shape to show, with as many entries as that of base.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, base: Distribution, batch_shape: torch.Size, event_shape: torch.Size) -> None:
        self.base = base
        super().__init__(batch_shape, event_shape, validate_args=False)

    def _shown(self, values: Tensor, leading: tuple[int, ...] = ()) -> Tensor:
        return values.reshape(*leading, *self.batch_shape, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape)
        leading = shape[: len(shape) - len(self.batch_shape) - len(self.event_shape)]
        inner = value.expand(shape).reshape(*leading, *self.base.batch_shape, *self.base.event_shape)
        return self.base.log_prob(inner).reshape(*leading, *self.batch_shape)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self._shown(self.base.sample(torch.Size(sample_shape)), tuple(sample_shape))

    @property
    def mean(self) -> Tensor:
        return self._shown(self.base.mean)

    @property
    def variance(self) -> Tensor:
        return self._shown(self.base.variance)

    @property
    def support(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.base.support
