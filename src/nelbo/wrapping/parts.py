"""The parts of a model that is handed over whole: what encodes, what decodes, and how it is run.

An interface is told by its attributes and by what it answers, never by the name of a class.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.likelihoods import Bernoulli, Likelihood, Normal
from nelbo.wrapping import encoding
from nelbo.wrapping.answers import is_diagonal_normal, leaves
from nelbo.wrapping.encoder_side import failed
from nelbo.wrapping.given import Conclusion
from nelbo.wrapping.modules import (
    Function,
    Through,
    as_it_takes,
    as_whole,
    describe,
    in_mode,
    intercepted,
    restoring,
    without_trace,
)

_ENCODES = ("encode", "encoder", "inference", "enc")
_DECODES = ("decode", "decoder", "generative", "dec", "generator")
_HOLDERS = ("_orig_mod", "module", "model", "net", "network", "vae")
_CONFIGURATIONS = ("model_config", "config", "hparams")
_ERRORS: dict[str, Callable[[], Likelihood]] = {
    "mse": lambda: Normal(1.0),
    "bce": Bernoulli,
}


@dataclass(frozen=True)
class Parts:
    """The parts of a model.

    Attributes:
        module: the module that holds them.
        encode: x, or x and c, to q(z|x).
        decode: z, or z and c, to p(x|z).
        runs: ways to run the whole model on x, to be tried in turn.
        configured: p(x|z), where the model's configuration names its error, and what is said of it.
        notes: what was concluded.
    """

    module: nn.Module
    encode: Function
    decode: Function
    runs: tuple[Callable[[Tensor], Any], ...]
    configured: tuple[Likelihood, Conclusion] | None
    notes: tuple[Conclusion, ...]


def parts_of(model: Any, x: Tensor, c: Tensor | None, latent: int | None) -> Parts:
    """Find what encodes and decodes in a model.

    Args:
        model: a module, or an object that holds one, such as a fitted detector.
        x: (batch, \\*event).
        c: (batch, \\*condition), of a conditional model.
        latent: number of latent units, where the user gives it.

    Raises:
        TypeError: nothing in it encodes or decodes.
        ValueError: what it answers cannot be read; the message says what to write.
    """
    holder = holder_of(model)
    _check_standardized(model, x)
    notes: list[Conclusion] = []
    if holder is not model:
        notes.append(Conclusion("model", f"{describe(holder)} is what encodes and decodes", "the rest holds it"))
    runs = tuple(runs_of(holder, c))
    with torch.no_grad(), without_trace(holder, first=True), in_mode((holder,), training=False):
        encode, mean = _encode(holder, runs, x, c, latent)
        decode = _decode(holder, mean, c) or _listened(holder, runs, x, mean)
    if decode is None:
        raise TypeError(
            f"{describe(holder)} has nothing that takes z of shape {tuple(mean.shape)} and gives x: no "
            f"{', '.join(_DECODES[:2])}, and no module that its forward runs on a z; write nelbo.wrap(encode=..., "
            "decode=..., x=x)"
        )
    notes.append(Conclusion("model", f"{describe(encode)} encodes and {describe(decode)} decodes", "each was run"))
    return Parts(holder, encode, decode, runs, _configured(holder, model), (*notes, *_latent_scaling(holder)))


def holder_of(model: Any) -> nn.Module:
    """The module that encodes and decodes: the model, or what it holds, as compiled and parallel models do.

    Raises:
        TypeError: there is none.
    """
    candidate, seen = model, 0
    while seen < 4:
        inner = next((held for name in _HOLDERS if _holds_parts(candidate, held := _own(candidate, name))), None)
        parts = _has_parts(candidate)
        forwards = isinstance(candidate, nn.Module) and _own(candidate, "_orig_mod") is None
        if forwards and ((parts and not _passes_on(candidate)) or inner is None):
            return candidate
        if inner is None:
            break
        candidate, seen = inner, seen + 1
    if callable(getattr(model, "fit", None)) and not any(isinstance(v, nn.Module) for v in _attributes(model)):
        raise TypeError(f"{type(model).__name__} holds no module yet; fit it first, then wrap it")
    held = [name for name, value in getattr(model, "__dict__", {}).items() if isinstance(value, nn.Module)]
    raise TypeError(
        f"model must be an nn.Module that encodes and decodes, or hold one, got {type(model).__name__}"
        + (f", which holds only {', '.join(held)}: what encodes x is not kept in it" if held else "")
        + "; write nelbo.wrap(encode=..., decode=..., x=x, likelihood=...) with the two modules"
    )


def _check_standardized(model: Any, x: Tensor) -> None:
    """A ValueError where a detector standardizes x before its network, and x is not standardized."""
    mean, std = getattr(model, "X_mean", None), getattr(model, "X_std", None)
    if mean is None or std is None:
        return
    center, scale = (torch.as_tensor(value).to(x) for value in (mean, std))
    raw = ((x.mean(0) - center) / scale).abs().mean() + (x.std(0) / scale).log().abs().mean()
    standardized = x.mean(0).abs().mean() + x.std(0).log().abs().mean()
    if raw < standardized:
        raise ValueError(
            f"{type(model).__name__} standardizes x before its network sees it, and this x is not standardized; write "
            "x=(x - torch.as_tensor(detector.X_mean).float()) / torch.as_tensor(detector.X_std).float(), and give the "
            "view such x afterwards"
        )


def _attributes(model: Any) -> Iterable[Any]:
    return vars(model).values() if hasattr(model, "__dict__") else ()


def _own(candidate: Any, name: str) -> Any:
    """An attribute that an object itself holds, not one that it passes on."""
    if isinstance(candidate, nn.Module):
        return candidate._modules.get(name)  # pyright: ignore[reportPrivateUsage]
    return getattr(candidate, name, None)


def _has_parts(candidate: Any) -> bool:
    return any(callable(getattr(candidate, name, None)) for name in (*_ENCODES, *_DECODES))


def _holds_parts(candidate: Any, held: Any) -> bool:
    """Whether what a candidate holds may be the model, and no layers of a model that the candidate is."""
    if not isinstance(held, nn.Module):
        return False
    if not isinstance(candidate, nn.Module):
        return True
    weighted = [child for child in candidate.children() if any(True for _ in child.parameters())]
    if weighted == [held]:  # beside losses and metrics
        return True
    return any(_has_parts(module) for module in held.modules())


def _passes_on(candidate: nn.Module) -> bool:
    """Whether a module only runs another one: its attributes are those of that one."""
    names = list(candidate._modules)  # pyright: ignore[reportPrivateUsage]
    return len(names) == 1 and names[0] in ("module", "_orig_mod")


# the ways to run a model


def runs_of(holder: nn.Module, c: Tensor | None = None) -> Iterator[Callable[[Tensor], Any]]:
    """Ways to run a whole model on x, to be tried in turn."""
    names = list(inspect.signature(type(holder).forward).parameters)[1:]
    options = {"sample_posterior": True} if "sample_posterior" in names else {}
    forward = partial(holder, **options) if options else holder
    if c is not None:
        yield lambda x: forward(x, _rows(c, x))
    yield forward
    yield lambda x: forward({"data": x})
    if c is not None and {"inference", "generative"} <= set(dir(holder)):  # tensors by their names in a registry
        yield lambda x: forward(
            {"X": x, "batch": _first_column(_rows(c, x), x), "labels": torch.zeros(len(x), 1, device=x.device)}
        )
    step = getattr(holder, "training_step", None)
    if callable(step):
        yield lambda x: step((x, torch.zeros(len(x), dtype=torch.long, device=x.device)), 0)
        yield lambda x: step((x,), 0)
        yield lambda x: step(x, 0)
        yield lambda x: step((as_whole(x), torch.zeros(len(x), dtype=torch.long, device=x.device)), 0)
        yield lambda x: step(as_whole(x), 0)
    if c is not None:
        yield lambda x: forward(as_whole(x), _rows(c, x))
    yield lambda x: forward(as_whole(x))


def _rows(c: Tensor, x: Tensor) -> Tensor:
    """The conditions of examples that are repeated."""
    return c[torch.arange(len(x), device=c.device) % len(c)]


# encode


def _encode(
    holder: nn.Module, runs: tuple[Callable[[Tensor], Any], ...], x: Tensor, c: Tensor | None, latent: int | None
) -> tuple[Function, Tensor]:
    """The first candidate whose answer holds a mean and a spread, and the mean."""
    given = () if c is None else (c,)
    reasons: list[str] = []
    tried: list[Function] = []
    for candidate in _candidates(holder, _ENCODES, c, _through_inference):
        function = as_it_takes(candidate, x, c)
        if tried and candidate is not holder and not _is_given(tried[0], candidate, x, given):
            reasons.append(f"{describe(function)}: {describe(tried[0])} gives it something other than x")
            continue
        try:
            return function, _mean(function, x, c, latent)
        except Exception as error:
            reasons.append(f"{describe(function)}: {error}")
            tried.append(function)
        with suppress(Exception):
            output = function(x, *given)
            if latent is None and (half := _half(holder, output, c)) is not None and _shows_halves(runs, x, output):
                return function, _mean(function, x, c, half)
    for function in tried if latent is None else ():
        with suppress(Exception):
            half = _half(holder, function(x, *given), c)
            if half is not None:
                return function, _mean(function, x, c, half)
    message = "; or ".join(reasons)
    codebook = " A model with a codebook (VQ, FSQ) has codes in place of q(z|x): write nelbo.wrap_codes(model, x=x)."
    raise ValueError(
        f"no mean and spread of q(z|x) were found in what {describe(holder)} gives: {message}. Write "
        f"nelbo.wrap(encode=..., decode=..., x=x).{codebook}"
    )


def _half(holder: nn.Module, output: Any, c: Tensor | None) -> int | None:
    """The number of latents, or channels, that decode takes of one tensor that holds twice as many."""
    decodes = _candidates(holder, _DECODES, c, _through_generative)
    return encoding.halved(output, decodes, () if c is None else (c,))


def _shows_halves(runs: tuple[Callable[[Tensor], Any], ...], x: Tensor, output: Tensor) -> bool:
    """Whether the whole model gives both halves of encode's one tensor, as its mean and its spread."""
    for run in runs:
        with suppress(Exception):
            given = [t.flatten() for t in leaves(run(x)).values()]
            halves = [half.flatten() for half in output.chunk(2, 1)]
            return all(any(t.shape == half.shape and torch.allclose(t, half) for t in given) for half in halves)
    return False


