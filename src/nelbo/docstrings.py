"""What docstrings say of each argument, for flags and forms."""

import inspect
import re
from collections.abc import Callable
from typing import Any

_ENTRY = re.compile(r"^ {4}(\w+): ", re.MULTILINE)


def described(function: Callable[..., Any]) -> dict[str, str]:
    """The sentences on each argument in a docstring's Args section."""
    text = inspect.getdoc(function) or ""
    if "Args:\n" not in text:
        return {}
    body = re.split(r"\n\S", text.split("Args:\n", 1)[1])[0]
    parts = _ENTRY.split(body)[1:]
    return {name: " ".join(words.split()) for name, words in zip(parts[::2], parts[1::2], strict=True)}
