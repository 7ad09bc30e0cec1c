"""A model on some examples, each part computed when it is first asked for, and once."""

import copy
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, final
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from nelbo import latents
from nelbo.data import Batch, Dataset, as_batch
from nelbo.data.loading import seen_by
from nelbo.devices import check_weights, device_of, widened
from nelbo.divergences import closed_form
from nelbo.estimate import Estimate
from nelbo.evaluation.mode import evaluation_mode, rows_at_once, within_memory
from nelbo.objectives.objective import kl_per_unit
from nelbo.randomness import derive, example_keys, folded, generator
from nelbo.vae import Model, as_model, at_condition, beside, conditioned, log_prob_of, on_model, placed

_UNPICKED = 1000
"""Examples of a data set whose q(z|x) cannot be picked and joined: all pass at once."""
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


class _Later(NamedTuple):
    """Examples that are read when something asks for their values."""

    n: int
    conditional: bool
    read: Callable[[], Batch]


@final
class Evaluation:
    """A model on some examples.

    Everything lies where the model does, but for Estimates, which are float64 on the CPU. Draws of z are a function of
    (seed, purpose, the example's values, number of the draw).

    Args:
        model: in any mode; it is evaluated in evaluation mode, without gradients.
        batch: the examples, where the model is and in its precision: see :func:`evaluate`.
        seed: of the draws.
        encode: gives q(z|x) where it need not be the model's, or is kept elsewhere.
        content: gives the hash of each example's values where that is kept elsewhere.
        prior: p(z), where it is known already.
        positions: (n,) numbers that keep the draws of equal examples apart; see :meth:`independent`.
    """

    def __init__(
        self,
        model: Model,
        batch: Batch | _Later,
        *,
        seed: int = 0,
        encode: Callable[[], Distribution] | None = None,
        content: Callable[[], Tensor] | None = None,
        prior: Distribution | None = None,
        positions: Tensor | None = None,
    ) -> None:
        self.model, self.seed, self._batch, self.positions = model, seed, batch, positions
        self._encode, self._content, self._prior = encode, content, prior
        self._terms: dict[int, ElboTerms] = {}

    def __len__(self) -> int:
        return self._batch.n if isinstance(self._batch, _Later) else len(self._batch)

    @cached_property
    def batch(self) -> Batch:
        """The examples; those of a data set are read when they are first asked for."""
        return self._batch.read() if isinstance(self._batch, _Later) else self._batch

    @property
    def conditional(self) -> bool:
        """Whether the examples carry a condition."""
        return self._batch.conditional if isinstance(self._batch, _Later) else self._batch.c is not None

    @property
    def x(self) -> Tensor:
        """(n, \\*event)."""
        return self.batch.x

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> "Evaluation":
        """Some of the examples, by a position, a slice, positions or a mask.

        What is encoded already is not encoded again. One position gives an evaluation of one example.
        """
        where = index if isinstance(index, slice) else torch.atleast_1d(torch.as_tensor(index))
        batch = self.batch[where]
        known = ("qz" in vars(self) or self._encode is not None) and self.picks
        return Evaluation(
            self.model,
            batch,
            seed=self.seed,
            encode=(lambda: latents.rows(self.qz, where)) if known else None,
            content=lambda: self.content[where],
            prior=None if self.conditional else self.pz,
            positions=None if self.positions is None else self.positions[where],
        )

    def __add__(self, other: "Evaluation") -> "Evaluation":
        """These examples, then others of the same model.

        Raises:
            ValueError: one evaluation has independent draws and the other has not.
        """
        if (self.positions is None) != (other.positions is None):
            raise ValueError(
                "only one of the two evaluations has independent draws; write a.independent() + b.independent()"
            )
        known = self.picks and other.picks
        return Evaluation(
            self.model,
            Batch.cat([self.batch, other.batch]),
            seed=self.seed,
            encode=(lambda: latents.join([self.qz, other.qz])) if known else None,
            content=lambda: torch.cat([self.content, other.content]),
            positions=None
            if self.positions is None or other.positions is None
            else torch.cat([self.positions, other.positions]),
        )

    def independent(self) -> "Evaluation":
        """The same evaluation, with independent draws for equal examples too.

        A draw then depends on the example's position as well. A test over the examples needs this: data of few distinct
        rows would otherwise have as few draws.
        """
        return self._again(lambda: self.qz, torch.arange(len(self), device=self.x.device))

    def split(self, numbers: int, *, passes: int = 1) -> Iterator["Evaluation"]:
        """The examples in order, as many at a time as the memory budget allows; see ``rows_at_once``.

        Args:
            numbers: computed for one example at a time.
            passes: budgets that may be taken at once.
        """
        size = rows_at_once(numbers, passes=passes, on=self.device)
        if len(self) <= size:
            yield self
            return
        _ = self.qz  # all are encoded once, and each part picks its own
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def with_posterior(self, qz: Distribution) -> "Evaluation":
        """The same examples under another q(z|x), batch shape (n,)."""
        return self._again(lambda: qz, self.positions)

    def _again(self, encode: Callable[[], Distribution], positions: Tensor | None) -> "Evaluation":
        """The same examples, another q(z|x) or other positions."""
        return Evaluation(
            self.model,
            self.batch,
            seed=self.seed,
            encode=encode,
            content=lambda: self.content,
            prior=None if self.conditional else self.pz,
            positions=positions,
        )

    @property
    def device(self) -> torch.device:
        """Where the model and the examples lie."""
        return device_of(self.model) or self.x.device

    @property
    def features(self) -> int:
        """Numbers of one example."""
        return math.prod(self.x.shape[1:])

    @cached_property
    def content(self) -> Tensor:
        """(n,) int64, a hash of each example's values and condition."""
        return _content(self.batch) if self._content is None else self._content()

    @cached_property
    def width(self) -> int:
        """Numbers of one example where the network has most of them: its features, or a linear layer's outputs."""
        layers = [part.out_features for part in self.model.modules() if isinstance(part, nn.Linear)]
        return max([self.features, *layers])

    def keys(self, purpose: str) -> Tensor:
        """(n,) the source of each example's draws for a purpose."""
        keys = folded(self.content, derive(self.seed, purpose))
        return keys if self.positions is None else folded(keys, self.positions)

    @property
    def conditioned(self) -> Model:
        """The model at the examples' condition."""
        return at_condition(self.model, self.batch) if self.conditional else self.model

    @cached_property
    def pz(self) -> Distribution:
        """p(z).

        Raises:
            ValueError: a prior over numbers instead of vectors.
        """
        if self._prior is not None:
            return self._prior
        c = self.batch.c if self.conditional else None
        with evaluation_mode(self.model, self.seed), conditioned(self.model, c) as model:
            pz = model.prior
        if not pz.event_shape:
            raise ValueError(
                f"the prior must be a distribution over vectors z, with event shape (latent,), got event shape () and "
                f"batch shape {tuple(pz.batch_shape)}. Write torch.distributions.Independent(prior, 1)"
            )
        return pz

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
            return latents.center(self.qz, self.keys("center"))

    @cached_property
    def spread(self) -> Tensor:
        """(n, latent): the standard deviations of q(z|x), by 64 draws where there is no closed form."""
        with evaluation_mode(self.model, self.seed):
            return latents.spread(self.qz, self.keys("spread"))

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
    @within_memory
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
    def rounding(self) -> Tensor | None:
        """(n,) float64, CPU: what the model's precision does to log p(x|z) at the embedding, in nats.

        It is computed again in float64. None where the model cannot be copied and computed in two precisions, such as a
        view of functions that run the original.
        """
        try:
            model = copy.deepcopy(self.model).double()
            again = Evaluation(model, self.batch.to(dtype=torch.float64), seed=self.seed)
            z = self.embedding.double()
            few, shifted = again[:2], z[:2] * (1 + 2**-30)  # which float32 rounds to z
            if torch.equal(few.log_likelihood(shifted), few.log_likelihood(z[:2])):
                return None
            double = again.log_likelihood(z)
        except Exception:  # a model of whatever kind
            return None
        return (self.log_likelihood(self.embedding).double() - double).cpu()

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        with evaluation_mode(self.model, self.seed):
            return latents.draw_with_log_prob(self.qz, None, self.keys("draw"))

    @property
    def z(self) -> Tensor:
        """(n, latent): one draw z ~ q(z|x) of each example, the same whenever it is asked for."""
        return self._drawn[0]

    @cached_property
    @within_memory
    def px(self) -> Distribution:
        """p(x|z) at the draw z, batch shape (n,). What asks for :attr:`log_px` after it decodes nothing again."""
        px: list[Distribution] = []
        log_px: list[Tensor] = []
        start = 0
        with evaluation_mode(self.model, self.seed):
            for part in self.split(self.features):
                px.append(part.conditioned.likelihood(self.z[start : start + len(part)]))
                log_px.append(log_prob_of(self.model, px[-1], part.x))
                start += len(part)
            vars(self)["log_px"] = torch.cat(log_px)
            if len(px) == 1 or latents.picks(px[0]):
                return latents.join(px)
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

    @within_memory
    def log_likelihood(self, z: Tensor) -> Tensor:
        """Log p(x|z) in nats, (\\*draws, n), for z of shape (\\*draws, n, latent)."""
        event = len(self.pz.event_shape)
        draws, z = z.shape[: -1 - event], z.flatten(0, -2 - event) if z.dim() > 2 + event else z
        z = z if z.dim() == 2 + event else z[None]
        columns: list[Tensor] = []
        start = 0
        with evaluation_mode(self.model, self.seed):
            for part in self.split(self.features * len(z)):
                model = part.conditioned
                some = z[:, start : start + len(part)].split(rows_at_once(self.features * len(part), on=self.device))
                columns.append(torch.cat([model.log_likelihood(part.x, each) for each in some]))
                start += len(part)
        return torch.cat(columns, -1).reshape(*draws, len(self))

    @within_memory
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

    @within_memory
    def error_per_feature(self, samples: int = 16) -> Tensor | None:
        """(n, \\*event) float64: -E_q[log p(x_i|z)] of each feature in nats, over the draws of :meth:`terms`.

        Their sum over the features is the reconstruction error. None where p(x|z) does not factorize over the features.

        Args:
            samples: draws of z for each example.
        """
        with evaluation_mode(self.model, self.seed):
            parts = [part._errors_of(samples) for part in self.split(samples * self.features, passes=8)]
        known = [part for part in parts if part is not None]
        return torch.cat(known).cpu().double() if len(known) == len(parts) else None

    def _errors_of(self, samples: int) -> Tensor | None:
        z, _ = latents.draw_with_log_prob(self.qz, 2 if self.is_point else samples, self.keys("elbo"))
        px: Any = self.conditioned.likelihood(z)
        if not isinstance(px, Independent) or px.reinterpreted_batch_ndims != self.x.dim() - 1:
            return None
        each: Tensor = getattr(px, "log_prob_each", px.base_dist.log_prob)(self.x)  # a part of x may be missing
        return -widened(each).mean(0) if each.shape[1:] == self.x.shape else None

    def _terms_of(self, samples: int) -> Tensor:
        """(6, n) float64: the means of reconstruction error, KL and ELBO, then their standard errors."""
        model, qz, pz = self.conditioned, self.qz, self.pz
        kl = closed_form(qz, pz)
        draws = 2 if self.is_point else samples
        z, log_qz = latents.draw_with_log_prob(qz, draws, self.keys("elbo"))
        at_once = rows_at_once(self.width * len(self), passes=8, on=self.device)
        error = -widened(torch.cat([model.log_likelihood(self.x, some) for some in z.split(at_once)]))
        drawn = widened(log_qz - pz.log_prob(z) if kl is None else kl[None])
        each = [error, drawn, -(error + drawn)]
        return torch.stack([*(term.mean(0) for term in each), *map(_standard_error, each)]).cpu().double()