def _is_given(outer: Function, inner: Any, x: Tensor, given: tuple[Tensor, ...]) -> bool:
    """Whether an encode that could not be read gives x itself to what lies within it, if it calls that at all."""
    seen: list[Tensor] = []

    def listen(args: tuple[Any, ...], output: Any) -> Any:
        seen.extend(leaves(args).values())
        return output

    try:
        with intercepted(inner, listen, (outer,)):
            outer(x, *given)
    except Exception:  # nothing is known
        return True
    return not seen or any(t.numel() == x.numel() and torch.equal(t.flatten().to(x), x.flatten()) for t in seen)


def _candidates(
    holder: nn.Module, names: tuple[str, ...], c: Tensor | None, adapt: Callable[[Any], Function | None]
) -> Iterator[Function]:
    for name in names:
        function = getattr(holder, name, None)
        if callable(function):
            yield adapt(function) or function
    if names is _ENCODES:  # forward, which may give the mean and the spread beside the reconstruction
        yield holder


def _through_inference(function: Any) -> Function | None:
    """An inference of x and the batch, as models of single cells have it, at c = (batch, log library size)."""
    if not {"x", "batch_index"} <= set(_parameters(function)):
        return None

    def call(x: Tensor, c: Tensor | None = None) -> Any:
        return function(x=x, batch_index=_first_column(c, x))

    return Through(function, call)


