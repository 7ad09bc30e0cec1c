"""Command-line flags read from the signatures and docstrings of the functions they are passed to."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter
from cyclopts.group import Group

_ENTRY = re.compile(r"^ {4}(\w+): ", re.MULTILINE)


def described(function: Callable[..., Any]) -> dict[str, str]:
    """The sentences on each argument in a docstring's Args section."""
    text = inspect.getdoc(function) or ""
    if "Args:\n" not in text:
        return {}
    body = re.split(r"\n\S", text.split("Args:\n", 1)[1])[0]
    parts = _ENTRY.split(body)[1:]
    return {name: " ".join(words.split()) for name, words in zip(parts[::2], parts[1::2], strict=True)}


def flags(
    function: Callable[..., Any],
    *,
    group: Group,
    skip: Sequence[str] = (),
    changed: Mapping[str, Any] | None = None,
    unset: bool = False,
) -> list[inspect.Parameter]:
    """A keyword-only parameter for each keyword of a function, with its help.

    Args:
        function: whose keyword-only arguments become flags.
        group: the heading they stand under in ``--help``.
        skip: arguments that get no flag.
        changed: other defaults.
        unset: default to None, which stands for the function's own default.
    """
    help_of, hints, changed = described(function), get_type_hints(function), changed or {}
    made: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or name in skip:
            continue
        hint = hints.get(name, parameter.annotation)
        settings = Parameter(
            help=help_of.get(name, ""), group=group, negative="" if unset else None, consume_multiple=True
        )
        default = None if unset else changed.get(name, parameter.default)
        made.append(parameter.replace(annotation=Annotated[hint | None if unset else hint, settings], default=default))
    return made


def with_signature(function: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> Callable[..., Any]:
    """Give a function that takes keywords the signature that cyclopts shall read."""
    function.__signature__ = inspect.Signature(list(parameters))  # pyright: ignore[reportFunctionMemberAccess]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function
