"""KL between normals: one formula, E = L_q^-1 (L_p - L_q), from one dimension to full and low-rank covariance."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, LowRankMultivariateNormal, MultivariateNormal, Normal

from nelbo.devices import wide
from nelbo.divergences.internals import broadcast_shapes, scale_tril
from nelbo.divergences.kullback_leibler import register, without_copies
from nelbo.divergences.stable import log_gap

# elements per slice: every intermediate stays in the cache, so that memory is read once and written once
_SLICE = 1 << 16
_WIDE = torch.float64
_NEAR = 1e-7  # nats, of which the rounding of numbers near 1 in float64 is 4e-9


def _formula(m_p: Tensor, s_p: Tensor, m_q: Tensor, s_q: Tensor) -> Tensor:
    e, d = (s_p - s_q) / s_q, (m_p - m_q) / s_q
    return 0.5 * (e * e + d * d) + log_gap(e, s_p.log() - s_q.log())


@register(Normal, Normal)
def normal_kl(p: Normal, q: Normal) -> Tensor:
    """KL(N(m_p, s_p^2) || N(m_q, s_q^2)) = (e^2 + d^2) / 2 + e - log(1 + e), e = s_p/s_q - 1, d = (m_p - m_q)/s_q.

    Each term is non-negative and exactly 0 where the parameters agree; 1 % relative accuracy in float32 holds down to
    1e-12 nats.
    """
    parts = p.loc, p.scale, q.loc, q.scale
    if torch.compiler.is_compiling():  # the compiler merges the passes itself, and takes no function with a jvp
        return _of_dtype(p.scale)(*parts)
    if torch.is_grad_enabled() and any(x.requires_grad for x in parts):
        return _NormalKL.apply(*parts)  # pyright: ignore[reportReturnType]
    return _fast(*parts)


class _NormalKL(torch.autograd.Function):
    """`_formula` with its gradient by hand: as fast as torch's KL, which is wrong near 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*parts: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _fast(*parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        parts = ctx.saved_tensors
        slopes = _slopes(parts, ctx.needs_input_grad, gradients[0])
        return tuple(None if g is None else g.sum_to_size(x.shape) for g, x in zip(slopes, parts, strict=True))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        slopes = _slopes(ctx.saved_tensors, [t is not None for t in tangents], 1.0)
        return sum(g * t for g, t in zip(slopes, tangents, strict=True) if g is not None)


# torch asks for the signature in every call, and reading it anew costs more than the KL of a small batch
_NormalKL.forward.__signature__ = inspect.signature(_NormalKL.forward)  # pyright: ignore[reportFunctionMemberAccess]


def _slopes(parts: tuple[Tensor, ...], needed: Sequence[bool], factor: Tensor | float) -> list[Tensor | None]:
    """The derivatives with respect to the four parameters, times a factor; None where not needed."""
    m_p, s_p, m_q, s_q = parts
    d, e = (m_p - m_q) / s_q, (s_p - s_q) / s_q
    weighted = factor / s_q
    slopes: list[Tensor | None] = [None] * 4
    if needed[0] or needed[2]:
        by_mean = weighted * d
        slopes[0], slopes[2] = by_mean if needed[0] else None, -by_mean if needed[2] else None
    if needed[1]:  # r - 1/r as e + e/r, which is 0 where the scales are equal
        slopes[1] = weighted * torch.addcmul(e, e, s_q / s_p)
    if needed[3]:
        slopes[3] = -weighted * (e * (e + 2) + d * d)
    return slopes


def _fast(m_p: Tensor, s_p: Tensor, m_q: Tensor, s_q: Tensor) -> Tensor:
    """`_formula`; below float64 with the gap in float64, slice by slice."""
    return _sliced(_of_dtype(s_p), (m_p, s_p, m_q, s_q))


def _of_dtype(scale: Tensor) -> Callable[..., Tensor]:
    return _formula if scale.dtype == _WIDE or wide(scale.device) != _WIDE else _widened


