"""The modules behind a user's functions: which they are, their modes, and how to intercept their calls."""

import inspect
import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial, update_wrapper
from operator import is_, setitem
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nelbo.devices import uncompiled
from nelbo.registry import takes

Function = Callable[..., Any]


@dataclass(frozen=True)
class Through:
    """A model's own function, called in the way that it takes its arguments.

    Attributes:
        function: the model's own, whose calls are followed.
        call: calls it.
        whole: whether it is given whole numbers.
        alone: whether it is given no condition, where the model has one.
    """

    function: Function
    call: Function
    whole: bool = False
    alone: bool = False

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)


def as_it_takes(function: Function, x: Tensor, c: Tensor | None) -> Function:
    """The function as it takes x, tried by running it: as whole numbers, as tokens are, and with c only if it has it.

    Args:
        function: the model's own; one that is called in a way of its own stays as it is.
        x: its first argument.
        c: of a conditional model.
    """
    given = () if c is None else (c,)
    if isinstance(function, Through):
        return function
    alone = c is not None and not takes(function.forward if isinstance(function, nn.Module) else function, 2)

    def without(x: Tensor, c: Tensor) -> Any:
        return function(x)

    plain: Function = Through(function, without, alone=True) if alone else function

    def of_whole(x: Tensor, *c: Tensor) -> Any:
        return plain(as_whole(x), *c)

    whole = Through(function, of_whole, whole=True, alone=alone)
    for call in (plain, whole):
        for inputs in (x, x.flatten(1)) if x.dim() > 2 else (x,):
            try:
                call(inputs, *given)
            except Exception:  # what the function itself says is said where it is used
                continue
            return call
    return plain


def as_whole(x: Tensor) -> Tensor:
    """The same numbers as int64.

    Raises:
        ValueError: they are no whole numbers.
    """
    if bool((x != x.round()).any()):
        raise ValueError("x holds numbers that are not whole")
    return x.long()


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
    elif isinstance(function, partial) and depth:
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
            if isinstance(value, nn.Module | partial) or inspect.isroutine(value):
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
    """Within, the modules run in training or in evaluation mode; then each submodule has its own mode back.

    Modules whose weights are sharded over processes have them whole within, so that other methods than forward run.
    """
    modules = tuple(modules)
    every = [module for root in modules for module in root.modules()]
    before = [(module, module.training) for module in every]
    sharded = [module for module in every if is_sharded(module)]
    for module in sharded:
        module.unshard()  # pyright: ignore[reportCallIssue]
    if any(mode != training for _, mode in before):
        for root in modules:
            root.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode
        for module in sharded:
            module.reshard()  # pyright: ignore[reportCallIssue]


def is_sharded(module: nn.Module) -> bool:
    """Whether it is a unit of FSDP whose weights are in shards now."""
    if not callable(getattr(module, "unshard", None)) or not callable(getattr(module, "reshard", None)):
        return False
    return any(hasattr(parameter, "full_tensor") for parameter in module.parameters())


@contextmanager
def restoring(modules: Iterable[nn.Module], *, first: bool = False) -> Generator[None]:
    """Within, modules run without a trace: modes, buffers, gradients, counters and collections are put back.

    Args:
        modules: with all that they hold.
        first: whether it may be their first run: what was absent or None then stays as it is made, such as the shape
            that encode leaves for decode.
    """
    modules = tuple(modules)
    every = dict.fromkeys(module for root in modules for module in root.modules())
    every = [module for module in every if not _is_lazy(module)]  # its first run makes it
    attributes = [(module, dict(vars(module))) for module in every]
    own = [value for _, before in attributes for name, value in before.items() if name not in _OF_EVERY_MODULE]
    collections = [(held, _contents(held)) for held in _collections(own)]
    buffers = [(module, key, t, t.clone()) for module in every for key, t in module.named_buffers(recurse=False)]
    gradients = [(parameter, parameter.grad) for root in modules for parameter in root.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None  # a loss that goes backward itself adds to none of the caller's
    try:
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, before in attributes:
            made = {key: value for key, value in vars(module).items() if first and before.get(key) is None}
            vars(module).clear()
            vars(module).update(before | made)
        for held, before in collections:
            _put_back(held, before)
        with torch.no_grad():
            for module, key, tensor, value in buffers:
                tensor.copy_(value)
                setattr(module, key, tensor)


_OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # names of torch's own attributes, such as the registry of hooks


def _is_lazy(module: nn.Module) -> bool:
    """Whether it has weights without a shape yet."""
    tensors = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return any(isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer) for tensor in tensors)


