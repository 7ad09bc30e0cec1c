"""The internals of torch's distributions, which have no public names: all that nelbo uses of them, in one place."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    ExpTransform,
    GeneralizedPareto,
    Kumaraswamy,
    MixtureSameFamily,
    MultivariateNormal,
    Transform,
    Weibull,
    Wishart,
)
from torch.distributions.utils import lazy_property

_Inverse: Any = type(ExpTransform().inv)
# where a transform keeps its inverse and its last value
_CACHES = ("_inv", "_cached_x_y")


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """As torch's, whose first call imports torch's symbolic shapes and sympy: two seconds.

    Raises:
        ValueError: they do not broadcast.
    """
    return torch.Size(np.broadcast_shapes(*map(tuple, shapes)))


def validated(p: Distribution) -> bool:
    """Whether torch has checked the parameters; False where it does not tell."""
    return bool(getattr(p, "_validate_args", False))


def categorical(p: Any) -> Categorical:
    """The distribution over categories inside of a OneHotCategorical or Multinomial."""
    inner = getattr(p, "_categorical", None)
    return Categorical(logits=p.logits, validate_args=False) if inner is None else inner


def scale_tril(p: Any) -> Tensor:
    """The Cholesky factor of a MultivariateNormal or Wishart, not expanded to the batch of its mean if possible."""
    tril = getattr(p, "_unbroadcasted_scale_tril", None)
    return p.scale_tril if tril is None else tril


def given_parameter(p: Any) -> str | None:
    """The one of "probs" and "logits" that the user gave; torch derives the other, and clamps it away from the ends."""
    # in order of assignment: the given one comes first
    present = [name for name in vars(p) if name in ("probs", "logits")]
    param = vars(p).get("_param")
    return next((name for name in present if vars(p)[name] is param), present[0] if present else None)


def parameters(p: Any) -> list[Tensor]:
    """Every floating-point tensor that a distribution is made of, at any depth."""
    if isinstance(p, torch.nn.Module):
        return list(p.parameters())
    if isinstance(p, _Inverse):
        return parameters(p.inv)
    if isinstance(p, list | tuple):
        return [t for part in p for t in parameters(part)]
    if isinstance(p, Tensor):
        return [p] if p.is_floating_point() else []
    if not isinstance(p, Distribution | Transform):
        return []
    return [t for name, part in vars(p).items() if name not in _CACHES for t in parameters(part)]


def log_prob(d: Any, x: Tensor) -> Tensor:
    """d.log_prob(x) inside of the support, by a formula where torch's own log_prob fails.

    torch takes a Kumaraswamy or Weibull apart into transforms of a uniform or exponential number, which rounds onto the
    end of its range where the density is small but positive, so that its log_prob is -inf; and a GeneralizedPareto in
    float64 stops with an error.
    """
    if isinstance(d, MixtureSameFamily) and not d.event_shape:
        weights = torch.log_softmax(d.mixture_distribution.logits, -1)
        return torch.logsumexp(log_prob(d.component_distribution, x.unsqueeze(-1)) + weights, -1)
    if type(d) is Kumaraswamy:
        a, b = d.concentration1, d.concentration0
        return a.log() + b.log() + torch.xlogy(a - 1, x) + torch.xlogy(b - 1, -torch.expm1(a * x.log()))
    if type(d) is Weibull:
        z = x.log() - d.scale.log()
        k = d.concentration
        return k.log() - d.scale.log() + (k - 1) * z - (k * z).exp()
    if type(d) is GeneralizedPareto:
        z, c = (x - d.loc) / d.scale, d.concentration
        safe = torch.where(c == 0, torch.ones_like(c), c)
        return -d.scale.log() - torch.where(c == 0, z, (1 + 1 / safe) * torch.log1p(safe * z))
    return d.log_prob(x)


def double(p: Any) -> Any:
    """A copy of a distribution or transform whose tensors are float64 and whose log_prob does not validate.

    The copy keeps the graph: gradients reach the parameters of the original. Values that torch derived from the
    parameters in low precision are derived anew. What cannot be copied (a module, say) is used as it is.
    """
    if isinstance(p, _Inverse):
        return double(p.inv).inv
    if type(p) in (Kumaraswamy, Weibull):  # they keep reciprocals of parameters, at several depths
        return type(p)(*(getattr(p, name).double() for name in p.arg_constraints), validate_args=False)
    twin = copy.copy(p)
    keep = given_parameter(p)
    for name, part in vars(p).items():
        if isinstance(getattr(type(p), name, None), lazy_property) and name != keep:
            del vars(twin)[name]
        elif name not in _CACHES:
            vars(twin)[name] = _double_part(part)
    if keep is not None and "_param" in vars(twin):
        twin._param = vars(twin)[keep]
    if isinstance(p, MultivariateNormal | Wishart) and scale_tril(p).dtype != torch.float64:
        vars(twin)["_unbroadcasted_scale_tril"] = _double_tril(p)
    if isinstance(twin, Distribution):
        vars(twin)["_validate_args"] = False
    return twin


def _double_tril(p: Any) -> Tensor:
    """The Cholesky factor in float64 of the matrix that was given: in float32, its error grows with the condition."""
    tril = scale_tril(p)
    name = next((name for name in vars(p) if name in ("covariance_matrix", "precision_matrix", "scale_tril")), None)
    if name in (None, "scale_tril") or tril.numel() == 0:
        return tril.double()
    given = vars(p)[name]
    for dim, size in enumerate((1,) * (given.dim() - tril.dim()) + tril.shape):  # not once for each mean
        given = given.narrow(dim, 0, size)
    given = given.reshape(tril.shape).double()
    try:
        if name == "covariance_matrix":
            return torch.linalg.cholesky(given)
        # P = U U^T with U upper triangular, so that the covariance is L L^T with L = U^-T
        upper = torch.linalg.cholesky(given.flip(-2, -1)).flip(-2, -1)
        return torch.linalg.solve_triangular(upper.mT, torch.eye(upper.shape[-1]).to(upper), upper=False)
    except RuntimeError:  # it is positive definite by the rounding of float32 alone
        return tril.double()


def _double_part(part: Any) -> Any:
    if isinstance(part, Tensor):
        return _double_tensor(part) if part.is_floating_point() else part
    if isinstance(part, Distribution | Transform):
        return double(part)
    return [_double_part(item) for item in part] if isinstance(part, list) else part


def _double_tensor(x: Tensor) -> Tensor:
    """In float64; what was expanded stays so, where `Tensor.double` would write each copy out."""
    if x.dtype == torch.float64:
        return x
    once = x
    for dim, stride in enumerate(x.stride()):
        if stride == 0:
            once = once.narrow(dim, 0, min(1, x.shape[dim]))
    return once.double().expand(x.shape)
