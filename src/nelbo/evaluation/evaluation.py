"""A model on some examples, each part computed when it is first asked for, and once."""

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, final
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor
from torch.distributions import Distribution

from nelbo import latents
from nelbo.data import Batch, Dataset
from nelbo.divergences import closed_form
from nelbo.estimate import Estimate
from nelbo.evaluation.mode import evaluation_mode, rows_at_once
from nelbo.objectives.objective import kl_per_unit
from nelbo.randomness import example_keys
from nelbo.vae import Model, as_model, at_condition, on_model, placed

_UNJOINED = 1000
"""Examples of a q(z|x) whose parameters cannot be put one after the other: all pass at once."""
_DRAWS_FOR_MOMENTS = 256
_KEPT = 4  # data sets whose encodings a model keeps


@dataclass(frozen=True, eq=False)
class ElboTerms:
    """The terms of the negative ELBO of each example; each an Estimate of shape (batch,), in nats, on the CPU.

    Attributes:
        reconstruction_error: -E_q[log p(x|z)].
        kl: KL(q(z|x) || p(z)); infinite for an autoencoder.
        elbo: -(reconstruction_error + kl), a lower bound of log p(x).
    """

    reconstruction_error: Estimate
    kl: Estimate
    elbo: Estimate


class Moments(NamedTuple):
    """Mean (n, latent) and covariance (n, latent, latent) of q(z|x)."""

    mean: Tensor
    covariance: Tensor
    exact: bool
    """Whether q(z|x) is a normal or a point, so that mean and covariance are all of it; else they are those of draws
    around its center."""