def _collections(values: Iterable[Any], depth: int = 3) -> list[Any]:
    """The lists, dictionaries, sets and deques among values, and within them; not within those that hold data."""
    found = [value for value in values if isinstance(value, list | dict | set | deque)]
    if not found or not depth:
        return found
    within = [entry for held in found if len(held) < _MANY for entry in _contents(held)]
    return [*found, *_collections(within, depth - 1)]


def _contents(held: Any) -> list[Any]:
    """The entries of a collection; of a dictionary its keys, then its values."""
    return [*dict.keys(held), *dict.values(held)] if isinstance(held, dict) else list(held)


def _put_back(held: Any, before: list[Any]) -> None:
    """Give a collection its entries back; one that has them is not written to, as some cannot be."""
    now = _contents(held)
    if len(now) == len(before) and all(map(is_, now, before)):
        return
    held.clear()
    if isinstance(held, dict):
        half = len(before) // 2
        held.update(zip(before[:half], before[half:], strict=True))
    elif isinstance(held, set):
        held.update(before)
    else:
        held.extend(before)


@contextmanager
def undisturbed(functions: Sequence[Any], seed: int, *, first: bool = False) -> Generator[None]:
    """Within, functions find Python's, numpy's and their own random generators at a seed; afterwards all is put back.

    That holds for these generators, and for the numbers, words and collections that the functions hold under a name,
    such as a counter of steps or a list of losses in a global, a closure or an attribute.

    Args:
        functions: they, or modules with all that they hold.
        seed: of the generators.
        first: whether it may be their first run: what was None, and collections, then stay as they are made.
    """
    inner = [module for root in functions if isinstance(root, nn.Module) for module in root.modules()]
    held = list(_looked_up([*functions, *inner]))
    kept = (int, float, str, bool) if first else (int, float, str, bool, type(None))
    values = [(put, value) for value, put in held if put is not _nowhere and isinstance(value, kept)]
    collections = [] if first else [(value, _contents(value)) for value in _collections(value for value, _ in held)]
    generators = {id(value): value for value, _ in held if isinstance(value, _GENERATORS)}.values()
    controls: list[_Controls] = [
        (random.getstate, random.setstate, random.seed),
        (np.random.get_state, np.random.set_state, np.random.seed),
        *map(_controls_of, generators),
    ]
    states = [(put, get()) for get, put, _ in controls]
    for _, _, start in controls:
        start(seed)
    try:
        yield
    finally:
        for value, before in collections:
            _put_back(value, before)
        for put, value in values:
            put(value)
        for put, state in states:
            put(state)


@contextmanager
def without_trace(*functions: Any, seed: int = 0, first: bool = False) -> Generator[None]:
    """Within, functions and modules leave no trace: what :func:`undisturbed` and :func:`restoring` name is put back.

    Args:
        functions: functions and modules; None is none.
        seed: of their generators within.
        first: whether it may be their first run.
    """
    modules = [function for function in functions if isinstance(function, nn.Module)]
    with undisturbed(functions, seed, first=first), restoring(modules, first=first):
        yield


_Controls = tuple[Callable[[], Any], Callable[[Any], object], Callable[[int], object]]
_GENERATORS = (torch.Generator, np.random.Generator, random.Random)


def _controls_of(generator: Any) -> _Controls:
    """How a generator's state is read and written, and how it is started at a seed."""
    if isinstance(generator, torch.Generator):
        return generator.get_state, generator.set_state, generator.manual_seed
    if isinstance(generator, random.Random):
        return generator.getstate, generator.setstate, generator.seed
    bits = generator.bit_generator
    put = partial(setattr, bits, "state")
    return (lambda: bits.state), put, lambda seed: put(type(bits)(seed).state)