def _sliced(formula: Callable[..., Tensor], parts: Sequence[Tensor]) -> Tensor:
    if max(x.numel() for x in parts) <= _SLICE:
        return formula(*parts)
    shape, step = parts[1].shape, _SLICE
    if all(x.shape == shape and x.is_contiguous() for x in parts):
        parts = [x.view(-1) for x in parts]
    else:
        shape = broadcast_shapes(*(x.shape for x in parts))
        parts = [x.expand(shape) for x in parts]
        step = max(1, _SLICE // shape[1:].numel())
    first = formula(*(x[:step] for x in parts))
    out = first.new_empty(parts[0].shape)  # under vmap it has the batch dimension of the slice
    out[:step] = first
    for i in range(step, len(parts[0]), step):
        out[i : i + step] = formula(*(x[i : i + step] for x in parts))
    return out.view(shape)


def _widened(m_p: Tensor, s_p: Tensor, m_q: Tensor, s_q: Tensor) -> Tensor:
    """The formula in float64, rounded to the promoted dtype: fewer operations than a series, 0 at s_p == s_q."""
    wide = s_q.to(_WIDE) if s_q.dim() else s_q.to(_WIDE).expand(s_p.shape)  # without axes it would not widen s_p
    total, dtype = _short(m_p - m_q, s_p, wide), s_p.dtype
    if not m_p.dtype == dtype == m_q.dtype == s_q.dtype:
        for x in (m_p, m_q, s_q):
            dtype = torch.promote_types(dtype, x.dtype)
    return total.to(dtype)


def _short(difference: Tensor, s_p: Tensor, s_q: Tensor) -> Tensor:
    """The formula without a series, in the dtype of s_q; near 0 it has the rounding of numbers near 1."""
    ratio = s_p / s_q
    e, d = ratio - 1, difference / s_q
    return torch.addcmul(torch.addcmul(e, e, e, value=0.5), d, d, value=0.5).sub_(ratio.log_())


@without_copies(Normal, Normal)
def _normal_kl_in_float64(p: Normal, q: Normal) -> Tensor | None:
    parts = p.loc, p.scale, q.loc, q.scale
    if any(x.dtype == _WIDE for x in parts) or wide(p.loc.device) != _WIDE:
        return None
    if torch.is_grad_enabled() and any(x.requires_grad for x in parts):
        return None
    return _sliced(_to_float64, parts)


def _to_float64(m_p: Tensor, s_p: Tensor, m_q: Tensor, s_q: Tensor) -> Tensor:
    """The formula in float64, right to 4e-9 of it: the series only where the short sum of its terms would lose more."""
    m_p, s_p, m_q, s_q = (x.to(_WIDE) for x in (m_p, s_p, m_q, s_q))
    total = _short(m_p - m_q, s_p, s_q)
    near = total < _NEAR
    if bool(near.any()):
        total = torch.where(near, _formula(m_p, s_p, m_q, s_q), total)
    return total


def location_and_tril(p: Any) -> tuple[Tensor, Tensor] | None:
    """Mean (*batch, n) and lower Cholesky factor (*batch, n, n) of a normal; None for anything else."""
    if isinstance(p, Normal):
        return p.loc.unsqueeze(-1), p.scale[..., None, None]
    if isinstance(p, MultivariateNormal):
        return p.loc, scale_tril(p)
    if isinstance(p, LowRankMultivariateNormal):
        return p.loc, p.scale_tril
    if isinstance(p, Independent) and p.reinterpreted_batch_ndims == 1 and isinstance(p.base_dist, Normal):
        return p.base_dist.loc, torch.diag_embed(p.base_dist.scale)
    return None


@register(MultivariateNormal, MultivariateNormal)
@register(MultivariateNormal, LowRankMultivariateNormal)
@register(LowRankMultivariateNormal, MultivariateNormal)
@register(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register(Independent, MultivariateNormal)
@register(MultivariateNormal, Independent)
@register(Independent, LowRankMultivariateNormal)
@register(LowRankMultivariateNormal, Independent)
def kl_multivariate_normal(p: Any, q: Any) -> Tensor | None:
    """KL = (||E||_F^2 + |y|^2) / 2 + sum_i (E_ii - log(1 + E_ii)), E = L_q^-1 (L_p - L_q), y = L_q^-1 (m_p - m_q).

    The covariances may be of any kind; None where an `Independent` is not made of normals.
    """
    by_p, by_q = location_and_tril(p), location_and_tril(q)
    if by_p is None or by_q is None:
        return None
    (m_p, L_p), (m_q, L_q) = by_p, by_q
    dtype = torch.promote_types(L_p.dtype, L_q.dtype)
    if dtype != _WIDE and wide(L_p.device) == _WIDE:
        m_p, L_p, m_q, L_q = m_p.to(_WIDE), L_p.to(_WIDE), m_q.to(_WIDE), L_q.to(_WIDE)
    matrices = broadcast_shapes(L_p.shape, L_q.shape)
    E = torch.linalg.solve_triangular(L_q.expand(matrices), (L_p - L_q).expand(matrices), upper=False)
    y = whitened(L_q, m_p - m_q)
    d_p, d_q = L_p.diagonal(dim1=-2, dim2=-1), L_q.diagonal(dim1=-2, dim2=-1)
    gap = log_gap(E.diagonal(dim1=-2, dim2=-1), d_p.log() - d_q.log()).sum(-1)
    return (0.5 * ((E * E).sum((-2, -1)) + (y * y).sum(-1)) + gap).to(dtype)


def whitened(tril: Tensor, x: Tensor) -> Tensor:
    """L^-1 x (*batch, n) for a lower triangular L (*batch, n, n) and vectors x (*batch, n), broadcast."""
    shape = broadcast_shapes(x.shape[:-1], tril.shape[:-2])
    n = x.shape[-1]
    return torch.linalg.solve_triangular(tril.expand(*shape, n, n), x.expand(*shape, n).unsqueeze(-1), upper=False)[
        ..., 0
    ]
