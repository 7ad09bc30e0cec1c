"""The model: q(z|x), p(z) and p(x|z) joined into one module that returns distributions."""

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from nelbo.likelihoods import Likelihood
from nelbo.posteriors import DiagonalNormal, PointMass, Posterior
from nelbo.priors import Prior, StandardNormal


class VAE(nn.Module):
    """A variational autoencoder: an encoder for q(z|x), a prior p(z), a decoder for p(x|z).

    >>> import torch, nelbo
    >>> encoder, decoder = nelbo.nn.MLP(784, 4), nelbo.nn.MLP(2, 784)
    >>> vae = nelbo.VAE(encoder, decoder, latent=2, likelihood=nelbo.likelihoods.Bernoulli())
    >>> x = torch.zeros(5, 784)
    >>> vae.posterior(x).mean.shape, vae.prior.event_shape, vae.likelihood(torch.zeros(5, 2)).event_shape
    (torch.Size([5, 2]), torch.Size([2]), torch.Size([784]))

    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes".

    Args:
        encoder: (batch, \\*event) to (batch, posterior.encoder_outputs); for the default posterior, 2 * latent outputs:
            the means, then the log variances.
        decoder: (batch, latent) to (batch, parameters_per_feature * c, \\*rest) for data of shape (batch, c, \\*rest).
        latent: number of latent dimensions.
        likelihood: family of p(x|z).
        prior: family of p(z); standard normal if None.
        posterior: family of q(z|x); diagonal normal if None.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        latent: int,
        likelihood: Likelihood,
        prior: Prior | None = None,
        posterior: Posterior | None = None,
    ) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = _network(encoder, "encoder")
        self.decoder = _network(decoder, "decoder")
        self.network_dtype: torch.dtype | None = None
        self.likelihood_family = _instance(likelihood, Likelihood, "likelihood", "nelbo.likelihoods.Bernoulli()")
        self.prior_family = StandardNormal(latent) if prior is None else prior
        self.posterior_family = DiagonalNormal(latent) if posterior is None else posterior
        _instance(self.prior_family, Prior, "prior", f"nelbo.priors.StandardNormal({latent})")
        _instance(self.posterior_family, Posterior, "posterior", f"nelbo.posteriors.DiagonalNormal({latent})")
        for name, family in (("prior", self.prior_family), ("posterior", self.posterior_family)):
            if family.latent != latent:
                raise ValueError(
                    f"the {name} has {family.latent} latent dimensions and the VAE latent={latent}; "
                    f"write {type(family).__name__}({latent}, ...)"
                )

    def encode(self, x: Tensor) -> Tensor:
        """The encoder's numbers for x, from which the posterior family builds q(z|x).

        Args:
            x: (batch, *event).

        Returns:
            (batch, posterior_family.encoder_outputs).
        """
        h = self._through(self.encoder, x)
        expected = (len(x), self.posterior_family.encoder_outputs)
        if not isinstance(h, Tensor) or h.shape != expected:
            raise ValueError(
                f"the encoder maps x of shape {tuple(x.shape)} to {_got(h)}, expected {expected} for "
                f"{type(self.posterior_family).__name__}({self.latent}); end it with nn.Linear(..., {expected[1]})"
            )
        return h

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x), with batch shape (batch,) and event shape (latent,), for x of shape (batch, *event)."""
        return self.posterior_family(self.encode(x))

    def _through(self, network: nn.Module, inputs: Tensor) -> Any:
        """The network's output; in mixed precision, only what happens inside the network is rounded.

        A KL near zero or a sum over pixels in bfloat16's eight bits would be noise.
        """
        if self.network_dtype is None:
            return network(inputs)
        with torch.autocast(inputs.device.type, self.network_dtype):
            outputs = network(inputs)
        return outputs.to(inputs.dtype) if isinstance(outputs, Tensor) else outputs

    @property
    def prior(self) -> Distribution:
        """p(z), with empty batch shape and event shape (latent,)."""
        return self.prior_family(self.posterior)

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z), with batch shape (*samples, batch) and event shape of x, for z of shape (*samples, batch, latent)."""
        if z.shape[-1] != self.latent:
            raise ValueError(f"z has shape (..., batch, {self.latent}), got {tuple(z.shape)}")
        codes = z.reshape(-1, self.latent)
        parameters = self._through(self.decoder, codes)
        if not isinstance(parameters, Tensor) or parameters.dim() < 2 or len(parameters) != len(codes):
            raise ValueError(
                f"the decoder maps z of shape {tuple(codes.shape)} to {_got(parameters)}, expected one tensor "
                f"({len(codes)}, *event) of the parameters of {type(self.likelihood_family).__name__} (logits, not "
                "probabilities); end it with nn.Linear(..., features) or nn.Unflatten(1, event)"
            )
        event = parameters.shape[1:]
        return self.likelihood_family(parameters.reshape(*z.shape[:-1], *event), len(event))

    def forward(self, x: Tensor) -> Distribution:
        """p(x|z) at one draw of z ~ q(z|x): the way of an example through the model."""
        return self.likelihood(self.posterior(x).rsample())

    def check(self, x: Tensor) -> None:
        """Raise a ValueError that says what to write when this model and the data x do not fit.

        Args:
            x: (batch, *event), a few examples.
        """
        if x.dim() < 2:
            raise ValueError(f"x has shape (batch, *event), got {tuple(x.shape)}; for one example write x[None]")
        self.likelihood_family.check(x)
        with torch.no_grad():
            px = self.likelihood(self._center(x))
        fits(px, x, self.likelihood_family.parameters_per_feature)

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """The posterior means, (batch, latent): where the examples lie in latent space."""
        return self._center(x)

    def _center(self, x: Tensor) -> Tensor:
        return self.posterior_family.center(self.posterior(x))

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Each example as the decoder gives it back from the posterior mean, (batch, *event)."""
        return self.likelihood_family.point(self.likelihood(self._center(x)))

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The picture of z: the mean of p(x|z), (*samples, batch, *event) for z of shape (*samples, batch, latent)."""
        return self.likelihood_family.point(self.likelihood(z))

    @torch.no_grad()
    def sample(self, n: int, *, mean: bool = False) -> Tensor:
        """New examples: z ~ p(z), then x ~ p(x|z).

        Args:
            n: how many.
            mean: return the mean of p(x|z) instead of a draw, as figures in papers do.

        Returns:
            (n, *event).
        """
        px = self.likelihood(self.prior.sample((n,)))
        return self.likelihood_family.point(px) if mean else px.sample()


@final
class Autoencoder(VAE):
    """The deterministic limit of a VAE: q(z|x) is a point, so there is no sampling and no KL term to train on.

    Its KL to any prior is infinite, and so is its NELBO: an autoencoder gives no bound on log p(x). Samples from
    its prior land where no code ever was. Train it on the reconstruction error alone.

    Args:
        encoder: (batch, \\*event) to (batch, latent).
        decoder: as for :class:`VAE`.
        latent: number of latent dimensions.
        likelihood: family of p(x|z).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, latent: int, likelihood: Likelihood) -> None:
        super().__init__(encoder, decoder, latent=latent, likelihood=likelihood, posterior=PointMass(latent))


