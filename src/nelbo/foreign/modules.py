"""The modules behind somebody's functions: which they are, their modes, and how to listen in on their calls."""

import functools
import inspect
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Function = Callable[..., Any]


def modules_behind(*functions: Any) -> tuple[nn.Module, ...]:
    """The outermost modules that these functions run: themselves, their owners, or what they name.

    A function written as ``lambda x: model.encode(x)`` names ``model``, which its closure or its globals hold.
    """
    found: dict[int, nn.Module] = {}
    for function in functions:
        for module in _named_by(function, depth=3):
            found.setdefault(id(module), module)
    inner = {id(m) for root in found.values() for m in root.modules() if m is not root}
    return tuple(module for key, module in found.items() if key not in inner)


def _named_by(function: Any, depth: int) -> Iterable[nn.Module]:
    if isinstance(function, nn.Module):
        yield function
    elif isinstance(function, functools.partial) and depth:
        for part in (function.func, *function.args, *function.keywords.values()):
            yield from _named_by(part, depth - 1)
    elif inspect.ismethod(function):
        owner = function.__self__
        yield from _named_by(owner, depth) if isinstance(owner, nn.Module) else _held_by(owner)
    elif inspect.isfunction(function) and depth:
        names = inspect.getclosurevars(function)
        for value in (*names.nonlocals.values(), *names.globals.values()):
            if isinstance(value, nn.Module) or inspect.isroutine(value) or isinstance(value, functools.partial):
                yield from _named_by(value, depth - 1)
            elif not inspect.ismodule(value) and not inspect.isclass(value):
                yield from _held_by(value)
    else:
        yield from _held_by(function)


def _held_by(owner: Any) -> Iterable[nn.Module]:
    held = getattr(owner, "__dict__", None)
    return [value for value in held.values() if isinstance(value, nn.Module)] if isinstance(held, dict) else []


@contextmanager
def in_mode(modules: Iterable[nn.Module], *, training: bool) -> Generator[None]:
    """Within, the modules run in training or in evaluation mode; then each submodule has its own mode back."""
    modules = tuple(modules)
    before = [(module, module.training) for root in modules for module in root.modules()]
    if all(mode == training for _, mode in before):
        yield
        return
    for root in modules:
        root.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def untouched(modules: Iterable[nn.Module]) -> Generator[None]:
    """Whatever runs within leaves no trace: modes, buffers (running statistics), counters and flags are put back."""
    every = [module for root in modules for module in root.modules()]
    modes = [(module, module.training) for module in every]
    buffers = [(module, key, t, t.clone()) for module in every for key, t in module.named_buffers(recurse=False)]
    plain = [
        (module, {k: v for k, v in vars(module).items() if v is None or isinstance(v, int | float | str | tuple)})
        for module in every
    ]
    try:
        yield
    finally:
        for module, values in plain:
            vars(module).update(values)
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for module, key, tensor, value in buffers:
                tensor.copy_(value)
                setattr(module, key, tensor)


@dataclass
class Calls:
    """How often a function was called while somebody listened."""

    count: int = 0


@contextmanager
def intercepted(function: Function, after: Callable[[tuple[Any, ...], Any], Any]) -> Generator[Calls]:
    """Within, what others get from calling the function is ``after(arguments, result)``.

    Works for a module, for a method of an object, and for a function that its own file finds by its name.

    Raises:
        ValueError: the function can only be called, not stood in for (a lambda, a partial).
    """
    calls = Calls()
    if isinstance(function, nn.Module):

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
            calls.count += 1
            return after((*args, *kwargs.values()), result)

        handle = function.register_forward_hook(hook, with_kwargs=True)
        try:
            yield calls
        finally:
            handle.remove()
        return

    place, key, shadows = _place_of(function)

    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        calls.count += 1
        return after((*args, *kwargs.values()), function(*args, **kwargs))

    place[key] = stand_in
    try:
        yield calls
    finally:
        if shadows:
            del place[key]
        else:
            place[key] = function


def _place_of(function: Function) -> tuple[dict[str, Any], str, bool]:
    """Where callers look the function up: a namespace, its key there, and whether that key is new."""
    key = getattr(function, "__name__", "")
    if inspect.ismethod(function) and hasattr(function.__self__, "__dict__"):
        own = vars(function.__self__)
        if key not in own and getattr(function.__self__, key, None) == function:
            return own, key, True
    elif inspect.isfunction(function) and function.__globals__.get(key) is function:
        return function.__globals__, key, False
    raise ValueError(
        f"calls of {describe(function)} cannot be listened to, because nothing looks it up by name; pass the model's "
        "own parts instead, such as wrap(encode=model.encode, decode=model.decode, ...)"
    )


def describe(function: Any) -> str:
    """The function as an error message calls it."""
    if isinstance(function, nn.Module):
        return f"the module {type(function).__name__}"
    if inspect.ismethod(function):
        return f"{type(function.__self__).__name__}.{function.__name__}"
    return getattr(function, "__name__", type(function).__name__)


def first_tensor(values: Iterable[Any]) -> Tensor | None:
    """The first tensor among some arguments."""
    return next((value for value in values if isinstance(value, Tensor)), None)


def noisy(modules: Iterable[nn.Module]) -> list[str]:
    """Kinds of layers that act differently in training mode: dropout and batch normalization."""
    kinds = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm, nn.AlphaDropout)  # pyright: ignore[reportPrivateUsage]
    return sorted({type(m).__name__ for root in modules for m in root.modules() if isinstance(m, kinds)})
