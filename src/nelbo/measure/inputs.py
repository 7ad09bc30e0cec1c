"""What a measurement is given: checked, in the model's precision, on its device; and errors that say what to write."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from nelbo.divergences import Delta
from nelbo.vae import VAE, Model

AT_ONCE = 1 << 18
"""Numbers decoded together: 1 MB of float32, which with its log-probabilities stays in a processor's cache."""


def checked(model: Model, x: Tensor) -> Tensor:
    """X as the model takes it: on its device, in its precision.

    Args:
        model: what x is to be measured under.
        x: (batch, \\*event).

    Raises:
        TypeError: x is no tensor.
        ValueError: x is empty, holds values outside the likelihood's support, or has another shape than the decoder
            gives; or what the decoder gives is not finite.
    """
    if not isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"x is a tensor (batch, *event), got a {type(x).__name__}; of a data set write "
            "x = data.validation.take(100)"
        )
    if x.dim() < 2:
        raise ValueError(f"x has shape (batch, *event), got {tuple(x.shape)}; for one example write x[None]")
    if not len(x):
        raise ValueError(f"x holds no example, its shape is {tuple(x.shape)}; expected (batch, *event) with batch > 0")
    if not math.prod(x.shape[1:]):
        raise ValueError(f"the examples of x hold no value, its shape is {tuple(x.shape)}")
    if isinstance(model, VAE):
        model.px_family.check(x)
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    weight = next((t for t in tensors if t.is_floating_point()), None)
    x = x.to(weight) if weight is not None else x.to(torch.get_default_dtype()) if not x.is_floating_point() else x
    with torch.no_grad():
        density = model.log_likelihood(x[:1], center(model.posterior(x[:1])))
    finite(density)
    return x


def latent_dimensions(model: Model) -> int:
    """The number of dimensions of z."""
    shape = model.prior.event_shape
    if len(shape) != 1:
        raise ValueError(
            f"the prior is a distribution over vectors z, event shape (latent,); got {tuple(shape)}. Write "
            "torch.distributions.Independent(prior, 1)"
        )
    return shape[0]


def is_point(qz: Distribution) -> bool:
    """Whether q(z|x) is a point, as an autoencoder's."""
    return isinstance(qz, Delta)


def center(qz: Distribution) -> Tensor:
    """A place where q(z|x) has its mass, (batch, latent): its mean, or a draw where the mean has no closed form."""
    try:
        return qz.mean
    except NotImplementedError:
        return qz.sample()


def spread(qz: Distribution) -> Tensor:
    """The standard deviations of q(z|x), (batch, latent), by 64 draws where there is no closed form; 0 of a point."""
    try:
        return qz.variance.sqrt()
    except NotImplementedError:
        return qz.sample(torch.Size((64,))).std(0)


def chosen(qz: Distribution, index: Tensor | slice) -> Any:
    """q(z|x) of some examples of a batch, or None for families whose parameters cannot be picked, such as flows."""
    if isinstance(qz, Independent) and isinstance(qz.base_dist, Normal):
        base = qz.base_dist
        return Independent(Normal(base.loc[index], base.scale[index], validate_args=False), 1, validate_args=False)
    if isinstance(qz, MultivariateNormal):
        return MultivariateNormal(qz.loc[index], scale_tril=qz.scale_tril[index], validate_args=False)
    return Delta(qz.location[index]) if isinstance(qz, Delta) else None


def finite(log_density: Tensor) -> Tensor:
    """The same values, if none is NaN or +inf; -inf is the logarithm of a density of zero."""
    bad = log_density.isnan() | (log_density == torch.inf)
    if bool(bad.any()):
        raise ValueError(
            f"log p(x, z) is NaN or infinite for {int(bad.sum())} of {bad.numel()} pairs of an example and a z: the "
            "decoder gives values that are no parameters of p(x|z). Look at model.likelihood(z) for "
            "z = model.prior.sample((100,)); a run whose training diverged is best trained again with a smaller "
            "learning rate"
        )
    return log_density
