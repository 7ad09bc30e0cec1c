"""Parts of messages: advice as a line of Python or of the shell, and lists of names."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

SHOWN = 8  # names in a message
_reader = {"shell": False}


@contextmanager
def in_shell() -> Generator[None]:
    """Within, advice is given for the shell."""
    before, _reader["shell"] = _reader["shell"], True
    try:
        yield
    finally:
        _reader["shell"] = before


def advice(python: str, shell: str) -> str:
    """The advice for who reads the message: a person at the shell, or one who called Python.

    Settings need no second form: the command line writes ``batch_size=8`` as ``--batch-size 8`` by itself.

    >>> advice("nelbo.load('runs/x')", "nelbo measure runs/x")
    "nelbo.load('runs/x')"
    """
    return shell if _reader["shell"] else python


def listed(names: Iterable[str]) -> str:
    """The first names, in quotes, and the number of the others.

    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    return some_of(list(map(repr, names)))


def some_of(parts: Sequence[str]) -> str:
    """The first parts of a list, and the number of the others."""
    shown = ", ".join(parts[:SHOWN])
    return f"{shown} and {len(parts) - SHOWN} more" if len(parts) > SHOWN else shown


def said(error: Exception) -> str:
    """What went wrong with which file, as in "runs/x/measure.json: No space left on device"."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