def _standard_error(drawn: Tensor) -> Tensor:
    """Of the mean of draws (draws, n), (n,): 0 where there is but one, and of an infinite KL, as inf - inf is NaN."""
    if len(drawn) == 1:
        return torch.zeros_like(drawn[0])
    return torch.where(drawn.isfinite().all(0), drawn.std(0) / math.sqrt(len(drawn)), 0.0)


@within_memory
def encoded(model: Model, batch: Batch) -> Distribution:
    """q(z|x) of every example as one distribution, batch shape (n,); the model is in evaluation mode."""
    parts: list[Distribution] = []
    size = rows_at_once(math.prod(batch.x.shape[1:]), passes=4, on=batch.x.device)
    for part in batch.split(size):
        with conditioned(model, part.c) as given:
            parts.append(given.posterior(part.x))
        if len(batch) > size and not latents.picks(parts[0]):
            return at_condition(model, batch).posterior(batch.x)
    return parts[0] if len(parts) == 1 else latents.join(parts)


def _content(batch: Batch) -> Tensor:
    return example_keys(batch.x, batch.c, purpose="content")


def evaluate(model: Any, x: Any, *, seed: int = 0, n: int | None = None) -> Evaluation:
    """A model on examples: what every measurement begins with.

    Of a data set, the examples are taken in an order that depends on the seed alone, so that fewer examples are the
    first of more; they are encoded once for whoever asks, as long as the model keeps its weights.

    Args:
        model: a model, a run, or any object with prior, posterior and likelihood.
        x: a Dataset, a Batch, a tensor or an array (batch, \\*event); for a run also a path, the name of a set or a
            table, which is prepared as the run's data were; or an Evaluation, which is given back with its own seed.
        seed: of the draws, and of the order.
        n: examples at most; None is all.

    Raises:
        TypeError: model or x are of another type.
        ValueError: x is empty, or does not fit the model or its likelihood, or the model's weights have no values; the
            message says what to write.
    """
    if isinstance(x, Evaluation):
        if x.model is not as_model(model) and getattr(x.model, "source", None) is not model:
            raise ValueError("x is an Evaluation of another model; pass its examples instead: x.batch")
        return x if n is None or n >= len(x) else x[:n]
    x = seen_by(model, x)
    if isinstance(x, Dataset):
        model = as_model(model)  # kept here: who keeps encodings does not keep the model
        check_weights(model)
        return encodings(model, x, seed).first(len(x) if n is None else n)
    model, batch = on_model(model, x)
    return Evaluation(model, batch if n is None else batch[:n], seed=seed)


