"""Calls of a user's loss function with chosen answers of encoder and decoder.

Either it takes them as arguments, ``loss_function(recon_x, x, mu, logvar)``; or it runs the model, and then encode and
decode are replaced while it does: ``loss(model, x)``, ``loss(x)``, ``training_step(batch, i)``.
"""

import inspect
import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nelbo.objectives import Objective, Terms
from nelbo.randomness import own_randomness, seed_noise
from nelbo.vae import Model
from nelbo.wrapping.encoding import LOG_STD, is_mean, scale_of
from nelbo.wrapping.modules import (
    Kept,
    Through,
    as_whole,
    describe,
    in_mode,
    intercepted,
    modules_behind,
    without_trace,
)
from nelbo.wrapping.view import Wrapped

Role = Literal["reconstruction", "x", "mu", "spread", "z", "model", "batch", "index", "condition"]

_USUAL: tuple[Role, ...] = ("reconstruction", "x", "mu", "spread")
_NAMES: dict[Role, str] = {
    "reconstruction": "recon_x recon recons reconstruction reconstructions x_hat xhat x_recon x_rec x_reconstructed "
    "reconstructed reconstructed_x output outputs out pred preds prediction y_pred x_pred y_hat decoded logits "
    "x_logits recon_logits x_tilde x_prime rec rec_x x_reconst generated",
    "x": "x input inputs target targets data original x_true y_true y images image img imgs real orig true_x batch_x",
    "z": "z zs code codes sample z_sample",
    "model": "model vae net network module",
    "batch": "batch data_batch",
    "index": "batch_idx batch_index batch_nb i idx index step batch_id",
    "condition": "c cond condition conditions context",
}
"""Usual names of these arguments."""
_RUNS: list[list[Role]] = [["model", "x"], ["batch", "index"], ["x", "condition"]]
"""The first arguments of losses that run the model."""


_TRIED = 3  # the first call with other random numbers than those that gave the answers that are kept


@dataclass(frozen=True)
class Answers:
    """Answers of encoder and decoder for a batch, on the scales that the model itself uses.

    Attributes:
        x: (batch, \\*event).
        mean: (batch, \\*latent).
        spread: (batch, \\*latent), the encoder's second output.
        decoded: the answer of decode.
    """

    x: Tensor
    mean: Tensor
    spread: Tensor
    decoded: Any


