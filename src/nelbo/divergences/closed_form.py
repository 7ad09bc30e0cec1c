"""KL(p || q) where a formula is known."""

from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

# imported for what they register
from nelbo.divergences import counts, delta, expectations, normals, same_family  # noqa: F401  # pyright: ignore[reportUnusedImport]
from nelbo.divergences.registry import find


def closed_form(p: Distribution, q: Distribution) -> Tensor | None:
    """KL(p || q) in nats, shape batch_shape, or None where no formula is registered.

    Fast and trusting: nothing is validated, so that it may stand in a training step; `nelbo.kl` checks first.
    Differentiable. Formulas that
    users registered with `torch.distributions.register_kl` are honoured for pairs that nelbo does not know.
    """
    if isinstance(p, Independent) and isinstance(q, Independent):
        events = p.reinterpreted_batch_ndims
        if events == q.reinterpreted_batch_ndims:
            inner = closed_form(p.base_dist, q.base_dist)
            return None if inner is None else inner.sum(tuple(range(-events, 0))) if events else inner
    formula = find(type(p), type(q))
    if formula is not None:
        return formula(p, q)
    try:
        return kl_divergence(p, q)
    except NotImplementedError:
        return None
