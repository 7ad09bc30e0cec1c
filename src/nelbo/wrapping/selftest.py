"""The model's own reconstruction and loss compared with those of its view, at the same draws of z."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nelbo.divergences import closed_form
from nelbo.randomness import own_randomness, seed_noise
from nelbo.wrapping.answers import leaves, name_of
from nelbo.wrapping.given import Conclusion
from nelbo.wrapping.modules import first_tensor, in_float, in_mode, intercepted, restoring

_ERROR = 1e-3  # relative, of numbers that differ by rounding alone


def self_test(view: Any, runs: Sequence[Callable[[Tensor], Any]], x: Tensor) -> tuple[Conclusion, ...]:
    """What the model answers when it is run as a whole, and whether the view agrees with it.

    Args:
        view: a :class:`nelbo.wrapping.view.Wrapped`; of a conditional model, at the condition of x.
        runs: ways to run the whole model, to be tried in turn.
        x: (batch, \\*event).

    Returns:
        conclusions about what encode is given, where that is not x, and about the reconstruction and the loss, where
        the model gives them.
    """
    seen: list[tuple[Tensor, Any]] = []
    encoded: list[tuple[Any, ...]] = []
    told: tuple[Conclusion, ...] = ()

    def listen(args: tuple[Any, ...], output: Any) -> Any:
        z = first_tensor(args)
        if z is not None:
            seen.append((z, output))
        return output

    def note(args: tuple[Any, ...], output: Any) -> Any:
        encoded.append(args)
        return output

    with torch.no_grad(), own_randomness(x.device), restoring(view.networks), in_mode(view.networks, training=False):
        for run in runs:
            seen.clear()
            encoded.clear()
            try:
                seed_noise(x.device, 0)
                with contextlib.ExitStack() as listening:
                    listening.enter_context(intercepted(view.decoding.function, listen, (run,)))
                    with contextlib.suppress(ValueError):  # an encode that the model does not look up
                        listening.enter_context(intercepted(view.encoding.function, note, (run,)))
                    answer = run(x)
            except Exception:  # another way may do; that none does is said of the draws of z
                continue
            if len(seen) == 1 and len(seen[0][0]) == len(x):
                return (*_given(encoded, x), *_compared(view, x, answer, *seen[0]))
            told = told or _given(encoded, x)
    return told


def _given(calls: Sequence[tuple[Any, ...]], x: Tensor) -> tuple[Conclusion, ...]:
    """What is said where no call of encode was given x."""
    values = [t for args in calls for t in leaves(args).values() if t.is_floating_point()]
    same = [t for t in values if t.numel() == x.numel()]
    size = float(x.abs().max()) or 1.0
    if not values or any(float((t - x.to(t.dtype).reshape(t.shape)).abs().max()) <= _ERROR * size for t in same):
        return ()
    given = same[0] if same else values[0]
    fact = "encode is given something other than x: what the model encodes DIFFERS from what the view does"
    because = (
        f"a tensor of shape {tuple(given.shape)} with mean {float(given.mean()):.3g} and standard deviation "
        f"{float(given.std()):.3g} reaches it, and x has shape {tuple(x.shape)}, {float(x.mean()):.3g} and "
        f"{float(x.std()):.3g}: give wrap and the view x as it reaches encode"
    )
    return (Conclusion("self-test", fact, because),)


def _compared(view: Any, x: Tensor, answer: Any, z: Tensor, decoded: Any) -> tuple[Conclusion, ...]:
    px = view.likelihood(z.flatten(1))
    return (*_reconstruction(view, x, answer, px, decoded), *_loss(view, x, answer, z, px))


def _reconstruction(view: Any, x: Tensor, answer: Any, px: Any, decoded: Any) -> tuple[Conclusion, ...]:
    inputs = [
        t for t in leaves(answer).values() if t.numel() == x.numel() and not torch.equal(t.flatten(), x.flatten())
    ]
    if not inputs:
        return ()
    own = in_float(inputs[0]).reshape(x.shape)
    given = view.decoding.place.read(decoded)
    others = {"what decode gives": given if isinstance(given, Tensor) else None}
    with contextlib.suppress(NotImplementedError):
        others["the mean of this p(x|z)"] = px.mean
    size = float(own.abs().max()) or 1.0
    gaps = {
        name: float((own - in_float(value).reshape(x.shape)).abs().max())
        for name, value in others.items()
        if value is not None and value.numel() == x.numel()
    }
    if not gaps:
        return ()
    name = min(gaps, key=gaps.__getitem__)
    if gaps[name] <= _ERROR * size:
        because = f"at the same z they differ by {gaps[name]:.2g} at most"
        return (Conclusion("self-test", f"the model's own reconstruction is {name}", because),)
    fact = f"the model's own reconstruction DIFFERS from {name} by up to {gaps[name]:.2g}"
    return (Conclusion("self-test", fact, "more happens to it than decode does: pass what gives it as decode="),)


def _loss(view: Any, x: Tensor, answer: Any, z: Tensor, px: Any) -> tuple[Conclusion, ...]:
    named = [
        t for path, t in leaves(answer).items() if t.numel() == 1 and name_of(answer, path) in ("loss", "total_loss")
    ]
    if isinstance(answer, Tensor) and answer.numel() == 1:
        named = [answer]
    if not named:
        return ()
    own = float(named[0])
    error = -float(px.log_prob(x.reshape(len(x), *px.event_shape)).double().mean())
    qz, pz = view.posterior(x), view.prior
    divergence = closed_form(qz, pz)
    if divergence is None:
        divergence = qz.log_prob(z.flatten(1)) - pz.log_prob(z.flatten(1))
    cost = float(divergence.double().mean())
    # the constants of a normal density, which most people leave out
    least = -float(px.log_prob(px.mean).double().mean()) if view.px_family.sigma is not None else 0.0
    numbers = f"it is {own:.6g}, and the reconstruction error {error:.6g} + KL {cost:.6g} nats per example"
    for total, words in ((error + cost, ""), (error - least + cost, ", without the constants of the normal density")):
        if abs(own - total) <= _ERROR * max(abs(total), 1.0):
            return (Conclusion("self-test", f"the model's own loss is the negative ELBO{words}", numbers),)
    fact = "the model's own loss DIFFERS from the negative ELBO; nelbo.diagnosis.effective_beta measures how"
    return (Conclusion("self-test", fact, numbers),)