@contextmanager
def intercepted(
    function: Function,
    after: Callable[[tuple[Any, ...], Any], Any],
    callers: Sequence[Any] = (),
    *,
    known: Callable[[tuple[Any, ...]], Any] = lambda args: None,
) -> Generator[list[tuple[Any, ...]]]:
    """Within, whoever else calls the function gets ``after(arguments, result)``.

    Yields the arguments of its calls so far, a list that grows.

    Works for a module, for a method of an object, for a function that its own file finds by its name, and for anything
    that the callers hold under a name: in a closure, a global, a default, an attribute, a list or a dictionary.

    Args:
        function: the function, or a partial of it.
        after: makes the answer of what it was called with and what it gave.
        callers: the functions and modules that will be run, in which the function is looked up.
        known: what the function would give for these arguments, without a call of it; None calls it.

    Raises:
        ValueError: nothing looks the function up by name, so that no other can take its place.
    """
    calls: list[tuple[Any, ...]] = []

    def answer(args: tuple[Any, ...], result: Any) -> Any:
        calls.append(args)
        return after(args, result)

    target = function.function if isinstance(function, Through) else function
    while not (places := _places_of(target, callers)) and isinstance(target, partial):
        target = target.func
    with ExitStack() as undo:
        # compiled code would not look the function up again
        undo.enter_context(uncompiled())
        if isinstance(target, nn.Module):

            def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
                return answer((*args, *kwargs.values()), result)

            undo.callback(target.register_forward_hook(hook, with_kwargs=True).remove)
            undo.enter_context(_forward_unless(target, known))
        elif not places:
            raise ValueError(
                f"the model does not call {describe(function)} itself, so the calls that it makes while it runs cannot "
                "be followed; pass the method, the module or the function that it calls, not another one around it: "
                "nelbo.wrap(encode=model.encode, decode=model.decode, ...)"
            )

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            result = known((*args, *kwargs.values()))
            return answer((*args, *kwargs.values()), target(*args, **kwargs) if result is None else result)

        update_wrapper(stand_in, target)
        for put, put_back in places:
            put(stand_in)
            undo.callback(put_back)
        yield calls


class Kept:
    """The first answer of an encoder or a decoder, in whose place another is put; for inputs of the same shapes."""

    def __init__(self) -> None:
        self.used = False
        self._shapes: list[tuple[int, ...]] = []
        self._output: Any = None

    def take(self, args: tuple[Any, ...], output: Any) -> None:
        """Take in an answer."""
        if self._output is None:
            self._shapes, self._output = _shapes(args), output

    @property
    def taken(self) -> bool:
        """Whether there is an answer."""
        return self._output is not None

    def known(self, args: tuple[Any, ...]) -> Any:
        """The answer, where it may be used."""
        return self._output if self.used and _shapes(args) == self._shapes else None


def _shapes(args: tuple[Any, ...]) -> list[tuple[int, ...]]:
    return [tuple(arg.shape) for arg in args if isinstance(arg, Tensor)]


@contextmanager
def _forward_unless(module: nn.Module, known: Callable[[tuple[Any, ...]], Any]) -> Generator[None]:
    """Within, the module's forward is not run for arguments whose answer is known."""
    own, before = vars(module), module.forward
    had = "forward" in own

    def forward(*args: Any, **kwargs: Any) -> Any:
        result = known((*args, *kwargs.values()))
        return before(*args, **kwargs) if result is None else result

    own["forward"] = forward
    try:
        yield
    finally:
        if had:
            own["forward"] = before
        else:
            own.pop("forward", None)


Put = Callable[[Any], object]
"""Puts something else in a place."""


def _places_of(function: Function, callers: Sequence[Any]) -> list[tuple[Put, Callable[[], object]]]:
    """Where callers look the function up, and how to undo it; nothing for a module, whose calls can be listened to."""
    if isinstance(function, nn.Module):
        return []
    places: list[tuple[Put, Callable[[], object]]] = []
    key = getattr(function, "__name__", "")
    owner = function.__self__ if inspect.ismethod(function) else None
    if owner is not None and not inspect.isclass(owner) and hasattr(owner, "__dict__"):
        own = vars(owner)
        if key not in own and getattr(owner, key, None) == function:
            places.append((partial(setitem, own, key), partial(own.pop, key)))
    held = (
        [(function.__globals__.get(key), partial(setitem, function.__globals__, key))]
        if inspect.isfunction(function)
        else []
    )
    for value, put in (*held, *_looked_up(callers)):
        if put is not _nowhere and (value is function or (inspect.ismethod(value) and value == function)):
            places.append((put, partial(put, value)))
    return places


