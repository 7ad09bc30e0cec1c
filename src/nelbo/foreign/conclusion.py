"""What is found out about a model, and how."""

from typing import NamedTuple


class Conclusion(NamedTuple):
    """Something that was found out about a model, and how."""

    about: str
    """``"q(z|x)"``, ``"p(z)"``, ``"p(x|z)"``, ``"z"``, ``"x"`` or ``"mode"``."""
    found: str
    because: str

    def __str__(self) -> str:
        return f"{self.about}: {self.found}, because {self.because}"
