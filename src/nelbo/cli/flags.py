"""Command-line flags read from the signatures and docstrings of the functions they are passed to."""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_type_hints

from cyclopts import Parameter
from cyclopts.group import Group

from nelbo.docstrings import described

_CALL = r"[\w.]+\((?:[^()]|\([^()]*\))*\)"
_VALUE = r"'[^']*'|\[[^\]]*\]|[\w./-]*\w"


def flags(
    function: Callable[..., Any], *, group: Group, skip: Sequence[str] = (), notes: Mapping[str, str] | None = None
) -> list[inspect.Parameter]:
    """A flag for each keyword of a function, with its help; None, when it is not given, leaves the function's default.

    Args:
        function: whose keyword-only arguments become flags.
        group: the heading they stand under in ``--help``.
        skip: arguments that get no flag.
        notes: sentences to add to the help of some.
    """
    help_of, hints = described(function), get_type_hints(function)
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or name in skip:
            continue
        words = help_of.get(name, "").replace("`", "")
        if parameter.default not in (None, False, True, inspect.Parameter.empty):
            words += f" (default {plain(parameter.default)})"
        if notes and name in notes:
            words += f" {notes[name]}"
        off = f"--no-{name.replace('_', '-')}" if parameter.default is True else ""
        settings = Parameter(help=words, group=group, consume_multiple=True, negative=off)
        hint = hints.get(name, parameter.annotation)
        hint = str if str in get_args(hint) else hint  # a shell has text for all that text may stand for
        hint = list[str] if Mapping[str, str] in get_args(hint) else hint  # of name=value
        parameters.append(parameter.replace(annotation=Annotated[hint | None, settings], default=None))
    return parameters


def with_flags(*parameters: inspect.Parameter) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Decorate a command so that its signature has these flags in place of ``**values``, which holds all of them."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def call(*arguments: Any, **given: Any) -> int:
            return command(*arguments, **({flag.name: flag.default for flag in parameters} | given))

        named = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        signature = inspect.Signature([*named, *parameters])
        call.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
        call.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        return call

    return decorate


def plain(value: object) -> str:
    """A default as one would type it after a flag."""
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def shown(default: object) -> str | None:
    """A default as ``--help`` shows it; what is off or empty unless asked for goes without saying."""
    return None if default is True or default is False or default in (None, "") else plain(default)


def in_flags(message: str, flags: Iterable[str]) -> str:
    """A message with its settings as one types them in the shell; calls of Python functions stay as they are.

    >>> in_flags("binarize='static' needs batch_size=8; see np.load(path, key=None)", ["--binarize", "--batch-size"])
    '--binarize static needs --batch-size 8; see np.load(path, key=None)'

    Args:
        message: of an error, which speaks of settings as Python does.
        flags: of the command, such as ``--batch-size``.
    """
    names = {flag.removeprefix("--").replace("-", "_"): flag for flag in flags}
    setting = re.compile(rf"{_CALL}|(?<![\w.'/-])({'|'.join(map(re.escape, names))})(=({_VALUE})?)?(?![\w'(])")

    def typed(match: re.Match[str]) -> str:
        name, given, value = match.groups()
        if name is None or not (given or "_" in name):
            return match[0]
        fraction = re.fullmatch(r"1/(\d+)", value or "")
        if fraction:
            value = repr(1 / int(fraction[1]))
        words = re.sub(r"[\[\]',]", "", value or "")
        if words in ("None", "False"):
            return f"no {names[name]}"
        return names[name] if words in ("", "True") else f"{names[name]} {words}"

    return setting.sub(typed, message)


def flag_names(parameters: Iterable[inspect.Parameter]) -> list[str]:
    """What one types for these arguments, such as ``--batch-size``."""
    return [f"--{parameter.name.replace('_', '-')}" for parameter in parameters]
