"""Outputs of the networks that are not free: activations where none belongs, heads that are one, constants."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Normal

from nelbo import latents
from nelbo.devices import uncompiled
from nelbo.diagnosis.case import Case
from nelbo.diagnosis.checks.collapse import pays
from nelbo.diagnosis.registry import NotApplicable, Verdict, check, found, measured, passed
from nelbo.diagnosis.significance import factor_gain
from nelbo.wrapping.encoding import LOG_STD, Spread
from nelbo.wrapping.view import Wrapped

_FEW = 200  # examples that are looked at


class Activation(NamedTuple):
    """The last thing that is done to an output of a network."""

    name: str
    low: float
    """The values that it can give lie between these two."""
    high: float


_RANGES: dict[str, tuple[float, float]] = {
    "Relu": (0.0, math.inf),
    "Softplus": (0.0, math.inf),
    "Exp": (0.0, math.inf),
    "Abs": (0.0, math.inf),
    "Silu": (-0.2785, math.inf),
    "Mish": (-0.3088, math.inf),
    "Gelu": (-0.17, math.inf),
    "Hardswish": (-0.375, math.inf),
    "Sigmoid": (0.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "LogSigmoid": (-math.inf, 0.0),
    "LogSoftmax": (-math.inf, 0.0),
}
"""Functions by torch's name of their gradient, and the values that they give."""
_SAVED: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "Elu": lambda node: (-node._saved_alpha * node._saved_scale, None),
    "Hardtanh": lambda node: (node._saved_min_val, node._saved_max_val),
    "Clamp": lambda node: (node._saved_min, node._saved_max),
    "ClampMin": lambda node: (node._saved_min, None),
    "ClampMax": lambda node: (None, node._saved_max),
}
"""The same of functions whose bounds are arguments."""
_FORMS = {
    "View", "UnsafeView", "ReshapeAlias", "AsStrided", "Transpose", "T", "Permute", "Squeeze", "Unsqueeze", "Expand",
    "Slice", "Select", "Split", "SplitWithSizes", "Narrow", "Clone", "ToCopy", "Alias", "Unbind", "Index", "Cat",
}  # fmt: skip
"""What changes the shape of a tensor and none of its values; of what is joined, the first is looked at."""


def _activation(output: Tensor) -> Activation | None:
    """The function that gave a tensor its values, if it bounds them; None of a linear layer's output."""
    node: Any = output.grad_fn
    while node is not None:
        name = type(node).__name__.rstrip("0123456789").removesuffix("Backward")
        if name in _RANGES:
            return Activation(name.lower(), *_RANGES[name])
        if name in _SAVED:
            low, high = _SAVED[name](node)
            return Activation(
                name.lower(), -math.inf if low is None else float(low), math.inf if high is None else float(high)
            )
        if name not in _FORMS or not node.next_functions:
            return None
        node = node.next_functions[0][0]
    return None


class _Outputs(NamedTuple):
    """What the networks give for the first examples, with the graph that gave it."""

    view: Wrapped
    mean: Tensor
    spread: Tensor
    decoded: Any


def _outputs(case: Case) -> _Outputs:
    rows = case.budget.at_most(min(_FEW, len(case.train)), "examples for activations", share=0.05, pairs=1.5, least=4)
    few = case.train[:rows]
    view = case.wrapped if not case.train.conditional else None
    if view is None or view.encoding.layout is None:
        raise NotApplicable("needs an encoder without a condition that gives the two numbers of a diagonal normal")
    with torch.enable_grad(), uncompiled(), view.running():
        mean, spread = view.encoding.layout.read(view.encoding.call(_followed(few.x)))
        decoded = view.decoding.place.read(view.decoding.call(_followed(few.z)))
    return _Outputs(view, mean, spread, decoded)


def _followed(values: Tensor) -> Tensor:
    """The values as an input whose way through a network torch writes down."""
    return values.detach().requires_grad_(values.is_floating_point())


@check("encoder-activation")
def encoder_activation(case: Case) -> Verdict:
    case.need_standard_normal_prior()
    out = case.once(_outputs)
    mean, spread = _activation(out.mean), _activation(out.spread)
    low, high = out.mean.detach().aminmax()
    numbers = (measured("smallest mean of q(z|x)", low, unit=""), measured("largest", high, unit=""))
    if mean is not None:
        outside = 1 - _within(mean)
        share = measured(f"of N(0, 1) that no mean can reach, behind {mean.name}", outside, unit="share")
        if outside > _RARE:
            return found("severe", share, *numbers, meaning=_of_the_mean(mean))
    least = 0.0 if spread is None else _least_sigma(spread, out.view.encoding.scale)
    if spread is not None and spread.name not in ("clamp", "clampmin") and least > _NARROW:
        smallest = measured(f"smallest standard deviation that {spread.name} allows", least, unit="")
        return found("severe", smallest, *numbers, meaning=_of_the_spread(spread, out.view.encoding.scale, least))
    return passed(*numbers)


_RARE = 0.01  # of the prior, beyond which a bound of the means is felt
_NARROW = 0.1  # a standard deviation below which q(z|x) tells x from most others; a clamp has a finding of its own


def _within(activation: Activation) -> float:
    """The share of N(0, 1) between the bounds."""
    return 0.5 * (math.erf(activation.high / math.sqrt(2)) - math.erf(activation.low / math.sqrt(2)))