class LossFunction:
    """A user's loss function, as a function of the model's answers.

    Args:
        function: the loss function.
        model: the view of the model that it belongs to.
        given: the model that the function takes, if it takes one.
        arguments: the roles of the function's arguments in order; None reads them off their names.

    Raises:
        TypeError: it is not a function.
        ValueError: the roles of its arguments cannot be told.
    """

    def __init__(self, function: Any, model: Wrapped, given: Model, arguments: Sequence[Role] | None = None) -> None:
        check_function(function)
        self.function, self.model, self.given = function, model, given
        self.roles: tuple[Role, ...] = tuple(arguments) if arguments is not None else _roles(function)
        self.takes_answers = "mu" in self.roles
        self.modules = tuple(dict.fromkeys((*model.networks, *modules_behind(function))))
        self._encoded, self._decoded, self._calls = Kept(), Kept(), 0

    def __call__(self, answers: Answers, seed: int) -> float:
        """The loss in training mode, with these answers; nothing of the model or the caller's randomness changes.

        The networks, whose answers are not used, no longer run where the third call finds the loss to be the same.
        """
        self._calls += 1
        value = self._evaluated(answers, seed)
        if self._calls == _TRIED and not self.takes_answers:
            self._use_kept(True)
            try:
                same = abs(self._evaluated(answers, seed) - value) <= 1e-6 * abs(value)
            except Exception:  # such as of an attribute that only a run of the network sets
                same = False
            self._use_kept(same)
        return value

    def _use_kept(self, used: bool) -> None:
        self._encoded.used = self._decoded.used = used

    def _evaluated(self, answers: Answers, seed: int) -> float:
        as_before = without_trace(self.function, *self.modules, seed=seed)
        with torch.no_grad(), own_randomness(answers.x.device), as_before:
            seed_noise(answers.x.device, seed)
            with in_mode(self.modules, training=True):
                result = self._direct(answers) if self.takes_answers else self._stood_in(answers)
        return as_number(result, self.function)

    def _direct(self, answers: Answers) -> Any:
        decoded = self.model.decoding.place.read(answers.decoded)
        x = answers.x
        if isinstance(decoded, Tensor) and decoded.numel() == x.numel():
            x = x.reshape(decoded.shape)  # people flatten both, or neither
        sigma = LOG_STD[self.model.encoding.scale](answers.spread).exp()
        values: dict[str, Any] = {
            "reconstruction": decoded,
            "x": x,
            "mu": answers.mean,
            "spread": answers.spread,
            "z": answers.mean + sigma * torch.randn_like(sigma),
            "condition": self.model.encoding.condition,
        }
        return self._called(values)

    def run(self, x: Tensor) -> Any:
        """The loss function on x, for one that runs the model itself."""
        return self._called({"x": x, "batch": x, "index": 0, "condition": self.model.encoding.condition})

    def _stood_in(self, answers: Answers) -> Any:
        encode, decode = self.model.encoding, self.model.decoding
        layout = encode.layout
        if layout is None:
            raise ValueError(
                "encode returns a distribution that is not a diagonal normal, whose parts cannot be replaced; pass the "
                "loss as a function of them: loss=lambda recon_x, x, mu, logvar: ..."
            )

        def encoded(args: tuple[Any, ...], output: Any) -> Any:
            self._encoded.take(args, output)
            mean, _ = layout.read(output)
            self._same_batch(mean, answers.mean, "encode")
            return layout.write(output, answers.mean, answers.spread, encode.scale)

        def decoded(args: tuple[Any, ...], output: Any) -> Any:
            self._decoded.take(args, output)
            got = decode.place.read(output)
            if isinstance(got, Tensor):
                self._same_batch(got, decode.place.read(answers.decoded), "decode")
            return answers.decoded

        callers = (self.function,)
        with (
            intercepted(encode.function, encoded, callers, known=self._encoded.known) as encodes,
            intercepted(decode.function, decoded, callers, known=self._decoded.known) as decodes,
        ):
            result = self.run(answers.x)
            if not (encodes and decodes):
                silent, side = ("decode", decode) if encodes else ("encode", encode)
                raise ValueError(
                    f"{describe(self.function)} never calls the {silent} that was wrapped, "
                    f"{describe(side.function)}, so its weights cannot be measured; "
                    f"wrap the parts that it calls itself, such as {silent}=model.{silent}, or pass the loss as "
                    "loss_function(recon_x, x, mu, logvar)"
                )
        return result

    def _same_batch(self, got: Tensor, chosen: Tensor, name: str) -> None:
        if got.shape != chosen.shape:
            raise ValueError(
                f"the loss calls {name} so that it answers {tuple(got.shape)} for {len(chosen)} examples, expected "
                f"{tuple(chosen.shape)}: a loss with several draws of z for each example, such as the "
                "importance-weighted one, is not a sum of a reconstruction error and a KL"
            )

    def _own_model(self) -> Any:
        if isinstance(self.function, Objective):
            return self.given
        if len(self.given.networks) != 1:
            raise ValueError(
                f"the loss takes a model, but {len(self.given.networks)} modules lie behind encode and decode; write "
                "loss=lambda x: your_loss(your_model, x)"
            )
        return self.given.networks[0]

    def _called(self, values: dict[str, Any]) -> Any:
        """The function on the values of its roles; where it fails on images or a bare batch, in another usual form."""
        if "model" in self.roles:
            values["model"] = self._own_model()
        inputs = [values[role] for role in self.roles]
        attempts = [inputs]
        for role, value in zip(self.roles, inputs, strict=True):
            if role == "batch":  # what data loaders give: x and labels, or a tuple of x alone
                labels = torch.zeros(len(value), dtype=torch.long, device=value.device)
                for batch in ((value,), (value, labels)):
                    attempts.insert(0, [batch if v is value else v for v in inputs])
            elif role == "x" and not self.takes_answers and self.model.encoding.flatten:
                attempts.append([value.flatten(1) if v is value else v for v in inputs])
        encode = self.model.encoding.function
        if isinstance(encode, Through) and encode.whole:
            attempts = [[_in_whole(v, values["x"]) for v in attempt] for attempt in attempts]
        first: Exception | None = None
        for attempt in attempts:
            try:
                with _without_logging(self.modules):
                    return self.function(*attempt)
            except Exception as error:
                first = first or error
        names = ", ".join(self.roles)
        line = (
            "loss=lambda recon_x, x, mu, logvar: loss_function(recon_x, x, mu, logvar, kld_weight=1.0)"
            if self.takes_answers
            else f"loss=lambda x: {describe(self.function)}({{'image': x}}, 0)"
        )
        raise ValueError(
            f"{describe(self.function)}({names}) fails: {type(first).__name__}: {first}. Adapt it to what it needs, "
            f"such as {line}"
        ) from first


