"""p(x|z) for values in {0, 1} and for values in the interval [0, 1]."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions import Distribution, Independent
from torch.nn import functional as F

from nelbo.data import ValueSummary
from nelbo.latents import Expandable
from nelbo.likelihoods.likelihood import AS_PARAMETERS, LIKELIHOODS, Likelihood, Scale, Suggestion, Summed
from nelbo.likelihoods.statistics import Linear, linear_in_logits


def _logit(p: Tensor) -> Tensor:
    """The logit; a probability that was rounded to 0 or 1 is taken for the nearest one that was not."""
    limits = torch.finfo(p.dtype)
    return torch.logit(p.clamp(limits.tiny, 1 - limits.eps / 2))


def _is_probability(p: Tensor) -> Tensor:
    return (p >= 0) & (p <= 1)


_READINGS = {
    "probabilities": Scale(_logit, torch.sigmoid, _is_probability, "[0, 1]"),
    "logits": AS_PARAMETERS,
}


@LIKELIHOODS.register("bernoulli")
@final
class Bernoulli(Likelihood):
    """Binary data: log p(x|z) = sum_d x_d l_d - softplus(l_d), with the decoder's output l as logits.

    Args:
        allow_gray: accept values between 0 and 1. The formula then still gives a number and a useful loss, but it is
            not a log-likelihood of anything: 7 to 15 nats too good on MNIST. Prefer ``binarize=`` or
            :class:`ContinuousBernoulli`.
    """

    support = "values in {0, 1}"
    hint = (
        "To keep the old habit of a Bernoulli on gray values, choose likelihood='gray_bernoulli', which is "
        "likelihoods.Bernoulli(allow_gray=True)"
    )

    def __init__(self, *, allow_gray: bool = False) -> None:
        super().__init__()
        self.allow_gray = allow_gray
        if allow_gray:
            self.support = ContinuousBernoulli.support

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        return IndependentBernoulli(parameters, event_dims)

    def accepts(self, x: Tensor) -> bool:
        if bool(((x == 0) | (x == 1)).all()):
            return True
        if not self.allow_gray or not _in_unit_interval(x):
            return False
        warnings.warn(
            "gray values under a Bernoulli: what is reported in nats is not a log-likelihood and compares with "
            "nothing; likelihoods.ContinuousBernoulli() is the honest loss for such data",
            stacklevel=3,
        )
        return True

    def hint_helps(self, x: Tensor) -> bool:
        return not self.allow_gray and _in_unit_interval(x)

    @classmethod
    def suggested_by(cls, summary: ValueSummary) -> Suggestion | None:
        return Suggestion("bernoulli", "likelihoods.Bernoulli()", summary) if summary.kind == "binary" else None

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float]]:
        return pseudo_images(n, event)

    def at_mean(self, x: Tensor) -> Tensor:
        return x.mean(0).clamp(1e-3, 1 - 1e-3).logit()  # clipped as Burda et al. 2016 do in their code

    @property
    def readings(self) -> Mapping[str, Scale]:
        return _READINGS

    def lookalikes(self) -> Sequence[Likelihood]:
        return (ContinuousBernoulli(),)

    def browser_form(self) -> dict[str, Any]:
        return {"family": "bernoulli"}


LIKELIHOODS.register("gray_bernoulli")(partial(Bernoulli, allow_gray=True))


class IndependentBernoulli(Summed):
    """Independent Bernoulli variables whose log_prob, summed over the event, is one autograd node."""

    def __init__(self, logits: Tensor, event_dims: int) -> None:
        super().__init__(TorchBernoulli(logits=logits, validate_args=False), event_dims, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # the compiler merges the passes itself, and takes no function with a jvp
            return _BernoulliLogProb.forward(self.base_dist.logits, value, self.reinterpreted_batch_ndims)
        out: Tensor = _BernoulliLogProb.apply(self.base_dist.logits, value, self.reinterpreted_batch_ndims)
        return out


class _BernoulliLogProb(torch.autograd.Function):
    """sum x l - softplus(l) over the event, with gradient x - sigmoid(l): six passes over the logits, both ways."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, x: Tensor, event_dims: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.addcmul(F.softplus(logits), x, logits, value=-1).flatten(-event_dims).sum(-1).neg_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        logits, x, ctx.event_dims = inputs
        ctx.save_for_backward(logits, x)
        ctx.save_for_forward(logits, x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, x = ctx.saved_tensors
        weight = grad_outputs[0][(...,) + (None,) * ctx.event_dims]
        by_logits = (x - logits.sigmoid()) * weight if ctx.needs_input_grad[0] else None
        by_x = logits * weight if ctx.needs_input_grad[1] else None
        return by_logits, by_x, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        logits, x = ctx.saved_tensors
        parts = zip((x - logits.sigmoid(), logits), tangents, strict=False)
        return sum((slope * t).flatten(-ctx.event_dims).sum(-1) for slope, t in parts if t is not None)


# torch asks for the signature in every call, and reading it anew costs as much as a pass over a small batch
_BernoulliLogProb.forward.__signature__ = inspect.signature(_BernoulliLogProb.forward)  # pyright: ignore[reportFunctionMemberAccess]


@LIKELIHOODS.register("continuous_bernoulli")
@final
class ContinuousBernoulli(Likelihood):
    """Gray values in [0, 1]: log p(x|z) = sum_d x_d l_d - A(l_d), with A(l) = log((exp(l) - 1) / l).

    Source: Loaiza-Ganem & Cunningham 2019, "The continuous Bernoulli: fixing a pervasive error in VAEs"; in logits,
    its normalizer log C + softplus is A.
    """

    support = "values in the interval [0, 1]"

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        return Independent(StableContinuousBernoulli(parameters), event_dims, validate_args=False)

    def accepts(self, x: Tensor) -> bool:
        return _in_unit_interval(x)

    @classmethod
    def suggested_by(cls, summary: ValueSummary) -> Suggestion | None:
        if summary.kind != "unit interval":
            return None
        line = "likelihoods.ContinuousBernoulli(), or load the data with binarize='dynamic' for likelihoods.Bernoulli()"
        return Suggestion("continuous_bernoulli", line, summary)

    def pseudo_inputs(self, n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float]]:
        return pseudo_images(n, event)

    def at_mean(self, x: Tensor) -> Tensor:
        mean = x.mean(0).clamp(0.01, 0.99)
        low, high = torch.full_like(mean, -101.0), torch.full_like(mean, 101.0)
        for _ in range(40):  # the mean has no inverse in closed form, and rises with the logit
            middle = 0.5 * (low + high)
            above = StableContinuousBernoulli(middle).mean > mean
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return 0.5 * (low + high)

    def linear(self, px: Distribution, x: Tensor, rows: Tensor | None = None) -> Linear:
        return linear_in_logits(px, x)

    @property
    def readings(self) -> Mapping[str, Scale]:
        return _READINGS

    def lookalikes(self) -> Sequence[Likelihood]:
        return (Bernoulli(allow_gray=True),)

    def browser_form(self) -> dict[str, Any]:
        return {"family": "continuous_bernoulli"}


