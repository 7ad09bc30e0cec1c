"""Constructors by name: ``"name"``, or ``"name:number"`` for the first option of a constructor."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, final

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])


@final
class Registry(Generic[T]):
    """The constructors of one axis of a model, by the names that recipes and the command line take.

    Args:
        axis: what is constructed, in one word, for messages.
        constructors: the first members.
        group: entry points of installed packages in which a name that is not registered is looked up; its package is
            imported when the name is first used.
    """

    def __init__(
        self, axis: str, constructors: Mapping[str, Callable[..., T]] | None = None, *, group: str = ""
    ) -> None:
        self.axis, self.group = axis, group
        self.constructors = dict(constructors or {})

    def register(self, name: str) -> Callable[[C], C]:
        """Register a class, or any function that constructs a member, under a name.

        Use it as a decorator, ``@register("name")``, or as a call, ``register("name")(constructor)``. The first
        positional argument of the constructor takes the number of ``"name:number"``.

        Raises:
            ValueError: the name holds a colon or is empty, or stands for another constructor already.
        """
        if not name or ":" in name:
            raise ValueError(f"the name of a {self.axis} must be non-empty and hold no colon, got {name!r}")

        def add(constructor: C) -> C:
            present = self.constructors.get(name)
            # the same class defined again, as when a notebook's cell runs twice, replaces itself
            if present is not None and _qualified(present) != _qualified(constructor):
                raise ValueError(
                    f"the {self.axis} {name!r} is registered already, as {_qualified(present)}; choose another name "
                    f"for {_qualified(constructor)}"
                )
            self.constructors[name] = constructor
            return constructor

        return add

    def names(self) -> list[str]:
        """The registered names, then those that installed packages declare."""
        declared = entry_points(group=self.group).names if self.group else set[str]()
        return [*self.constructors, *sorted(declared - self.constructors.keys())]

    def named(self, text: str, *arguments: Any) -> T:
        """Construct the member that ``"name"`` or ``"name:number"`` stands for.

        Args:
            text: the name, and the number where the constructor takes one.
            arguments: passed to the constructor before the number.

        Raises:
            TypeError: text is not a string.
            ValueError: an unknown name, or a number that is missing, superfluous or not a number.
        """
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"{self.axis} must be a name, got {text!r}; write {self.axis}={next(iter(self.constructors))!r}, or "
                f"build the model with nelbo.VAE(encoder, decoder, {self.axis}=...)"
            )
        name, colon, number = text.partition(":")
        constructor = self._find(name)
        options = [
            parameter
            for parameter in inspect.signature(constructor).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ][len(arguments) :]
        if not colon:
            if options and options[0].default is inspect.Parameter.empty:
                raise ValueError(f"{self.axis}={text!r}: {name} needs a number after a colon, as in {name}:10")
            return constructor(*arguments)
        if not options:
            raise ValueError(f"{self.axis}={text!r}: {name} takes no number; write {self.axis}={name!r}")
        try:
            value = float(number)
        except ValueError:
            raise ValueError(
                f"{self.axis}={text!r}: expected a number after the colon, as in {name}:10, got {number!r}"
            ) from None
        if options[0].annotation in (int, "int"):
            if not value.is_integer():
                raise ValueError(f"{self.axis}={text!r}: {options[0].name} must be an integer, got {number}")
            return constructor(*arguments, int(value))
        return constructor(*arguments, value)

    def _find(self, name: str) -> Callable[..., T]:
        if self.group and name not in self.constructors:
            for entry in entry_points(group=self.group, name=name):
                self.constructors.setdefault(name, entry.load())
        if name not in self.constructors:
            names = self.names()
            cure = "; import the module that registers one of your own first" if self.group else ""
            raise ValueError(f"no {self.axis} {name!r}{did_you_mean(name, names)} There are: {', '.join(names)}{cure}")
        return self.constructors[name]


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function may be called with so many arguments, as far as its signature tells."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # of some built-in functions
        return True
    return True


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, if one is near."""
    return next(iter(difflib.get_close_matches(name, list(names), 1)), None)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that proposes the name that was probably meant, if one is near."""
    near = nearest(name, names)
    return f", did you mean {near!r}?" if near else "."


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise a ValueError that lists the choices, and the one that was probably meant, unless the value is one."""
    choices = list(choices)
    if value not in choices:
        near = did_you_mean(str(value), map(str, choices))
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}{near.removesuffix('.')}"
        )


def _qualified(constructor: Callable[..., Any]) -> str:
    name = getattr(constructor, "__qualname__", None)
    return repr(constructor) if name is None else f"{constructor.__module__}.{name}"