def _looked_up(callers: Sequence[Any], depth: int = 4) -> Iterable[tuple[Any, Put]]:
    """What these functions and modules, and what they hold, have under a name, each with the way to replace it."""
    level, seen = {id(caller): caller for caller in callers}, dict[int, Any]()
    for _ in range(depth):
        held = [entry for holder in level.values() for entry in _entries(holder)]
        seen |= level  # kept, so that no other object gets one's id
        yield from held
        level = {id(value): value for value, _ in held if id(value) not in seen}


def _entries(holder: Any) -> Iterable[tuple[Any, Put]]:
    """What one function, object or collection holds, and the way to replace it."""
    if inspect.ismethod(holder):
        yield from ((part, _nowhere) for part in (holder.__self__, holder.__func__))
    elif isinstance(holder, partial):
        yield from ((part, _nowhere) for part in (holder.func, *holder.args, *holder.keywords.values()))
    elif inspect.isfunction(holder):
        yield from _entries_of_function(holder)
    elif isinstance(holder, dict | list):
        if len(holder) < _MANY:
            collection: Any = holder
            pairs = list(collection.items() if isinstance(holder, dict) else enumerate(collection))
            yield from ((value, partial(setitem, collection, key)) for key, value in pairs)
    elif not (inspect.ismodule(holder) or inspect.isclass(holder) or _is_of_a_library(type(holder))):
        yield from _entries(getattr(holder, "__dict__", {}))
        methods = (part for kind in type(holder).__mro__ if not _is_of_a_library(kind) for part in vars(kind).values())
        yield from ((method, _nowhere) for method in methods if inspect.isfunction(method))


def _entries_of_function(function: Any) -> Iterable[tuple[Any, Put]]:
    """The values of the variables that a function reads from around it, and of its defaults."""
    if _is_of_a_library(function):
        return
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # an empty cell: its variable has no value yet
            yield cell.cell_contents, partial(setattr, cell, "cell_contents")
    for name in _names_in(function.__code__):
        if name in function.__globals__:
            yield function.__globals__[name], partial(setitem, function.__globals__, name)
    defaults = function.__defaults__ or ()
    for i, value in enumerate(defaults):
        yield value, lambda new, i=i: setattr(function, "__defaults__", (*defaults[:i], new, *defaults[i + 1 :]))
    yield from _entries(function.__kwdefaults__ or {})


@lru_cache(maxsize=4096)
def _names_in(code: CodeType) -> frozenset[str]:
    """The globals and attributes that code names, also within the functions that it defines."""
    inner = (_names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return frozenset(code.co_names).union(*inner)


def _is_of_a_library(thing: Any) -> bool:
    """Whether a function or class is torch's or ours, which hold nobody's encode."""
    return (thing.__module__ or "").partition(".")[0] in ("torch", "nelbo", "numpy", "random", "builtins")


_MANY = 1000  # entries of a collection, beyond which it holds data


def _nowhere(new: Any) -> None:
    """The place of what is reached through something that cannot be changed."""


def describe(function: Any) -> str:
    """The function as an error message calls it."""
    if isinstance(function, Through):
        return describe(function.function)
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


BatchNorm = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]


def batch_norms(modules: Iterable[nn.Module]) -> dict[str, BatchNorm]:
    """The layers that normalize by the other examples of a batch, by names as in "encoder.1 (BatchNorm1d)"."""
    layers = (pair for root in modules for pair in root.named_modules())
    return {f"{name} ({type(layer).__name__})": layer for name, layer in layers if isinstance(layer, BatchNorm)}


def noisy_layers(modules: Iterable[nn.Module]) -> list[str]:
    """Kinds of layers in training mode by which a model's numbers vary: dropout and batch normalization."""
    kinds = (nn.modules.dropout._DropoutNd, BatchNorm)  # pyright: ignore[reportPrivateUsage]
    layers = (layer for root in modules for layer in root.modules())
    return sorted({type(layer).__name__ for layer in layers if layer.training and isinstance(layer, kinds)})
