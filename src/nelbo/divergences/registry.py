"""Which formula belongs to which pair of types."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

Formula = Callable[[Any, Any], Tensor | None]

_FORMULAS: dict[tuple[type, type], Formula] = {}
_SEEN: dict[tuple[type, type], Formula | None] = {}


def register(p: type, q: type) -> Callable[[Formula], Formula]:
    """Decorate a formula for KL(p || q); it returns nats of shape batch_shape, or None where it does not
    apply after all.
    """

    def keep(formula: Formula) -> Formula:
        _FORMULAS[p, q] = formula
        _SEEN.clear()
        return formula

    return keep


def registered() -> list[tuple[type, type]]:
    """Every pair of types with a formula, in order of registration."""
    return list(_FORMULAS)


def find(p: type[Distribution], q: type[Distribution]) -> Formula | None:
    """The formula of the nearest pair of ancestors: p's ancestors first, each as near as q's allow."""
    try:
        return _SEEN[p, q]
    except KeyError:
        pass
    pairs = [
        (i + j, i, (a, b)) for i, a in enumerate(p.__mro__) for j, b in enumerate(q.__mro__) if (a, b) in _FORMULAS
    ]
    _SEEN[p, q] = formula = _FORMULAS[min(pairs, key=lambda t: t[:2])[2]] if pairs else None
    return formula
