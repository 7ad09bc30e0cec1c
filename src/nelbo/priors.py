"""p(z): what the latent is expected to look like before x is seen."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from nelbo.flows import import_zuko

__all__ = [
    "Flow",
    "Mixture",
    "Prior",
    "StandardNormal",
    "VampPrior",
]


class Prior(nn.Module, ABC):
    """A distribution p(z) over the latent space, fixed or learned with the model.

    Args:
        latent: number of latent dimensions.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        if latent < 1:
            raise ValueError(f"latent must be a positive integer, got {latent}")
        self.latent = latent

    @abstractmethod
    def forward(self, posterior: Callable[[Tensor], Distribution]) -> Distribution:
        """p(z), with empty batch shape and event shape (latent,).

        Args:
            posterior: the model's q(z|x), for a prior that is made of it.
        """


@final
class StandardNormal(Prior):
    """p(z) = N(0, I)."""

    zero: Tensor
    one: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__(latent)
        self.register_buffer("zero", torch.zeros(latent), persistent=False)
        self.register_buffer("one", torch.ones(latent), persistent=False)

    def forward(self, posterior: Callable[[Tensor], Distribution]) -> Distribution:
        return Independent(Normal(self.zero, self.one, validate_args=False), 1, validate_args=False)


@final
class Mixture(Prior):
    """p(z) = sum_k pi_k N(m_k, diag(s_k^2)), all learned.

    Args:
        latent: number of latent dimensions.
        components: number of Gaussians.
        spread: standard deviation of the means that training starts from.
    """

    def __init__(self, latent: int, *, components: int = 10, spread: float = 1.0) -> None:
        super().__init__(latent)
        if components < 1:
            raise ValueError(f"components must be a positive integer, got {components}")
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(spread * torch.randn(components, latent))
        self.log_scale = nn.Parameter(torch.zeros(components, latent))

    def forward(self, posterior: Callable[[Tensor], Distribution]) -> Distribution:
        components = Independent(Normal(self.mean, self.log_scale.exp(), validate_args=False), 1, validate_args=False)
        return _mixture(self.logits, components)


@final
class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z|u_k): a mixture of the model's own posteriors at learned pseudo-inputs u_k.

    Source: Tomczak & Welling 2018, "VAE with a VampPrior", eq. 9.

    Args:
        latent: number of latent dimensions.
        pseudo_inputs: (components, *event), where training starts from; data examples do well.
        bounds: the range that pseudo-inputs stay in, for data with one, such as (0, 1).
    """

    def __init__(self, latent: int, pseudo_inputs: Tensor, *, bounds: tuple[float, float] | None = None) -> None:
        super().__init__(latent)
        if pseudo_inputs.dim() < 2 or not len(pseudo_inputs):
            raise ValueError(
                f"pseudo_inputs must have shape (components, *event), got {tuple(pseudo_inputs.shape)}; "
                "write VampPrior(latent, x[:500])"
            )
        self.pseudo_inputs = nn.Parameter(pseudo_inputs.detach().float().clone())
        self.bounds = bounds

    def forward(self, posterior: Callable[[Tensor], Distribution]) -> Distribution:
        u = self.pseudo_inputs
        if self.bounds is not None:
            u = u.clamp(*self.bounds)  # the hard tanh of the paper's code
        components = posterior(u)
        return _mixture(torch.zeros(len(u), device=u.device), components)


@final
class Flow(Prior):
    """p(z): a standard normal pushed through learned neural spline couplings.

    Source: Durkan et al. 2019, "Neural spline flows"; as a prior, Chen et al. 2017, "Variational lossy autoencoder".

    Args:
        latent: number of latent dimensions.
        transforms: number of couplings.
        hidden: widths of the networks inside.
    """

    def __init__(self, latent: int, *, transforms: int = 3, hidden: tuple[int, ...] = (64, 64)) -> None:
        super().__init__(latent)
        self.flow = import_zuko().flows.NSF(latent, transforms=transforms, passes=2, hidden_features=hidden)

    def forward(self, posterior: Callable[[Tensor], Distribution]) -> Distribution:
        return self.flow()


def _mixture(logits: Tensor, components: Distribution) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=logits, validate_args=False), components, validate_args=False)


def __dir__() -> list[str]:
    return sorted(__all__)
