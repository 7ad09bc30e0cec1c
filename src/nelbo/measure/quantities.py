"""The words for the rows of a report: quantities.md, edited by hand."""

import re
from functools import cache
from importlib.resources import files
from typing import Any

from nelbo.estimate import Estimate
from nelbo.report.parts import Row


def row(id: str, held_out: Estimate | None, training: Estimate | None = None, **facts: Any) -> Row:
    """A row of held-out and training data, with its label and meaning; the facts fill the braces in these."""
    label, meaning = words()[id]
    values = {"held_out": held_out, "training": training}
    known = {column: estimate for column, estimate in values.items() if estimate is not None}
    return Row(id.format(**facts), label.format(**facts), meaning.format(**facts), known)


@cache
def words() -> dict[str, tuple[str, str]]:
    """Id -> (label, meaning)."""
    text = files("nelbo.measure").joinpath("quantities.md").read_text("utf-8")
    _, *parts = re.split(r"^## (\S+): (.+)\n", text, flags=re.MULTILINE)
    meanings = (" ".join(meaning.split()) for meaning in parts[2::3])
    return dict(zip(parts[::3], zip(parts[1::3], meanings, strict=True), strict=True))