def _through_generative(function: Any) -> Function | None:
    if not {"z", "library", "batch_index"} <= set(_parameters(function)):
        return None

    def call(z: Tensor, c: Tensor | None = None) -> Any:
        if c is None or c.shape[1:] != (2,):
            got = "none" if c is None else f"shape {tuple(c.shape)}"
            raise ValueError(
                f"p(x|z) depends on the batch and the library size of each cell, got {got}; write nelbo.wrap(model, "
                "x=x, c=torch.stack([batch, x.sum(1).log()], 1)), and nelbo.data.Batch(x, c=c) in place of x afterwards"
            )
        return function(z=z, library=c[:, 1:], batch_index=_first_column(c, z))

    return Through(function, call)


def _parameters(function: Any) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()


def _first_column(c: Tensor | None, like: Tensor) -> Tensor:
    return (like.new_zeros(len(like), 1) if c is None else c[:, :1].round()).long()


def _mean(function: Function, x: Tensor, c: Tensor | None, latent: int | None) -> Tensor:
    """The mean in what a function of x gives."""
    given = () if c is None else (c,)
    first: Exception | None = None
    for inputs in (x, x.flatten(1), {"data": x}) if x.dim() > 2 else (x, {"data": x}):
        try:
            output, again = function(inputs, *given), function(inputs, *given)
        except Exception as error:
            first = first or error
            continue
        if isinstance(output, torch.distributions.Distribution) and not is_diagonal_normal(output):
            return output.mean
        layout, _ = encoding.find_layout(output, again, len(x), latent)
        return layout.read(output)[0]
    raise ValueError(failed(x, first or ValueError("no input fits"))) from first


