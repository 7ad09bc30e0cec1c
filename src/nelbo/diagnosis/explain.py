"""The pages of the findings, for readers."""

from nelbo.diagnosis import checks
from nelbo.diagnosis.registry import CHECKS
from nelbo.registry import did_you_mean

checks.load()


def explain(id: str) -> str:
    """Explain a finding: what it means, how it is measured, and what to change, as Markdown.

    Args:
        id: of the finding, such as "posterior-collapse".

    Raises:
        ValueError: there is no such finding; the message lists them.
    """
    if id not in CHECKS:
        raise ValueError(f"no finding {id!r}{did_you_mean(id, CHECKS)} There are: {', '.join(CHECKS)}")
    return str(CHECKS[id].page)


def index() -> list[tuple[str, str]]:
    """(id, title) of every finding, in the order in which they are checked."""
    return [(check.id, check.page.title) for check in CHECKS.values()]