def _least_sigma(activation: Activation, scale: Spread) -> float:
    """The smallest standard deviation that an encoder with this activation can give."""
    if scale in ("std", "variance"):
        return 0.0  # of which the sign is wanted
    return math.exp(float(LOG_STD[scale](torch.tensor(activation.low)))) if activation.low > -math.inf else 0.0


def _of_the_mean(activation: Activation) -> str:
    return (
        f"The means of q(z|x) come out of {activation.name}, so that they lie between {activation.low:g} and "
        f"{activation.high:g}. The prior N(0, 1) puts z on both sides of 0 and beyond: the codes cannot be distributed "
        "like it, and its samples show the decoder z that no x has."
    )


def _of_the_spread(activation: Activation, scale: Spread, least: float) -> str:
    return (
        f"The encoder's second output, read as {scale}, comes out of {activation.name}: no posterior can be narrower "
        f"than {least:.3g}, so that a unit of z says little about x however long the training is."
    )


@check("decoder-activation")
def decoder_activation(case: Case) -> Verdict:
    out, x = case.once(_outputs), case.x
    parameters, mean_of = _read(out)
    low, high = x.aminmax()
    data = (measured("smallest value of x", low, unit=""), measured("largest", high, unit=""))
    activation = _activation(parameters)
    if activation is None:
        return passed(*data)
    try:
        first, last = mean_of(activation.low), mean_of(activation.high)
    except NotImplementedError as error:
        raise NotApplicable("needs a mean of p(x|z)") from error
    slack = 0.1 * float(x.std())
    beyond = float(((x < first - slack) | (x > last + slack)).double().mean())
    numbers = (
        measured(f"values of x that no mean of p(x|z) reaches, behind {activation.name}", beyond, unit="share"),
        measured("smallest mean that it allows", first, unit=""),
        measured("largest mean", last, unit=""),
        *data,
    )
    if beyond < 0.02:
        return passed(*numbers)
    meaning = (
        f"The decoder's last function is {activation.name}, and what p(x|z) takes for its {out.view.decoding.output} "
        f"lies between {activation.low:g} and {activation.high:g}: a mean between {first:.3g} and {last:.3g}. The data "
        f"reach from {float(low):.3g} to {float(high):.3g}."
    )
    return found("severe" if beyond > 0.1 else "warning", *numbers, meaning=meaning)


def _read(out: _Outputs) -> tuple[Tensor, Callable[[float], float]]:
    """The decoder's output, and the mean of p(x|z) as a rising function of one of its values."""
    view, decoded = out.view, out.decoded
    if isinstance(decoded, Tensor) and view.decoding.scale is not None:
        shape, scale, family = decoded.shape, view.decoding.scale, view.px_family
        event = view.decoding.event

        def mean_of(value: float) -> float:
            # a bound at infinity is as good as one far away
            full = decoded.detach().new_full(shape, min(max(value, -_FAR), _FAR))[:1]
            parameters = scale.to_parameters(full).reshape(1, *event)
            return float(family(parameters, len(event)).mean.flatten()[0])

        return decoded, mean_of
    base = latents.base_of(decoded) if isinstance(decoded, Distribution) else None
    if isinstance(base, Bernoulli) and "logits" in vars(base):
        return base.logits, lambda value: 1 / (1 + math.exp(-min(max(value, -_FAR), _FAR)))
    if isinstance(base, Normal):
        return base.loc, lambda value: value
    raise NotApplicable("needs a decoder that gives parameters, or a Bernoulli or a normal")


_FAR = 30.0


@check("shared-heads")
def shared_heads(case: Case) -> Verdict:
    out = case.once(_outputs)
    pairs = {"mean and spread of q(z|x)": (out.mean.detach(), out.spread.detach())}
    per_feature = out.view.px_family.parameters_per_feature
    if isinstance(out.decoded, Tensor) and out.view.decoding.scale is not None and per_feature == 2:
        first, second = out.decoded.detach().reshape(len(out.decoded), *out.view.decoding.event).chunk(2, 1)
        pairs["the two parameters of p(x|z)"] = (first, second)
    numbers = {
        name: measured(f"largest difference of {name}, over their size", _difference(*pair), unit="")
        for name, pair in pairs.items()
    }
    same = [name for name, number in numbers.items() if float(number) < 1e-5]
    if not same:
        return passed(*numbers.values())
    meaning = f"The {same[0].removeprefix('the ')} are the same numbers for every example: they come from one layer."
    return found("severe", *(numbers[name] for name in same), meaning=meaning)


def _difference(first: Tensor, second: Tensor) -> float:
    """The largest difference over the standard deviation of the first; 1 where nothing varies."""
    size = float(first.std())
    return float((first - second).abs().max()) / size if size > 0 and first.shape == second.shape else 1.0


@check("constant-outputs")
def constant_outputs(case: Case) -> Verdict:
    try:
        mean = case.train.px.mean.flatten(1)
    except NotImplementedError as error:
        raise NotApplicable("needs a mean of p(x|z)") from error
    x = case.x.flatten(1)
    if mean.shape != x.shape:
        raise NotApplicable("needs a mean of p(x|z) for each value of x")
    varies = x.std(0) > 0
    constant = varies & (mean.amax(0) == mean.amin(0))
    share = measured(
        "features that vary and whose mean under p(x|z) is one number", constant.sum() / varies.sum(), unit="share"
    )
    if not 0.05 <= float(share) < 1:  # all of them: the decoder ignores z, or z says nothing
        return passed(share)
    left = factor_gain((x - mean)[:, constant], 8).named("linear latents would explain of these features alone")
    return found("severe", share, left, cost=left) if pays(left) else found("note", share, left)
