"""wrap_codes(): a view of a model with discrete codes: VQ, FSQ and residual quantizers."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, cast, final

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, constraints

from nelbo.divergences import register
from nelbo.divergences.distributions import Point
from nelbo.latents import Expandable, UnknownFamilyError, rebuilt
from nelbo.likelihoods import Likelihood
from nelbo.randomness import own_randomness
from nelbo.vae import Model, place_of
from nelbo.wrapping import decoder
from nelbo.wrapping.decoder import DecoderSide
from nelbo.wrapping.given import Conclusion
from nelbo.wrapping.modules import Function, describe, first_tensor, in_float, in_mode, modules_behind
from nelbo.wrapping.quantizer import Quantizer, quantizer_of
from nelbo.wrapping.view import check_x, modes_of, placed_as, settled, weight_of

CodePrior = Distribution | Callable[[Tensor], Tensor]
"""p(codes): a distribution over (positions,) whole numbers, or a function from codes (n, \\*shape) to log p (n,)."""

_EXACT = 2**24  # whole numbers that float32 holds


@final
class PointOnCodes(Point):
    """All probability on one combination of codes: q(z|x) of a deterministic encoder with a codebook.

    Unlike a point among the real numbers it has a finite KL: KL(q || p) = -log p(codes).

    Args:
        location: (\\*batch, positions), whole numbers.
    """

    arg_constraints = {"location": constraints.independent(constraints.real, 1)}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    support = constraints.independent(constraints.nonnegative_integer, 1)  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, location: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(location)

    def log_prob(self, value: Tensor) -> Tensor:
        """0 on these codes, -inf elsewhere."""
        here = (value == self.location).all(-1)
        return torch.zeros(here.shape, device=here.device).masked_fill(~here, -torch.inf)


@register(PointOnCodes, Distribution)
def _kl_of_codes(q: PointOnCodes, p: Distribution) -> Tensor:
    return -p.log_prob(q.location)


@final
class GivenCodes(Expandable):
    """p(codes) by a user's function of codes (n, \\*shape)."""

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    support = constraints.independent(constraints.nonnegative_integer, 1)  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, function: Callable[[Tensor], Tensor], shape: torch.Size) -> None:
        self.function, self.shape = function, shape
        super().__init__(torch.Size(), torch.Size((shape.numel(),)), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        log_p = self.function(value.long().reshape(-1, *self.shape))
        if log_p.shape != (value.shape[:-1].numel(),):
            raise ValueError(
                f"prior must give log p of each combination of codes, shape ({value.shape[:-1].numel()},), got "
                f"{tuple(log_p.shape)}; sum over the positions, such as log_p.flatten(1).sum(1)"
            )
        return log_p.reshape(value.shape[:-1])

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        raise NotImplementedError("prior is a function, which cannot be drawn from; give a torch distribution instead")


def per_position(logits: Tensor) -> Distribution:
    """p(codes) with independent positions, from log-probabilities (positions, K) up to a constant."""
    return Independent(Categorical(logits=logits, validate_args=False), 1, validate_args=False)


@final
class Coded(Model):
    """A view of a model with discrete codes as a :class:`nelbo.vae.Model`; made by :func:`nelbo.wrap_codes`.

    z holds the number of the code at each position, as floats: q(z|x) has all of its probability on the one combination
    of codes that the encoder gives, so that KL(q(z|x) || p(z)) = -log p(codes), the rate, and
    log p(x) >= log p(x|codes) + log p(codes): the ELBO, since log p(x) sums over all combinations and this is one term.

    Attributes:
        shape: of the codes of one example.
        books: (positions,) which codebook each position draws from: positions of one book are counted together.
        conclusions: facts inferred about the model, and the reasons; ``print(view)`` shows them.
    """

    sizes: Tensor
    books: Tensor

    def __init__(
        self,
        encoding: Function,
        decoding: DecoderSide,
        *,
        shape: torch.Size,
        sizes: Tensor,
        books: Tensor,
        modules: tuple[nn.Module, ...],
        likelihood: Likelihood,
        prior: CodePrior | None = None,
        conclusions: tuple[Conclusion, ...] = (),
    ) -> None:
        super().__init__()
        self.encoding, self.decoding = encoding, decoding
        self.shape, self.latent = shape, shape.numel()
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("books", books, persistent=False)
        self.behind = nn.ModuleList(modules)
        self.px_family, self.conclusions = likelihood, conclusions
        self._prior = prior
        self.training = False

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The modules behind the functions."""
        return tuple(self.behind)

    def train(self, mode: bool = True) -> "Coded":
        """Do nothing: the model is run in evaluation mode, in which a quantizer leaves its codebook as it is."""
        return self

    @property
    def codes(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.sizes

    @property
    def prior(self) -> Distribution:
        if self._prior is None:
            most = torch.arange(int(self.sizes.max()), device=self.sizes.device)
            logits = torch.zeros(self.latent, len(most), device=most.device)
            return per_position(logits.masked_fill(most >= self.sizes[:, None], -torch.inf))
        return self._prior if isinstance(self._prior, Distribution) else GivenCodes(self._prior, self.shape)

    def with_prior(self, prior: CodePrior | None) -> "Coded":
        """The same view under another p(codes); None is uniform."""
        view = copy.copy(self)
        view._prior = checked_prior(prior, self.latent, self.sizes.device)
        return view

    @torch.no_grad()
    def indices(self, x: Tensor) -> Tensor:
        """The codes of x, (batch, \\*shape) int64.

        Raises:
            ValueError: they are not the numbers of codes.
        """
        with in_mode(self.behind, training=False):
            codes = torch.as_tensor(self.encoding(placed_as(x, place_of(self))))
        if codes.is_floating_point() or codes.shape != (len(x), *self.shape):
            raise ValueError(
                f"encode must give whole numbers of shape {(len(x), *self.shape)}, got {codes.dtype} of shape "
                f"{tuple(codes.shape)}"
            )
        self.check_codes(codes.flatten(1))
        return codes.long()

    def check_codes(self, codes: Tensor) -> None:
        """Raise a ValueError where codes (..., positions) are not among those that there are."""
        if bool((codes < 0).any()) or bool((codes >= self.sizes).any()):
            raise ValueError(
                f"codes must lie between 0 and {int(self.sizes.max()) - 1}, got {int(codes.min())} to "
                f"{int(codes.max())}; write codes= the size of the codebook, or one for each codebook on the last axis"
            )

    def posterior(self, x: Tensor) -> Distribution:
        return PointOnCodes(self.indices(x).flatten(1).float())

    def likelihood(self, z: Tensor) -> Distribution:
        self.check_codes(z)
        with in_mode(self.behind, training=False):
            return self.decoding.likelihood(z.to(self.sizes.device), self.px_family)

    def __deepcopy__(self, memo: Any) -> "Coded":
        raise TypeError("a view runs the model's own functions, which cannot be copied; copy the model and wrap it")

    def __repr__(self) -> str:
        kinds = ", ".join(type(module).__name__ for module in self.behind) or "functions"
        return "\n".join([f"Coded({kinds}, {self.latent} codes)", *(f"  {c}" for c in self.conclusions)])


def checked_prior(prior: Any, positions: int, device: torch.device) -> CodePrior | None:
    """The prior, a distribution moved to the device, or an error that says what to write."""

    def there(values: list[Tensor]) -> Tensor:
        return values[0].to(device)

    got = type(prior).__name__
    if isinstance(prior, Distribution):
        shape = tuple(prior.batch_shape + prior.event_shape)
        if shape == (positions,):
            prior = prior if prior.event_shape else Independent(prior, 1)
            with suppress(UnknownFamilyError):  # whose parameters lie where their user has put them
                return rebuilt(prior, [], there)
            return prior
        got += f" over shape {shape}"
    elif prior is None or callable(prior):
        return cast("CodePrior | None", prior)
    raise TypeError(
        f"prior must be a distribution over ({positions},) codes, a function from codes to log p, or None for uniform "
        f"codes; got {got}. Write prior=torch.distributions.Categorical(logits=...) with logits ({positions}, K)"
    )


def wrap_codes(
    model: Any = None,
    *,
    x: Tensor,
    encode: Function | None = None,
    decode: Function | None = None,
    codes: int | Sequence[int] | None = None,
    likelihood: Likelihood | Callable[[Any], Distribution] | None = None,
    prior: CodePrior | None = None,
    output: str | None = None,
    axis: Literal["first", "second", "last"] | None = None,
    module: nn.Module | Sequence[nn.Module] | None = None,
) -> Coded:
    """View a model with discrete codes (VQ, FSQ, residual quantizers) as a nelbo model, with a bound in nats.

    ``nelbo.wrap_codes(model, x=x)`` runs the model and finds the module that answers with whole numbers and with the
    vectors that its codebook has for them; codes are decoded by running the model with others in their place. Where
    nothing is found, give the two functions.

    >>> import torch, nelbo
    >>> book, decoder = torch.randn(8, 3), torch.nn.Linear(3, 6)
    >>> view = nelbo.wrap_codes(
    ...     encode=lambda x: torch.cdist(x[:, :3], book).argmin(1, keepdim=True),
    ...     decode=lambda k: decoder(book[k[:, 0]]),
    ...     codes=8, x=torch.randn(50, 6), likelihood=nelbo.likelihoods.Normal(1.0),
    ... )
    >>> nelbo.loss(view, torch.randn(50, 6)).kl.mean().exp().round()
    tensor(8.)

    Args:
        model: the whole model, in place of encode and decode.
        x: (batch, \\*event), some examples as the model was trained on, 50 or more are best.
        encode: x to the numbers of the codes, (batch, \\*positions).
        decode: such numbers, (n, \\*positions) int64, to p(x|codes), as of :func:`nelbo.wrap`.
        codes: the number of codes K; where the codebooks on the last axis of the codes differ, as in a residual
            quantizer, one number for each of them. None takes it from the model's codebook.
        likelihood: p(x|codes), as of :func:`nelbo.wrap`: half a squared error is ``Normal(1.0)``.
        prior: p(codes); None is uniform, log K nats for each position. A torch distribution over (positions,), or a
            function from codes (n, \\*positions) to log p (n,), such as an autoregressive model.
        output: what decode gives, as of :func:`nelbo.wrap`.
        axis: likewise.
        module: the nn.Modules behind encode and decode, where they are hidden from it.

    Returns:
        Coded: a model with ``.indices(x)``, ``.conclusions`` and all of :class:`nelbo.Model`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the parts do not fit, or something cannot be known; the message says what to write.
    """
    check_x(x)
    notes: list[Conclusion] = []
    found = None
    if model is not None:
        if encode is not None or decode is not None:
            raise TypeError("give a model, or encode and decode, not both; write nelbo.wrap_codes(model, x=x)")
        found = quantizer_of(model, placed_as(x, weight_of(model)))
        encode, decode, module = found.encode, found.decode, module or found.holder
        notes += found.notes
        if codes is None and found.codes is not None:
            codes = found.codes
    if not callable(encode) or not callable(decode):
        raise TypeError(
            "wrap_codes() needs a model, or encode and decode; write nelbo.wrap_codes(model, x=x), or "
            "nelbo.wrap_codes(encode=..., decode=..., codes=512, x=x, likelihood=nelbo.likelihoods.Normal(1.0))"
        )
    if codes is None:
        raise ValueError("the number of codes is not known; write codes= the size of the codebook, such as codes=512")
    modules = (module,) if isinstance(module, nn.Module) else tuple(module or modules_behind(encode, decode))
    x = placed_as(x, first_tensor(p for m in modules for p in m.parameters()))
    with torch.no_grad(), own_randomness(x.device), in_mode(modules, training=False):
        numbers = _numbers_of(encode, x)
        shape = numbers.shape[1:]
        sizes, books = _codebooks(codes, shape, x.device)
        z = numbers.flatten(1).float()

        def nearest(z: Tensor) -> Any:  # what is given is probed with any numbers
            return decode((z.round().long() % sizes).reshape(-1, *shape))

        side = decoder.infer(nearest, x, z, likelihood, output, axis=axis, assume=found is not None)
    K = ", ".join(map(str, sorted(set(sizes.tolist()))))
    notes.append(Conclusion("codes", f"{tuple(shape)} of {K} for each example", _SIZE_KNOWN[found is None]))
    why = "prior= was not given" if prior is None else "prior= says so"
    notes.append(Conclusion("p(z)", "uniform codes" if prior is None else describe(prior), why))

    def of_codes(z: Tensor) -> Any:
        return decode(z.round().long().reshape(-1, *shape))

    view = Coded(
        encode,
        dataclasses.replace(side.side, function=of_codes),
        shape=shape,
        sizes=sizes,
        books=books,
        modules=modules,
        likelihood=copy.deepcopy(side.likelihood).to(x.device),
        prior=checked_prior(prior, shape.numel(), x.device),
        conclusions=(*notes, *side.notes, *modes_of(modules)),
    )
    view.check_codes(z)
    view.conclusions += settled(view, x)
    if found is not None:
        view.conclusions += (_self_test(found, x, numbers, view.decoding),)
    return view


def _self_test(found: Quantizer, x: Tensor, numbers: Tensor, side: DecoderSide) -> Conclusion:
    """The model's own reconstruction beside what it gives with its own codes put in place, another x in front.

    Raises:
        ValueError: they differ, so that the reconstruction hangs on more than these codes.
    """
    with torch.no_grad(), in_mode((found.holder,), training=False):
        own, given = (in_float(side.place.read(answer)) for answer in (found.run(x), found.decode(numbers)))
    gap, size = float((own - given).abs().max()), float(own.abs().max())
    if gap > _ERROR * size:
        raise ValueError(
            f"the codes of {describe(found.module)} alone do not give the model's own reconstruction: it differs by "
            f"up to {gap:.2g}. Something else of x reaches the decoder, such as another quantizer; write "
            "nelbo.wrap_codes(encode=..., decode=..., codes=K, x=x), with encode giving the indices of all of them"
        )
    fact = "the model's own reconstruction is what it decodes of these codes"
    return Conclusion("self-test", fact, f"they differ by {gap:.2g} at most")


_ERROR = 1e-3  # relative, of numbers that differ by rounding alone


_SIZE_KNOWN = {False: "the codebook, or codes=, says so", True: "codes= says so"}


def _numbers_of(encode: Function, x: Tensor) -> Tensor:
    """What encode gives, checked: (n, \\*positions) whole numbers that follow the examples."""
    numbers = encode(x)
    got = numbers if isinstance(numbers, Tensor) else None
    if got is None or got.is_floating_point() or got.dim() < 2 or len(got) != len(x):
        words = type(numbers).__name__ if got is None else f"{got.dtype} of shape {tuple(got.shape)}"
        raise ValueError(
            f"encode must give whole numbers, the codes, of shape ({len(x)}, *positions), got {words}; write encode= "
            "a function that returns just the indices, such as encode=lambda x: model.encode(x)[1]"
        )
    if not torch.equal(encode(x.flip(0)).flip(0), got):
        raise ValueError(
            "encode gives an example other codes among other examples; put the axis of the examples first, and the "
            "model in evaluation mode"
        )
    return got.long()


def _codebooks(codes: int | Sequence[int], shape: torch.Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """The number of codes and the number of the codebook at each position, (positions,) each."""
    sizes = torch.as_tensor(codes, device=device)
    if sizes.dim() > 1 or sizes.is_floating_point() or bool((sizes < 1).any()) or bool((sizes > _EXACT).any()):
        raise ValueError(f"codes must be whole numbers from 1 to {_EXACT:,}, got {codes}; write codes=512")
    if sizes.dim() and len(sizes) != shape[-1]:
        raise ValueError(
            f"codes has {len(sizes)} numbers, and the last axis of the codes {tuple(shape)} has {shape[-1]}; write one "
            "number, or one for each codebook on the last axis"
        )
    books = torch.arange(sizes.numel(), device=device) if sizes.dim() else torch.zeros((), device=device)
    return sizes.expand(shape).flatten().clone(), books.long().expand(shape).flatten().clone()
