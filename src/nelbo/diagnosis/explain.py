"""The page of a finding, from the registry: what ``nelbo explain ID`` prints and docs/findings/ID.md holds."""

from nelbo.diagnosis import checks
from nelbo.diagnosis.registry import CHECKS, Check

checks.load()


def explain(id: str) -> str:
    """What a finding means, how it is measured, and what to change, as Markdown.

    Args:
        id: of the finding, such as "posterior-collapse".

    Raises:
        ValueError: there is no such finding; the message lists them.
    """
    if id not in CHECKS:
        import difflib

        near = difflib.get_close_matches(id, CHECKS, 1)
        hint = f", did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"no finding {id!r}{hint} There are: {', '.join(CHECKS)}")
    return page(CHECKS[id])


def page(check: Check, figure: str = "") -> str:
    """The page of a check as Markdown, with a figure where there is one."""
    parts = [
        f"# {check.title}",
        f"`{check.id}`",
        "## What it means",
        check.meaning,
        *([figure] if figure else []),
        "## What to change",
        f"In nelbo:\n\n```text\n{check.change}\n```",
        f"In a model that is not nelbo's: {check.elsewhere}",
        "## How it is measured",
        check.details,
        _false_alarms(check),
        _needs(check),
        _explains(check),
        "## Source",
        check.source,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def index() -> list[tuple[str, str]]:
    """(id, title) of every finding, in the order in which they are checked."""
    return [(check.id, check.title) for check in CHECKS.values()]


def _false_alarms(check: Check) -> str:
    if check.false_alarms == 0:
        return "False alarms: none by chance; the check reads facts and tests nothing."
    return f"False alarms: where nothing is wrong, it is found with a probability of {check.false_alarms:g} at most."


def _explains(check: Check) -> str:
    if "*" in check.explains:
        return (
            "While it lasts, whatever else is measured may only follow from it and is placed behind it; what is "
            "read off somebody's loss or reported numbers is not."
        )
    return f"It explains: {', '.join(f'`{other}`' for other in check.explains)}." if check.explains else ""


def _needs(check: Check) -> str:
    words = {
        "held_out": "`held_out=` (or data with a validation part)",
        "history": "`history=`",
        "loss": "`loss=`",
        "reported": "`reported=`",
        "networks": "a model made of torch modules",
    }
    return f"It needs {' and '.join(words[need] for need in check.needs)}." if check.needs else ""