@final
class Evaluation:
    """A model on some examples.

    Everything lies where the model does, but for Estimates, which are float64 on the CPU. Draws of z are a function of
    (seed, purpose, the example's values, number of the draw).

    Args:
        model: in any mode; it is evaluated in evaluation mode, without gradients.
        batch: the examples, where the model is and in its precision: see :func:`evaluate`.
        seed: of the draws.
        encode: gives q(z|x) where it is known already.
        prior: p(z), where it is known already.
        positions: (n,) numbers that keep the draws of equal examples apart; see :meth:`independent`.
    """

    def __init__(
        self,
        model: Model,
        batch: Batch,
        *,
        seed: int = 0,
        encode: Callable[[], Distribution] | None = None,
        prior: Distribution | None = None,
        positions: Tensor | None = None,
    ) -> None:
        self.model, self.batch, self.seed, self.positions = model, batch, seed, positions
        self._encode, self._prior = encode, prior
        self._terms: dict[int, ElboTerms] = {}

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def x(self) -> Tensor:
        """(n, \\*event)."""
        return self.batch.x

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> "Evaluation":
        """Some of the examples, by a slice, positions or a mask; what is encoded already is not encoded again."""
        where = index if isinstance(index, slice) else torch.as_tensor(index)

        def encode() -> Distribution:
            return latents.rows(self.qz, where)

        known = "qz" in vars(self) and self.picks
        shared = self.pz if self.batch.c is None else None
        positions = None if self.positions is None else self.positions[where]
        return Evaluation(
            self.model,
            self.batch[where],
            seed=self.seed,
            encode=encode if known else None,
            prior=shared,
            positions=positions,
        )

    def independent(self) -> "Evaluation":
        """The same evaluation, with independent draws for equal examples too.

        A draw then depends on the example's position as well. A test over the examples needs this: data of few distinct
        rows would otherwise have as few draws.
        """
        positions = torch.arange(len(self), device=self.x.device)
        return Evaluation(
            self.model, self.batch, seed=self.seed, encode=lambda: self.qz, prior=self._prior, positions=positions
        )

    def split(self, numbers: int, *, passes: int = 1) -> Iterator["Evaluation"]:
        """The examples in order, as many at a time as the memory budget allows; see ``rows_at_once``.

        Args:
            numbers: computed for one example at a time.
            passes: budgets that may be taken at once.
        """
        size = rows_at_once(numbers, passes=passes)
        if len(self) <= size:
            yield self
            return
        _ = self.qz  # all are encoded once, and each part picks its own
        for start in range(0, len(self), size):
            yield self[start : start + size]

    @property
    def features(self) -> int:
        """Numbers of one example."""
        return math.prod(self.x.shape[1:])

    def keys(self, purpose: str) -> Tensor:
        """(n,) the source of each example's draws for a purpose."""
        positions = None if self.positions is None else self.positions[:, None]
        return example_keys(self.batch.x, self.batch.c, positions, seed=self.seed, purpose=purpose)

    @property
    def conditioned(self) -> Model:
        """The model at the examples' condition."""
        return at_condition(self.model, self.batch)

    @cached_property
    def pz(self) -> Distribution:
        """p(z)."""
        if self._prior is not None:
            return self._prior
        with evaluation_mode(self.model, self.seed):
            return self.conditioned.prior

    @cached_property
    def qz(self) -> Distribution:
        """q(z|x), batch shape (n,), event shape (latent,)."""
        if self._encode is not None:
            return self._encode()
        with evaluation_mode(self.model, self.seed):
            return encoded(self.model, self.batch)

    @cached_property
    def picks(self) -> bool:
        """Whether q(z|x) of some of the examples can be picked from that of all."""
        return latents.picks(self.qz)

    @cached_property
    def is_point(self) -> bool:
        """Whether q(z|x) is a point, as of an autoencoder: then there is no KL."""
        return not latents.has_density(self.qz)

    @cached_property
    def latent(self) -> int:
        """Number of latent units."""
        return self.qz.event_shape.numel()

    @cached_property
    def embedding(self) -> Tensor:
        """(n, latent): the mean of q(z|x), or what stands for it."""
        with evaluation_mode(self.model, self.seed):
            return latents.center(self.qz)

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of q(z|x), by 256 draws where the covariance has no closed form."""
        known = latents.moments(self.qz)
        if known is not None:
            return Moments(*known, exact=True)
        with evaluation_mode(self.model, self.seed):
            z = latents.draw(self.qz, _DRAWS_FOR_MOMENTS, self.keys("moments"))
            off = z - z.mean(0)
            covariance = torch.einsum("sni,snj->nij", off, off) / (_DRAWS_FOR_MOMENTS - 1)
        return Moments(self.embedding, covariance, exact=False)

    @cached_property
    def kl(self) -> Tensor | None:
        """(n,) KL(q(z|x) || p(z)) in nats where there is a closed form; inf of a point."""
        with evaluation_mode(self.model, self.seed):
            return closed_form(self.qz, self.pz)

    @cached_property
    def kl_per_unit(self) -> Tensor | None:
        """(n, latent) KL of each unit in nats, where q and p factorize and there is a closed form."""
        with evaluation_mode(self.model, self.seed):
            return kl_per_unit(self.qz, self.pz)

    @cached_property
    def reconstruction(self) -> Tensor:
        """(n, \\*event): the mean of p(x|z) at the embedding."""
        parts = self.split(self.features)
        with evaluation_mode(self.model, self.seed):
            return torch.cat([part.conditioned.decode(part.embedding) for part in parts])

    @cached_property
    def error_at_embedding(self) -> Tensor:
        """(n,) -log p(x|z) in nats at the embedding: without the noise of q(z|x)."""
        return -self.log_likelihood(self.embedding)

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        with evaluation_mode(self.model, self.seed):
            return latents.draw_with_log_prob(self.qz, None, self.keys("draw"))

    @property
    def z(self) -> Tensor:
        """(n, latent): one draw z ~ q(z|x) of each example, the same whenever it is asked for."""
        return self._drawn[0]

    @cached_property
    def px(self) -> Distribution:
        """p(x|z) at the draw z, batch shape (n,)."""
        with evaluation_mode(self.model, self.seed):
            return self.conditioned.likelihood(self.z)

    @cached_property
    def log_px(self) -> Tensor:
        """(n,) log p(x|z) in nats at the draw z."""
        return self.log_likelihood(self.z)

    @cached_property
    def kl_estimate(self) -> Tensor:
        """(n,) KL(q(z|x) || p(z)) in nats, in closed form, or else by the draw z: log q(z|x) - log p(z)."""
        if self.kl is not None:
            return self.kl
        with evaluation_mode(self.model, self.seed):
            return self._drawn[1] - self.pz.log_prob(self.z)

    @property
    def nelbo(self) -> Tensor:
        """(n,) -log p(x|z) + KL in nats, by the draw z."""
        return self.kl_estimate - self.log_px

    def log_likelihood(self, z: Tensor) -> Tensor:
        """Log p(x|z) in nats, (\\*draws, n), for z of shape (\\*draws, n, latent)."""
        with evaluation_mode(self.model, self.seed):
            parts: list[Tensor] = []
            start = 0
            for part in self.split(self.features * math.prod(z.shape[: -1 - len(self.pz.event_shape)])):
                parts.append(part.conditioned.log_likelihood(part.x, z.narrow(z.dim() - 2, start, len(part))))
                start += len(part)
            return torch.cat(parts, -1)

    def terms(self, samples: int = 16) -> ElboTerms:
        """The ELBO of each example and its two terms, over draws of z, with standard errors over the draws.

        ELBO(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z)). The KL is in closed form where there is one.

        Args:
            samples: draws of z for each example, at least 2; of a point, whose draws are all one, 2 are taken.

        Raises:
            ValueError: fewer than 2 samples.

        Source: Kingma & Welling 2014, eq. 7.
        """
        if samples < 2:
            raise ValueError(f"samples must be at least 2, for a standard error; got {samples}")
        if samples not in self._terms:
            with evaluation_mode(self.model, self.seed):
                parts = [part._terms_of(samples) for part in self.split(samples * self.features, passes=8)]
            values = torch.cat(parts, dim=1)
            method = f"monte_carlo ({samples} draws of z)"
            exact = bool((values[4] == 0).all())
            self._terms[samples] = ElboTerms(
                Estimate(values[0], values[3], method),
                Estimate(values[1], values[4], "closed_form" if exact else method),
                Estimate(values[2], values[5], method),
            )
        return self._terms[samples]

    def _terms_of(self, samples: int) -> Tensor:
        """(6, n) float64: the means of reconstruction error, KL and ELBO, then their standard errors."""
        model, qz, pz = self.conditioned, self.qz, self.pz
        kl = closed_form(qz, pz)
        draws = 2 if self.is_point else samples
        z, log_qz = latents.draw_with_log_prob(qz, draws, self.keys("elbo"))
        error = -model.log_likelihood(self.x, z).double()
        drawn = (log_qz - pz.log_prob(z)).double() if kl is None else kl.double().expand_as(error)
        each = torch.stack([error, drawn, -(error + drawn)])
        # an infinite KL has no spread, and inf - inf would say nan
        spread = torch.where(each.isfinite().all(1), each.std(1) / math.sqrt(draws), 0.0)
        return torch.cat([each.mean(1), spread]).cpu()


def encoded(model: Model, batch: Batch) -> Distribution:
    """q(z|x) of every example as one distribution, batch shape (n,); the model is in evaluation mode."""
    parts: list[Distribution] = []
    size = rows_at_once(math.prod(batch.x.shape[1:]), passes=4)
    for part in batch.split(size):
        parts.append(at_condition(model, part).posterior(part.x))
        if len(batch) > size and not latents.picks(parts[0]):
            return at_condition(model, batch).posterior(batch.x)
    return latents.join(parts)


def evaluate(model: Any, x: Any, *, seed: int = 0, n: int | None = None) -> Evaluation:
    """A model on examples: what every measurement begins with.

    Of a data set, the examples are taken in an order that depends on the seed alone, so that fewer examples are the
    first of more; they are encoded once for whoever asks, as long as the model keeps its weights.

    Args:
        model: a model, a run, or any object with prior, posterior and likelihood.
        x: a Dataset, a Batch, a tensor or an array (batch, \\*event); or an Evaluation, which is given back.
        seed: of the draws, and of the order.
        n: examples at most; None is all.

    Raises:
        TypeError: model or x are of another type.
        ValueError: x is empty, or does not fit the model or its likelihood; the message says what to write.
    """
    if isinstance(x, Evaluation):
        return x if n is None or n >= len(x) else x[:n]
    if isinstance(x, Dataset):
        return encodings(as_model(model), x, seed).first(len(x) if n is None else n)
    model, batch = on_model(model, x)
    return Evaluation(model, batch if n is None else batch[:n], seed=seed)


def decode(model: Any, z: Tensor) -> Tensor:
    """The mean of p(x|z), (n, \\*event), for z of shape (n, latent): in chunks, without gradients."""
    model = as_model(model)
    with evaluation_mode(model):
        size = rows_at_once(model.decode(z[:1]).numel(), passes=4)
        return torch.cat([model.decode(part) for part in z.split(size)])


def sample(model: Any, n: int, *, mean: bool = False, seed: int = 0) -> Tensor:
    """New examples, z ~ p(z) and then x ~ p(x|z), (n, \\*event), in chunks, by a seed.

    Args:
        model: a model or a run.
        n: number of examples.
        mean: return the mean of p(x|z) instead of a draw.
        seed: of the draws; torch's generators are left as they were.
    """
    if n < 1:
        raise ValueError(f"n must be a positive integer, got {n}")
    model = as_model(model)
    with evaluation_mode(model, seed):
        z = model.prior.sample(torch.Size((n,)))
        if mean:
            return decode(model, z)
        size = rows_at_once(model.likelihood(z[:1]).event_shape.numel(), passes=4)
        return torch.cat([model.likelihood(part).sample() for part in z.split(size)])


@final
class Encodings:
    """The posteriors of a data set's examples, in an order fixed by a seed, as far as they were asked for.

    Args:
        model: the model.
        dataset: the examples; a random preparation is drawn once, by the seed.
        seed: of order and draws.
    """

    def __init__(self, model: Model, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self.fingerprint = fingerprint(model)
        self._reference = ref(model)  # who keeps the model keeps this, and not the other way round
        self.order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
        self._qz: Distribution | None = None
        self._done = 0

    @property
    def model(self) -> Model:
        """The model."""
        model = self._reference()
        assert model is not None
        return model

    def first(self, n: int) -> Evaluation:
        """The evaluation of the first n examples in this order."""
        n = min(n, len(self.order))
        rows, model = self.order[:n], self.model
        batch = placed(model, self.dataset.examples(rows, seed=self.seed))
        return Evaluation(model, batch, seed=self.seed, encode=lambda: self.qz(n))

    def qz(self, n: int | None = None) -> Distribution:
        """q(z|x) of the first n examples; of all where None. The examples themselves are not kept."""
        n = len(self.order) if n is None else min(n, len(self.order))
        if self._done < n:
            self._extend(n)
        assert self._qz is not None
        return self._qz if self._done == n else latents.rows(self._qz, slice(0, n))

    def _extend(self, n: int) -> None:
        missing = self.order[self._done : n]
        # in storage order, in which a file is read fastest
        ascending = missing.argsort()
        parts: list[Distribution] = []
        model = self.model
        with evaluation_mode(model, self.seed):
            for rows in missing[ascending].split(rows_at_once(math.prod(self.dataset.event_shape), passes=4)):
                batch = self.dataset.examples(rows, seed=self.seed)
                parts.append(encoded(model, placed(model, batch)))
                if not latents.picks(parts[0]):
                    few = self.dataset.examples(self.order[: min(n, _UNJOINED)], seed=self.seed)
                    self._qz, self._done = encoded(model, few), len(few)
                    return
        fresh = latents.rows(latents.join(parts), ascending.argsort())
        self._qz, self._done = fresh if self._qz is None else latents.join([self._qz, fresh]), n


_ENCODINGS: WeakKeyDictionary[Model, dict[tuple[int, int], Encodings]] = WeakKeyDictionary()


def encodings(model: Model, dataset: Dataset, seed: int = 0) -> Encodings:
    """The encodings of a data set by a model; kept until its weights change, of the last four data sets."""
    if next(model.parameters(), None) is None:  # a model that shows no weights may change unseen
        return Encodings(model, dataset, seed)
    kept = _ENCODINGS.setdefault(model, {})
    key = (id(dataset), seed)
    found = kept.pop(key, None)
    if found is None or found.dataset is not dataset or found.fingerprint != fingerprint(model):
        found = Encodings(model, dataset, seed)
    kept[key] = found
    while len(kept) > _KEPT:
        kept.pop(next(iter(kept)))
    return found


def fingerprint(model: Model) -> int:
    """A checksum of the model's weights and buffers."""
    crc = 0
    for tensor in model.state_dict().values():
        values: Any = (
            tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b""
        )
        crc = zlib.crc32(values, crc)
    return crc