# decode


def _decode(holder: nn.Module, mean: Tensor, c: Tensor | None) -> Function | None:
    given = () if c is None else (c,)
    for candidate in _candidates(holder, _DECODES, c, _through_generative):
        function = as_it_takes(candidate, mean, c)
        try:
            function(mean, *given)
        except Exception as error:
            if isinstance(candidate, Through):
                raise
            del error
            continue
        return function
    return None


def _listened(
    holder: nn.Module, runs: tuple[Callable[[Tensor], Any], ...], x: Tensor, mean: Tensor
) -> nn.Module | None:
    """The first module within that the model runs on a tensor of z's shape and that answers with numbers for x.

    Where the model shows its reconstruction, they are that, or that before a sigmoid: no layer in the middle.
    """
    for module in (part for part in holder.modules() if part is not holder):
        seen: list[tuple[Tensor, Any]] = []

        def listen(args: tuple[Any, ...], output: Any, seen: list[tuple[Tensor, Any]] = seen) -> Any:
            if args and isinstance(args[0], Tensor):
                seen.append((args[0], output))
            return output

        shown: list[Tensor] = []
        with restoring((holder,)), intercepted(module, listen):
            for run in runs:
                try:
                    shown = [t for t in leaves(run(x)).values() if t.numel() == x.numel() and t is not x]
                    break
                except Exception:
                    seen.clear()
        for z, output in seen:
            given = [t for t in leaves(output).values() if t.numel() and t.numel() % x.numel() == 0]
            if z.shape == mean.shape and any(not shown or _gives(t, shown) for t in given):
                return module
    return None


def _gives(output: Tensor, shown: list[Tensor]) -> bool:
    """Whether a tensor with k numbers for each feature, or its sigmoid, holds one of those that a model shows."""
    k = output.numel() // shown[0].numel()
    parts = (output,) if k == 1 else (*output.chunk(k, 1), *output.chunk(k, -1))
    flat = [value.float().flatten() for part in parts for value in (part, part.sigmoid())]
    return any(a.shape == (b.numel(),) and torch.allclose(a, b.float().flatten()) for a in flat for b in shown)


# what a model says of itself


def _configured(*holders: Any) -> tuple[Likelihood, Conclusion] | None:
    """p(x|z) by the error that the model's configuration names."""
    for holder in holders:
        for name in _CONFIGURATIONS:
            error = _setting(getattr(holder, name, None), "reconstruction_loss")
            if isinstance(error, str) and error.lower() in _ERRORS:
                likelihood = _ERRORS[error.lower()]()
                sigma = "" if likelihood.sigma is None else f" with sigma = {likelihood.sigma:g}"
                because = f"{name}.reconstruction_loss is {error!r}; likelihood= says another"
                return likelihood, Conclusion("p(x|z)", f"{type(likelihood).__name__}{sigma}", because)
    return None


def _latent_scaling(holder: nn.Module) -> list[Conclusion]:
    """The numbers by which others scale the latents, which are no part of p(x|z) or q(z|x)."""
    factor = _setting(getattr(holder, "config", None), "scaling_factor")
    if factor is None:
        return []
    fact = f"those of encode, before the scaling factor {factor} that a model of the latents multiplies them with"
    return [Conclusion("z", fact, "decode takes them unscaled")]


def _setting(configuration: Any, name: str) -> Any:
    if isinstance(configuration, Mapping):
        return configuration.get(name)
    return getattr(configuration, name, None)