def fits(px: Distribution, x: Tensor, parameters_per_feature: int = 1) -> None:
    """Raise a ValueError when px is not a distribution over examples of the shape of x."""
    got, expected = tuple(px.event_shape), tuple(x.shape[1:])
    if got == expected:
        return
    outputs = (parameters_per_feature * expected[0], *expected[1:]) if expected else ()
    if math.prod(got) == math.prod(expected) and expected:
        line = f"end the decoder with nn.Unflatten(1, {outputs}), or reshape the data with x.reshape(len(x), "
        line += f"{', '.join(map(str, got))})"
    else:
        line = f"end the decoder with nn.Linear(..., {math.prod(outputs)})"
        line += f" and nn.Unflatten(1, {outputs})" if len(outputs) > 1 else ""
    raise ValueError(
        f"the decoder gives p(x|z) over examples of shape {got}, but x holds examples of shape {expected} "
        f"(x: {tuple(x.shape)}); {line}"
    )


def _network(value: Any, name: str) -> nn.Module:
    if not isinstance(value, nn.Module):
        raise TypeError(
            f"the {name} is an nn.Module, got a {type(value).__name__}: weights inside it would not be trained. "
            "Write class Network(nn.Module): ..., or pass the network itself"
        )
    return value


def _instance(value: Any, kind: type, name: str, line: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is a nelbo {kind.__name__}, got {type(value).__name__}; write {name}={line}")
    return value


def _got(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