def _in_whole(value: Any, x: Tensor) -> Any:
    """X, or a batch with x, as the tokens that it holds; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_in_whole(part, x) for part in value)
    return as_whole(x) if value is x else value


def check_function(loss: Any) -> None:
    """Raise a TypeError where a loss is no function."""
    if not callable(loss):
        raise TypeError(
            f"loss must be a function, got {type(loss).__name__}; write loss=loss_function, without calling it"
        )


def _roles(function: Any) -> tuple[Role, ...]:
    if isinstance(function, nn.Module):
        return ("x",)
    parameters = list(inspect.signature(function).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return _USUAL
    wanted = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    roles = [_role(p.name) for p in wanted]
    needed = sum(p.default is p.empty for p in wanted)
    if needed == 1:
        return ("batch",) if roles[0] == "batch" else ("x",)
    # arguments with a default that mean nothing to us keep it; they stand last
    known: list[Role] = list(itertools.takewhile(bool, roles))  # pyright: ignore[reportAssignmentType]
    if len(known) >= needed:
        if {"mu", "reconstruction"} <= set(known) or known[:2] in _RUNS:
            return tuple(known)
        if known[:2] == ["model", "batch"]:
            return ("model", "x")
    names = ", ".join(p.name for p in wanted)
    raise ValueError(
        f"what {describe(function)}({names}) takes cannot be told from these names; say it with "
        "arguments=('reconstruction', 'x', 'mu', 'spread') in their order, or write "
        "loss=lambda recon_x, x, mu, logvar: ..."
    )


def _role(name: str) -> Role | None:
    if is_mean(name):
        return "mu"
    if scale_of(name) is not None:
        return "spread"
    return next((role for role, names in _NAMES.items() if name.lower() in names.split()), None)


@contextmanager
def _without_logging(modules: Sequence[nn.Module]) -> Generator[None]:
    """Lightning's self.log needs a running trainer, and would tell it of a step that is none."""
    steps = [module for module in modules if callable(getattr(type(module), "training_step", None))]
    names = [(module, name) for module in steps for name in ("log", "log_dict") if hasattr(type(module), name)]
    for module, name in names:
        vars(module)[name] = _nothing
    try:
        yield
    finally:
        for module, name in names:
            del vars(module)[name]


def _nothing(*args: Any, **kwargs: Any) -> None:
    return


def as_number(result: Any, function: Callable[..., Any]) -> float:
    """The loss in what a loss function returns: a scalar, the entry ``loss``, or the first of a tuple.

    Raises:
        ValueError: the result is not one number.
    """
    if isinstance(result, Terms):
        return float(result.value.double().mean())
    value = result
    if isinstance(value, Mapping):
        value = value.get("loss", value.get("total_loss"))
    elif not isinstance(value, Tensor | tuple | list | float | int):
        value = getattr(value, "loss", value)
    elif isinstance(value, tuple | list) and value:
        value = value[0]
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    if isinstance(value, float | int):
        return float(value)
    got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(result).__name__}"
    line = (
        "end it with return loss.mean()" if isinstance(value, Tensor) else "let it return the loss, or {'loss': loss}"
    )
    raise ValueError(f"{describe(function)} returns {got}, expected one number; {line}")
