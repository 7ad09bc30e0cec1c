"""The modules behind a user's functions: which they are, their modes, and how to intercept their calls."""

import functools
import inspect
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Function = Callable[..., Any]


def modules_behind(*functions: Any) -> tuple[nn.Module, ...]:
    """The outermost modules that these functions run: themselves, their owners, or what they name.

    A function written as ``lambda x: model.encode(x)`` names ``model``, which its closure or its globals hold.
    """
    modules: dict[int, nn.Module] = {}
    for function in functions:
        for module in _named_by(function, depth=3):
            modules.setdefault(id(module), module)
    inner = {id(m) for root in modules.values() for m in root.modules() if m is not root}
    return tuple(module for key, module in modules.items() if key not in inner)


def _named_by(function: Any, depth: int) -> Iterable[nn.Module]:
    if isinstance(function, nn.Module):
        yield function
    elif isinstance(function, functools.partial) and depth:
        for part in (function.func, *function.args, *function.keywords.values()):
            yield from _named_by(part, depth - 1)
    elif inspect.ismethod(function):
        owner = function.__self__
        if isinstance(owner, nn.Module):
            yield owner
        else:
            yield from _held_by(owner)
            yield from _named_by(function.__func__, depth)
    elif inspect.isfunction(function) and depth:
        names = inspect.getclosurevars(function)
        for value in (*names.nonlocals.values(), *names.globals.values()):
            if isinstance(value, nn.Module | functools.partial) or inspect.isroutine(value):
                yield from _named_by(value, depth - 1)
            elif not inspect.ismodule(value):
                yield from _held_by(value)
    else:
        yield from _held_by(function)
        call = getattr(type(function), "__call__", None)  # noqa: B004  (of an object that is called like a function)
        if inspect.isfunction(call) and depth:
            yield from _named_by(call, depth - 1)


def _held_by(owner: Any) -> Iterable[nn.Module]:
    """The modules among the attributes of an object and of its class, or of a class."""
    classes = [owner, type(owner)] if not inspect.isclass(owner) else [owner]
    held = [value for holder in classes for value in getattr(holder, "__dict__", {}).values()]
    return [value for value in held if isinstance(value, nn.Module)]


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
def restoring(modules: Iterable[nn.Module]) -> Generator[None]:
    """Within, modules run without a trace: modes, buffers (running statistics), counters and flags are put back."""
    every = list(dict.fromkeys(module for root in modules for module in root.modules()))
    attributes = [(module, dict(vars(module))) for module in every]
    lists = [(held, held.copy()) for _, before in attributes for held in before.values() if type(held) is list]
    buffers = [(module, key, t, t.clone()) for module in every for key, t in module.named_buffers(recurse=False)]
    try:
        yield
    finally:
        for module, before in attributes:
            vars(module).clear()
            vars(module).update(before)
        for held, before in lists:
            held[:] = before
        with torch.no_grad():
            for module, key, tensor, value in buffers:
                tensor.copy_(value)
                setattr(module, key, tensor)


@contextmanager
def intercepted(function: Function, after: Callable[[tuple[Any, ...], Any], Any]) -> Generator[list[tuple[Any, ...]]]:
    """Within, whoever else calls the function gets ``after(arguments, result)``.

    Yields the arguments of its calls so far, a list that grows.

    Works for a module, for a method of an object, for a function that its own file finds by its name, and for a partial
    of these.

    Raises:
        ValueError: nothing looks the function up by name, so that no other can take its place (a lambda).
    """
    while isinstance(function, functools.partial):
        function = function.func
    calls: list[tuple[Any, ...]] = []

    def answer(args: tuple[Any, ...], result: Any) -> Any:
        calls.append(args)
        return after(args, result)

    with ExitStack() as undo:
        # compiled code would not look the function up again
        undo.enter_context(torch.compiler.set_stance("force_eager"))
        if isinstance(function, nn.Module):

            def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
                return answer((*args, *kwargs.values()), result)

            undo.callback(function.register_forward_hook(hook, with_kwargs=True).remove)
        else:
            place, key, shadows = _place_of(function)

            @functools.wraps(function)
            def stand_in(*args: Any, **kwargs: Any) -> Any:
                return answer((*args, *kwargs.values()), function(*args, **kwargs))

            place[key] = stand_in
            undo.callback(place.pop, key) if shadows else undo.callback(place.__setitem__, key, function)
        yield calls


def _place_of(function: Function) -> tuple[dict[str, Any], str, bool]:
    """The namespace in which callers look the function up, its key there, and whether that key is new."""
    key = getattr(function, "__name__", "")
    if inspect.ismethod(function) and hasattr(function.__self__, "__dict__"):
        own = vars(function.__self__)
        if key not in own and getattr(function.__self__, key, None) == function:
            return own, key, True
    elif inspect.isfunction(function) and function.__globals__.get(key) is function:
        return function.__globals__, key, False
    raise ValueError(
        f"the model does not call {describe(function)} itself, so the calls that it makes while it runs cannot be "
        "followed; pass the method or the module that it calls, not a lambda or a function around it: "
        "nelbo.wrap(encode=model.encode, decode=model.decode, ...)"
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


def in_float(values: Tensor) -> Tensor:
    """Numbers of half precision as float32, in which a KL near zero or a sum over pixels is not noise."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def noisy_layers(modules: Iterable[nn.Module]) -> list[str]:
    """Kinds of layers in training mode by which a model's numbers vary: dropout and batch normalization."""
    kinds = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]
    layers = (layer for root in modules for layer in root.modules())
    return sorted({type(layer).__name__ for layer in layers if layer.training and isinstance(layer, kinds)})
