"""wrap(): look at somebody's encode and decode, conclude what they return, and make a view of them."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from nelbo.foreign import decoder_side, encoder_side
from nelbo.foreign.conclusion import Conclusion
from nelbo.foreign.encoding import LOG_SIGMA, Second
from nelbo.foreign.given import as_prior
from nelbo.foreign.modules import Function, first_tensor, in_mode, modules_behind, noisy
from nelbo.foreign.view import Wrapped, as_weights
from nelbo.likelihoods import Likelihood
from nelbo.priors import Prior


def wrap(
    *,
    encode: Function,
    decode: Function,
    x: Tensor,
    likelihood: Likelihood | None = None,
    prior: Prior | Distribution | None = None,
    latent: int | None = None,
    second: Second | None = None,
    output: str | None = None,
    module: nn.Module | Sequence[nn.Module] | None = None,
    forward: Callable[[Tensor], Any] | None = None,
) -> Wrapped:
    """A view of anyone's VAE as a :class:`nelbo.VAE`: nelbo.loss, measure, diagnose, compare and the studio take it.

    What encode and decode return is found out by running them on x and stated in ``.conclusions``; where it cannot be
    known, an error asks for the argument that says it. The model is not changed; it is run in evaluation mode, and
    its modules have their own mode back after each call.

    >>> import torch, nelbo
    >>> encoder, decoder = torch.nn.Linear(6, 4), torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Sigmoid())
    >>> x = torch.bernoulli(torch.full((50, 6), 0.5))
    >>> vae = nelbo.wrap(
    ...     encode=lambda x: encoder(x).chunk(2, dim=1), decode=decoder, x=x, second="logvar",
    ...     likelihood=nelbo.likelihoods.Bernoulli(),
    ... )
    >>> nelbo.loss(vae, x).nelbo.shape
    torch.Size([50])

    Args:
        encode: x (batch, \\*event) to q(z|x): (mu, logvar), (mu, sigma), (mu, variance), a distribution, a dict, an
            object with fields, or one tensor of both halves. ``encode=model.encode`` is better than a lambda around
            it: then its loss can be weighed too.
        decode: z (n, latent) to p(x|z): probabilities, logits, means, rates, as images or vectors, or a distribution.
        x: (batch, \\*event), some examples as the model was trained on, 50 or more are best.
        likelihood: p(x|z), such as ``nelbo.likelihoods.Bernoulli()`` for binary cross-entropy or
            ``nelbo.likelihoods.Normal(1.0)`` for half the squared error; not needed where decode returns a
            distribution.
        prior: p(z); N(0, I) if None.
        latent: number of latent dimensions; asked for where encode returns one tensor.
        second: on which scale encode gives the spread: "logvar", "log_sigma", "sigma", "variance" or "softplus".
        output: what decode gives, by a name in ``likelihood.readings``: "logits" or "probabilities", "log_rates" or
            "rates", "mean".
        module: the nn.Modules behind encode and decode, where they are hidden from it.
        forward: runs the whole model on x, to see how it draws z; the module itself if None.

    Returns:
        Wrapped: a nelbo.VAE with ``.conclusions``, ``.sampling`` and ``.networks``.

    Raises:
        TypeError: an argument is not what it should be.
        ValueError: the parts do not fit, or something cannot be known; the message says what to write.
    """
    _check(encode=encode, decode=decode, x=x, second=second)
    modules = (module,) if isinstance(module, nn.Module) else tuple(module or modules_behind(encode, decode))
    weight = first_tensor(p for m in modules for p in m.parameters())
    notes: list[Conclusion] = []
    if weight is not None:
        given = x.dtype
        x = as_weights(x, weight, "x")
        if x.dtype != given:
            notes.append(Conclusion("x", f"read as {x.dtype}", f"the weights are, and x holds {given}"))
    with torch.no_grad(), torch.random.fork_rng([]), in_mode(modules, training=False):
        torch.default_generator.manual_seed(0)
        encoded = encoder_side.conclude(encode, x, latent, second, decode, modules, forward)
        latent_size = encoded.mean[0].numel()
        if latent is not None and latent != latent_size:
            raise ValueError(
                f"encode gives means of shape {tuple(encoded.mean.shape)}, so latent={latent_size}, not {latent}; "
                "leave latent= out"
            )
        family = as_prior(prior, latent_size)
        if family.latent != latent_size:
            raise ValueError(f"the prior is over {family.latent} latent dimensions and encode gives {latent_size}")
        decoded = decoder_side.conclude(decode, x, encoded.mean, likelihood, output)
    because = "prior= was not given" if prior is None else "prior= says so"
    what = f"N(0, I) in {latent_size} dimensions" if prior is None else type(prior).__name__
    notes += [*encoded.notes, Conclusion("p(z)", what, because), *decoded.notes, *_modes(modules)]
    # its own copy: an optimal sigma is set to this model's residuals
    view = Wrapped(
        encoded.side,
        decoded.side,
        modules=modules,
        latent=latent_size,
        likelihood=copy.deepcopy(decoded.likelihood),
        prior=family,
        posterior=encoded.family(latent_size),
        conclusions=tuple(notes),
        sampling=encoded.sampling,
    )
    px = view.px_family
    if not px.adapted:
        with torch.no_grad(), torch.random.fork_rng([]):
            torch.default_generator.manual_seed(0)
            px.adapt(view.likelihood(view.posterior(x).sample()), x)
        if px.sigma is not None:
            because = "Normal('optimal') has the root mean square residual, here of x; Normal(sigma) gives another"
            view.conclusions += (Conclusion("p(x|z)", f"sigma = {px.sigma:.4g}", because),)
    return view


def _check(*, encode: Any, decode: Any, x: Any, second: Any) -> None:
    for name, function in (("encode", encode), ("decode", decode)):
        if not callable(function):
            raise TypeError(
                f"{name} is a function or a module, got {type(function).__name__}; write {name}=model.{name}"
            )
    if not isinstance(x, Tensor):
        raise TypeError(f"x is a batch of examples as a tensor, got {type(x).__name__}; write x=torch.as_tensor(x)")
    if x.dim() < 2 or len(x) < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (batch, *event) with two or more examples")
    if second is not None and second not in LOG_SIGMA:
        raise ValueError(f"second must be one of {', '.join(map(repr, LOG_SIGMA))}; got {second!r}")


def _modes(modules: tuple[nn.Module, ...]) -> list[Conclusion]:
    if not modules:
        return [Conclusion("mode", "the model is run as it is", "no module was found behind encode and decode")]
    layers = noisy(modules)
    if layers and any(module.training for module in modules):
        found = "the model is in training mode; the view runs it in evaluation mode and sets it back each time"
        return [Conclusion("mode", found, f"it holds {' and '.join(layers)}, by which its numbers would vary")]
    return []
