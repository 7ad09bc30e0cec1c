"""Somebody's VAE, seen as a :class:`nelbo.VAE`."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from nelbo.foreign import decoding, encoding
from nelbo.foreign.conclusion import Conclusion
from nelbo.foreign.decoder_side import DecoderSide
from nelbo.foreign.decoding import Place, Reshaped
from nelbo.foreign.encoder_side import EncoderSide
from nelbo.foreign.given import GivenNormal, GivenPosterior
from nelbo.foreign.modules import first_tensor, in_mode
from nelbo.foreign.sampling import Sampling
from nelbo.likelihoods import Likelihood
from nelbo.likelihoods.likelihood import AS_PARAMETERS
from nelbo.posteriors import DiagonalNormal, Posterior
from nelbo.priors import Prior
from nelbo.vae import VAE


class _Encode(nn.Module):
    def __init__(self, side: EncoderSide) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return self.side.numbers(self.side.call(x))


class _Decode(nn.Module):
    def __init__(self, side: DecoderSide) -> None:
        super().__init__()
        self.side = side

    def forward(self, z: Tensor) -> Tensor:
        return self.side.parameters(self.side.call(z))


@final
class Wrapped(VAE):
    """A view of any PyTorch VAE on which everything works that works on :class:`nelbo.VAE`; made by :func:`nelbo.wrap`.

    It holds no weights of its own, changes nothing about the model, and leaves its modules in the mode it finds them
    in: while the view runs them they are in evaluation mode, or in training mode after ``wrapped.train()``.

    Attributes:
        conclusions: what was found out about the model, and how; ``print(wrapped)`` shows them.
        networks: the modules behind the functions.
        sampling: how the model itself draws z, as measured; None where it could not be run.
    """

    def __init__(
        self,
        encoder: EncoderSide,
        decoder: DecoderSide,
        *,
        modules: tuple[nn.Module, ...],
        latent: int,
        likelihood: Likelihood,
        prior: Prior,
        posterior: Posterior,
        conclusions: tuple[Conclusion, ...] = (),
        sampling: Sampling | None = None,
    ) -> None:
        super().__init__(
            _Encode(encoder), _Decode(decoder), latent=latent, likelihood=likelihood, prior=prior, posterior=posterior
        )
        self.encoding, self.decoding = encoder, decoder
        self.behind = nn.ModuleList(modules)
        self.conclusions = conclusions
        self.sampling = sampling
        self.training = False

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The modules behind the functions."""
        return tuple(self.behind)

    def train(self, mode: bool = True) -> "Wrapped":
        """Set the mode in which the view runs the model; the modules keep the mode that they are in by themselves."""
        self.training = mode
        return self

    @contextmanager
    def running(self) -> Generator[None]:
        """Within, the modules are in the view's mode."""
        with in_mode(self.behind, training=self.training):
            yield

    def fitting(self, x: Tensor) -> Tensor:
        """The tensor in the precision of the weights; a ValueError when it lies on another device."""
        weight = first_tensor(self.parameters())
        return x if weight is None else as_weights(x, weight, "x")

    def encode(self, x: Tensor) -> Tensor:
        with self.running():
            return super().encode(self.fitting(x))

    def posterior(self, x: Tensor) -> Distribution:
        if not isinstance(self.qz_family, GivenPosterior):
            return super().posterior(x)
        with self.running():
            qz = encoding.as_distribution(self.encoding.call(self.fitting(x)), len(x))
        if qz is None:
            raise ValueError("encode gave a distribution when it was wrapped, and gives none now; wrap it again")
        return qz

    def likelihood(self, z: Tensor) -> Distribution:
        with self.running():
            if self.decoding.scale is not None:
                return super().likelihood(z)
            codes = z.reshape(-1, self.latent)
            output = self.decoding.place.read(self.decoding.call(codes))
            px = decoding.as_distribution(output, len(codes), self.decoding.event)
        return Reshaped(px, z.shape[:-1], self.decoding.event)

    def __repr__(self) -> str:
        kinds = ", ".join(type(module).__name__ for module in self.behind) or "functions"
        return "\n".join([f"Wrapped({kinds}, latent={self.latent})", *(f"  {c}" for c in self.conclusions)])


def as_weights(x: Tensor, weight: Tensor, name: str) -> Tensor:
    """The tensor in the precision of a weight.

    Raises:
        ValueError: it lies on another device, or holds whole numbers.
    """
    if x.device != weight.device:
        raise ValueError(
            f"{name} is on {x.device} and the model on {weight.device}; write {name}.to({str(weight.device)!r})"
        )
    if not x.is_floating_point():
        raise ValueError(
            f"{name} holds {x.dtype}, and the model computes with {weight.dtype}; write {name}.float(), or "
            f"{name}.float() / 255 for 8-bit images if it was trained on those"
        )
    return x.to(weight.dtype)


def seen_as_foreign(model: VAE) -> Wrapped:
    """Any nelbo.VAE with a diagonal normal q(z|x) as a view of its own two networks, which can then be stood in for.

    Raises:
        TypeError: q(z|x) is of another family.
    """
    if not isinstance(model.qz_family, DiagonalNormal):
        family = type(model.qz_family).__name__
        raise TypeError(f"q(z|x) is {family}; only the two outputs of a diagonal normal can be stood in for")
    size = torch.Size((model.latent,))
    weight = first_tensor(model.parameters())
    with torch.no_grad(), torch.random.fork_rng([]), in_mode((model,), training=False):
        zero = torch.zeros(1, model.latent) if weight is None else weight.new_zeros(1, model.latent)
        event = torch.Size(model.decoder(zero).shape[1:])
    return Wrapped(
        EncoderSide(model.encoder, encoding.Halves(), "logvar", size, flatten=False),
        DecoderSide(model.decoder, Place(), "parameters", AS_PARAMETERS, size, event),
        modules=(model,),
        latent=model.latent,
        likelihood=model.px_family,
        prior=model.pz_family,
        posterior=GivenNormal(model.latent),
    )
