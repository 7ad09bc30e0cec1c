"""p(x|z) for real values."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions import Normal as TorchNormal

from nelbo.data import ValueSummary
from nelbo.likelihoods.likelihood import AS_PARAMETERS, LIKELIHOODS, Likelihood, Scale, Suggestion, Summed
from nelbo.likelihoods.observed import Observed, mean_over_observed


@LIKELIHOODS.register("normal")
@final
class Normal(Likelihood):
    """Real values: log p(x|z) = sum_d log N(x_d; mean_d(z), sigma_d^2), constants included.

    sigma is part of the model: a fixed one is a hidden beta (the loss of unit variance with beta = sigma^2).

    Args:
        scale: where sigma comes from.

            - ``"optimal"``: one sigma for all features, kept at its closed-form optimum sqrt(mean squared residual)
              while training (Rybkin, Daniilidis & Levine 2021, "Simple and effective VAE training with calibrated
              decoders", eq. 7).
            - ``"decoded"``: the decoder gives a mean and a log sigma for each feature.
            - a number: fixed.
            - a tensor of the shape of one example: learned, one sigma per feature, starting from these values.

        features: with "optimal", the number of features of a vector, each of which then has an optimal sigma of its
            own; None is one sigma for all features.
    """

    support = "finite real values"
    mean_square: Tensor
    steps: Tensor

    def __init__(
        self, scale: float | Tensor | Literal["optimal", "decoded"] = "optimal", *, features: int | None = None
    ) -> None:
        super().__init__()
        self.features = features
        self.scale = "per_feature" if isinstance(scale, Tensor) else scale
        if isinstance(scale, str) and scale not in ("optimal", "decoded"):
            raise ValueError(
                f"scale must be 'optimal', 'decoded', a number or a tensor, got {scale!r}; "
                "for one sigma per feature write Normal(torch.ones(event_shape))"
            )
        if not isinstance(scale, str) and not bool((torch.as_tensor(scale) > 0).all()):
            raise ValueError(f"a standard deviation must be greater than 0, got {scale}")
        if features is not None and self.scale != "optimal":
            raise ValueError(f"features={features} is for Normal('optimal'), got scale {scale!r}; leave it out")
        if isinstance(scale, Tensor):
            self.log_scale = nn.Parameter(scale.detach().float().log())
        elif scale == "optimal":
            self.register_buffer("mean_square", torch.ones(() if features is None else (features,)))
            self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        elif scale == "decoded":
            self.parameters_per_feature = 2

    def forward(self, parameters: Tensor, event_dims: int) -> Distribution:
        if self.scale == "decoded":
            mean, log_scale = self.split(parameters, event_dims)
            # sigma can shrink without bound around a pixel that never varies: 1e-3 is finer than an 8-bit level
            scale = log_scale.clamp(-7.0, 20.0).exp()
        else:
            mean, given = parameters, self._scale()
            # torch's Normal would copy a number to the device, and wait for it
            scale = given if isinstance(given, Tensor) else mean.new_full((), given)
        event = tuple(mean.shape[-event_dims:])
        if scale.dim() == event_dims and scale.shape != event:
            raise ValueError(
                f"Normal has a sigma for each feature of shape {tuple(scale.shape)}, but the decoder gives examples "
                f"of shape {event}; write Normal(torch.ones({event}))"
            )
        return IndependentNormal(mean, scale, event_dims)

    def _scale(self) -> Tensor | float:
        if self.scale == "per_feature":
            return self.log_scale.exp()
        if self.scale == "optimal":
            return self.mean_square.sqrt()
        return float(self.scale)

    @torch.no_grad()
    def optimum(self, px: Distribution, x: Tensor, weights: Tensor | None = None) -> Tensor | None:
        """The mean squared residual, (), or of each feature, (features,)."""
        if self.scale != "optimal":
            return None
        squares = (px.mean - x).square()
        if weights is not None:
            squares = (weights[(..., *(None,) * (squares.dim() - weights.dim()))] * squares).sum(0)
        axes = None if self.features is None else tuple(range(squares.dim() - 1))
        if isinstance(px, Observed):
            # a feature that no example of the batch has keeps its sigma
            residual = mean_over_observed(squares, x, axes, otherwise=self.mean_square)
        else:
            residual = squares.mean(axes)
        # a floor keeps a perfect fit (constant data) from a sigma of zero and an infinite likelihood
        return residual.clamp(min=1e-8).to(self.mean_square.dtype)

    @torch.no_grad()
    def adapt(self, optimum: Tensor) -> None:
        """Move sigma to the mean of recent steps: a tenth of those so far, at most about the last hundred."""
        self.steps += 1
        self.mean_square.lerp_(optimum, torch.clamp(10 / (self.steps + 9), min=0.01))

    @torch.no_grad()
    def settle(self, optimum: Tensor) -> None:
        self.steps += 1
        self.mean_square.copy_(optimum)

    @property
    def adapted(self) -> bool:
        return self.scale != "optimal" or bool(self.steps)

    @property
    def sigma(self) -> float | None:
        if self.scale in ("decoded", "per_feature") or self.features is not None:
            return None
        return float(self._scale())

    def accepts(self, x: Tensor) -> bool:
        return True

    def for_columns(self, families: Sequence[Likelihood]) -> Likelihood | None:
        if all(
            isinstance(family, Normal) and (family.scale, family.features) == ("optimal", None) for family in families
        ):
            return Normal("optimal", features=len(families))
        return super().for_columns(families)

    @classmethod
    def suggested_by(cls, summary: ValueSummary) -> Suggestion | None:
        return Suggestion("normal", "likelihoods.Normal('optimal')", summary) if summary.kind == "real" else None

    def at_mean(self, x: Tensor) -> Tensor:
        mean = x.mean(0)
        # a feature that hardly varies in these examples may vary in others
        return torch.cat([mean, x.std(0, correction=0).clamp(min=1e-2).log()]) if self.scale == "decoded" else mean

    @property
    def decodes_spread(self) -> bool:
        return self.scale == "decoded"

    @property
    def readings(self) -> Mapping[str, Scale]:
        return {} if self.scale == "decoded" else {"mean": AS_PARAMETERS}

    def browser_form(self) -> dict[str, Any]:
        per_feature = self.scale == "per_feature"
        scale = self.log_scale.detach().exp().flatten().tolist() if per_feature else self.sigma
        if self.features is not None:
            scale = self.mean_square.sqrt().tolist()
        return {"family": "normal", "scale": scale}


LIKELIHOODS.register("normal_decoded")(partial(Normal, "decoded"))


class IndependentNormal(Summed):
    """Independent normals whose log_prob, summed over the event, passes three times over the values.

    torch's passes nine times, and takes the logarithm of one sigma once for every value.
    """

    def __init__(self, mean: Tensor, scale: Tensor, event_dims: int) -> None:
        super().__init__(TorchNormal(mean, scale, validate_args=False), event_dims, validate_args=False)
        self._scale = scale

    def log_prob(self, value: Tensor) -> Tensor:
        events, n, scale = self.reinterpreted_batch_ndims, self.event_shape.numel(), self._scale
        residual = value - self.mean
        if scale.dim():
            logs = scale.log()
            squares = (residual / scale).square().flatten(-events).sum(-1)
            log_scales = (logs.expand(self.event_shape) if scale.dim() < events else logs).flatten(-events).sum(-1)
        else:
            squares, log_scales = residual.square().flatten(-events).sum(-1) / scale.square(), n * scale.log()
        return -0.5 * squares - (log_scales + 0.5 * n * math.log(2 * math.pi))
