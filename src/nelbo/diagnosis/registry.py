"""The checks of a diagnosis: each a function of a case, registered under the id of its page."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from torch import Tensor

from nelbo.diagnosis.pages import Page
from nelbo.estimate import Estimate, Unit
from nelbo.report import Severity

_T = TypeVar("_T")


class NotApplicable(Exception):  # noqa: N818  (not an error of the user: a check that does not apply to this model)
    """Raised by a check, or by what it looks at, if this model or these data do not have such a quantity."""


def of_loss(measure: Callable[[], _T]) -> _T:
    """What is measured on the user's loss: whatever is wrong with that, what needs none of it is still diagnosed.

    Raises:
        NotApplicable: with the error's message, in the place of any other error.
    """
    try:
        return measure()
    except Exception as reason:
        raise NotApplicable(str(reason)) from reason


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check; made by :func:`passed` and :func:`found`."""

    severity: Severity | None
    evidence: tuple[Estimate, ...]
    cost: Estimate | None = None
    meaning: str = ""
    change: str = ""
    last: bool = False


def measured(
    label: str, value: float | Tensor, standard_error: float | Tensor = 0.0, unit: Unit = "nats", method: str = ""
) -> Estimate:
    """A labelled number, for evidence."""
    return Estimate.number(float(value), float(standard_error), method, unit, label=label)


def passed(*evidence: Estimate) -> Verdict:
    """Nothing is wrong, as these labelled numbers show."""
    return Verdict(None, evidence)


def found(
    severity: Severity,
    *evidence: Estimate,
    cost: Estimate | None = None,
    meaning: str = "",
    change: str = "",
    last: bool = False,
) -> Verdict:
    """Something is wrong.

    Args:
        severity: of this case.
        evidence: the labelled numbers that show it, the most telling first.
        cost: nats per example, where it can be measured.
        meaning: replaces the page's, where the case allows a more specific one.
        change: likewise, for nelbo's models and others alike.
        last: nothing else can be measured of this model and these data.
    """
    return Verdict(severity, evidence, cost, meaning, change, last)


@dataclass(frozen=True)
class Check:
    """A check: a function of a case, and the page that describes its finding."""

    id: str
    run: Callable[[Any], Verdict]

    @cached_property
    def page(self) -> Page:
        """The page of the finding: its meaning, the needs of the check, and the change to make."""
        return Page.read(self.id)


CHECKS: dict[str, Check] = {}
_Function = TypeVar("_Function", bound=Callable[[Any], Verdict])


def check(id: str) -> Callable[[_Function], _Function]:
    """Register a check under the id of its page, findings/ID.md.

    The function takes a Case and returns ``passed(...)`` or ``found(...)``, or raises NotApplicable.
    """

    def register(function: _Function) -> _Function:
        if id in CHECKS:
            raise ValueError(f"two checks have the id {id!r}")
        CHECKS[id] = Check(id, function)
        return function

    return register