@within_memory
def decode(model: Any, z: Tensor) -> Tensor:
    """The mean of p(x|z), (n, \\*event), for z of shape (n, latent): in chunks, without gradients."""
    model = as_model(model)
    z = placed(model, as_batch(z)).x
    with evaluation_mode(model), conditioned(model, None):
        size = rows_at_once(model.decode(z[:1]).numel(), passes=4, on=z.device)
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
    with evaluation_mode(model, seed), conditioned(model, None):
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
        self.order = torch.randperm(len(dataset), generator=generator(seed))
        self._qz: Distribution | None = None
        self._content = torch.empty(0, dtype=torch.int64)
        self._picks: bool | None = None
        if len(dataset) > _UNPICKED:
            with evaluation_mode(model, seed):
                self._picks = latents.picks(encoded(model, self._examples(self.order[:1])))
            self.order = self.order if self._picks else self.order[:_UNPICKED]

    def __len__(self) -> int:
        """The number of examples: that of the data set, but for a q(z|x) that cannot be picked, of which 1,000."""
        return len(self.order)

    @property
    def model(self) -> Model:
        """The model."""
        model = self._reference()
        assert model is not None
        return model

    def first(self, n: int | None = None) -> Evaluation:
        """The evaluation of the first n examples in this order; of all where None. They are read when asked for."""
        n = len(self) if n is None else min(n, len(self))
        later = _Later(n, self.dataset.c is not None, lambda: self._examples(self.order[:n]))
        return Evaluation(self.model, later, seed=self.seed, encode=lambda: self.qz(n), content=lambda: self.content(n))

    def qz(self, n: int | None = None) -> Distribution:
        """q(z|x) of the first n examples; of all where None. The examples themselves are not kept."""
        n = self._extended(n)
        if not self._picks:
            with evaluation_mode(self.model, self.seed):
                return encoded(self.model, self._examples(self.order[:n]))
        assert self._qz is not None
        return self._qz if len(self._content) == n else latents.rows(self._qz, slice(0, n))

    def content(self, n: int | None = None) -> Tensor:
        """(n,) the hashes of the first n examples, see :attr:`Evaluation.content`."""
        n = self._extended(n)
        return self._content[:n] if self._picks else _content(self._examples(self.order[:n]))

    def _examples(self, rows: Tensor) -> Batch:
        return beside(self.model, self.dataset.examples(rows, seed=self.seed))

    def _extended(self, n: int | None) -> int:
        """The number of examples, which are encoded now if their q(z|x) can be picked."""
        n = len(self) if n is None else min(n, len(self))
        missing = self.order[len(self._content) : n]
        if not len(missing) or self._picks is False:
            return n
        # in storage order, in which a file is read fastest
        ascending = missing.argsort()
        parts: list[Distribution] = []
        content: list[Tensor] = []
        with evaluation_mode(self.model, self.seed):
            for rows in missing[ascending].split(rows_at_once(math.prod(self.dataset.event_shape), passes=4)):
                batch = self._examples(rows)
                parts.append(encoded(self.model, batch))
                content.append(_content(batch))
                if self._picks is None:
                    self._picks = latents.picks(parts[0])
                if not self._picks:
                    return n
        back = ascending.argsort().to(content[0].device)
        fresh = latents.rows(latents.join(parts), back)
        self._qz = fresh if self._qz is None else latents.join([self._qz, fresh])
        self._content = torch.cat([self._content.to(back.device), torch.cat(content)[back]])
        return n


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
    """A checksum of the model's weights and buffers, of its layers, and of their plain attributes."""
    crc = 0
    for part in model.modules():
        plain = {name: value for name, value in vars(part).items() if isinstance(value, int | float | str | tuple)}
        plain.pop("training", None)  # all is measured in evaluation mode
        crc = zlib.crc32(f"{type(part).__qualname__} {id(part)} {plain}".encode(), crc)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.numel():
            values: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            crc = zlib.crc32(values, crc)
    return crc
