"""The page of each finding: findings/ID.md, edited by hand, read when it is needed."""

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, get_args

Need = Literal["held_out", "history", "loss", "networks", "reported"]
"""An input that a check needs besides a model and data; the check is skipped without it."""
About = Literal["model", "code"]
"""The trained model, or what somebody wrote or reported, which follows from nothing that the model does."""

NEEDS: dict[Need, str] = {
    "held_out": "held_out=, examples that were not trained on",
    "history": "history=, a dictionary for each epoch",
    "loss": "loss=, the loss function",
    "reported": "reported=, the numbers to check",
    "networks": "a model made of torch modules",
}
_SECTIONS = {
    "meaning": "What it means",
    "change": "What to change in nelbo",
    "fix_in_your_code": "What to change in your own code",
    "method": "How it is measured",
    "source": "Source",
}


@dataclass(frozen=True)
class Page:
    """A finding in words. The first five attributes are the page's front matter, the others its sections.

    Attributes:
        id: stable name.
        title: the fault in a few words.
        about: "model" or "code".
        needs: what the check needs besides a model and data.
        false_alarms: the largest probability of the finding where nothing is wrong; 0 if it only reads facts.
        explains: ids of findings that can follow from this one; "*" for all others that are about the model.
        meaning: what the finding implies, in about two sentences.
        change: the code to change in nelbo.
        fix_in_your_code: what to change in a model that was not built with nelbo.
        method: what is measured and how.
        source: references.
    """

    id: str
    title: str
    about: About
    needs: tuple[Need, ...]
    false_alarms: float
    explains: tuple[str, ...]
    meaning: str
    change: str
    fix_in_your_code: str
    method: str
    source: str

    @classmethod
    def read(cls, id: str) -> "Page":
        """Read findings/ID.md.

        Raises:
            ValueError: its front matter or a section is missing or misspelled.
        """
        text = files("nelbo.diagnosis").joinpath("findings", f"{id}.md").read_text("utf-8")
        try:
            _, front, body = text.split("---\n", 2)
            facts = {key: json.loads(value) for key, value in (line.split(": ", 1) for line in front.splitlines())}
        except ValueError as error:
            raise ValueError(f"findings/{id}.md needs front matter of JSON values between two --- lines") from error
        body = re.sub(r"^!\[.*\n\n", "", body, flags=re.MULTILINE)  # figures are for the web
        parts = re.split(r"^## (.+)\n+", body, flags=re.MULTILINE)
        sections = dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))
        if list(sections) != list(_SECTIONS.values()) or list(facts) != list(cls.__annotations__)[1:6]:
            raise ValueError(
                f"findings/{id}.md has {', '.join(facts)} in its front matter and the sections {', '.join(sections)}; "
                f"expected {', '.join(list(cls.__annotations__)[1:6])} and {', '.join(_SECTIONS.values())}"
            )
        words = {name: _unwrapped(sections[title]) for name, title in _SECTIONS.items()}
        words["change"] = sections[_SECTIONS["change"]].removeprefix("```python\n").removesuffix("\n```")
        needs, about, explains = facts["needs"], facts["about"], tuple(facts["explains"])
        if not set(needs) <= set(NEEDS) or about not in get_args(About):
            raise ValueError(
                f"findings/{id}.md: needs must be among {', '.join(NEEDS)}, and about must be "
                f"{' or '.join(get_args(About))}"
            )
        return cls(id, facts["title"], about, tuple(needs), facts["false_alarms"], explains, **words)

    def __str__(self) -> str:
        """The page as Markdown, with its front matter in sentences."""
        parts = [f"# {self.title}", f"`{self.id}`"]
        for name, title in _SECTIONS.items():
            text = getattr(self, name)
            parts += [f"## {title}", f"```python\n{text}\n```" if name == "change" else text]
            parts += [self._facts()] if name == "method" else []
        return "\n\n".join(parts) + "\n"

    def _facts(self) -> str:
        alarms = (
            f"if nothing is wrong, this finding is made with a probability of at most {self.false_alarms:g}."
            if self.false_alarms
            else "none by chance; the check reads facts and does not test anything."
        )
        lines = [f"False alarms: {alarms}"]
        if self.needs:
            lines.append(f"It needs {'; and '.join(NEEDS[need] for need in self.needs)}.")
        if "*" in self.explains:
            lines.append(
                "While it lasts, any other finding about the model may be a mere consequence and is listed behind it. "
                "Findings about the code of a loss or about reported numbers are not."
            )
        elif self.explains:
            lines.append(f"It explains: {', '.join(f'`{other}`' for other in self.explains)}.")
        return "\n\n".join(lines)


def _unwrapped(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