class StableContinuousBernoulli(Expandable, TorchContinuousBernoulli):
    """Continuous Bernoulli from logits, accurate at 0 and at any size of the logits.

    torch's own goes through clamped probabilities: beyond |logit| = 16 its float32 normalizer stands still.
    """

    def __init__(self, logits: Tensor, *, validate_args: bool | None = False) -> None:
        super().__init__(logits=logits, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        return value * self.logits - log_normalizer(self.logits)

    @property
    def mean(self) -> Tensor:
        # A'(l) = 1 / (1 - exp(-l)) - 1 / l, by its series where the two terms cancel
        small = self.logits.abs() < 1e-2
        safe = torch.where(small, torch.ones_like(self.logits), self.logits)
        exact = -1 / torch.expm1(-safe) - 1 / safe
        return torch.where(small, 0.5 + self.logits / 12, exact)


def log_normalizer(logits: Tensor) -> Tensor:
    """A(l) = log((exp(l) - 1) / l) = max(l, 0) + log((1 - exp(-a)) / a) with a = |l|; A(0) = 0."""
    a = logits.abs()
    small = a < 1e-2
    safe = torch.where(small, torch.ones_like(a), a)
    exact = torch.log(-torch.expm1(-safe) / safe)
    series = a * (a / 24 - 0.5)  # next term a^4 / 2880: below 4e-12 here
    return F.relu(logits) + torch.where(small, series, exact)


def pseudo_images(n: int, event: Sequence[int]) -> tuple[Tensor, tuple[float, float]]:
    """Dark images in [0, 1] for a VampPrior to start from, as in the paper."""
    return 0.05 + 0.01 * torch.randn(n, *event), (0.0, 1.0)


def _in_unit_interval(x: Tensor) -> bool:
    low, high = x.aminmax()
    return bool(low >= 0) and bool(high <= 1)
