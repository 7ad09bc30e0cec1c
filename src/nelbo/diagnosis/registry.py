"""The checks of a diagnosis: each a function of a case, registered with what its finding means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nelbo.diagnosis.finding import Measured, Severity

if TYPE_CHECKING:
    from nelbo.diagnosis.case import Case

Need = Literal["held_out", "history", "loss", "networks", "reported"]
"""What a check needs besides a model and data: else it is skipped."""

ALPHA = 1e-3
"""The largest probability with which a check's test may call a model faulty that is not."""


class NotMeasurable(Exception):  # noqa: N818  (no error of the user: a check that this model has no use for)
    """Raised by a check, or by what it looks at, when this model or these data have no such quantity."""


@dataclass(frozen=True)
class Verdict:
    """What a check says; made by :func:`passed` and :func:`found`."""

    severity: Severity | None
    evidence: tuple[Measured, ...]
    cost: Measured | None = None
    meaning: str = ""
    change: str = ""
    last: bool = False


def passed(*evidence: Measured) -> Verdict:
    """Nothing is wrong, as these numbers show."""
    return Verdict(None, evidence)


def found(
    severity: Severity,
    *evidence: Measured,
    cost: Measured | None = None,
    meaning: str = "",
    change: str = "",
    last: bool = False,
) -> Verdict:
    """Something is wrong.

    Args:
        severity: of this case.
        evidence: the numbers that show it, the most telling first.
        cost: nats per example, where it can be measured.
        meaning: in place of the check's own, where the case allows to say more.
        change: likewise.
        last: nothing else can be measured of this model and these data.
    """
    return Verdict(severity, evidence, cost, meaning, change, last)


@dataclass(frozen=True)
class Check:
    """A check and what its finding means.

    Attributes:
        id: stable name.
        title: of the finding, in a few words.
        run: the function.
        needs: what it needs besides a model and data.
        false_alarms: largest probability of a finding where nothing is wrong; 0 where it reads facts and tests nothing.
        meaning: two sentences.
        change: the line that mends it in nelbo.
        elsewhere: what to change in a model that is not nelbo's, in a sentence.
        source: where it is known from.
        explains: ids of findings that follow from this one; "*" for all others that are not given.
    """

    id: str
    title: str
    run: "Callable[[Case], Verdict]"
    needs: tuple[Need, ...]
    false_alarms: float
    meaning: str
    change: str
    elsewhere: str
    source: str
    explains: tuple[str, ...]

    @property
    def given(self) -> bool:
        """Whether it is about what somebody wrote or reported, which follows from nothing that the model does."""
        return bool({"loss", "reported"} & set(self.needs)) or self.id in _WRITTEN

    @property
    def details(self) -> str:
        """What is measured and how, from the function's docstring."""
        lines = (self.run.__doc__ or "").strip().splitlines()
        return "\n".join(line.removeprefix("    ") for line in lines)


CHECKS: dict[str, Check] = {}
_WRITTEN = (
    "no-sampling",
    "sample-with-variance",
    "warm-up-unfinished",
    "validation-beta",
    "train-and-test-mixed",
    "another-binarization",
)


def check(
    id: str,
    *,
    title: str,
    needs: Sequence[Need] = (),
    false_alarms: float,
    meaning: str,
    change: str,
    elsewhere: str,
    source: str,
    explains: Sequence[str] = (),
) -> "Callable[[Callable[[Case], Verdict]], Callable[[Case], Verdict]]":
    """Register a check; its docstring says what is measured, and :class:`Check` what the arguments are.

    The function takes a Case and returns ``passed(...)`` or ``found(...)``, or raises NotMeasurable.
    """

    def register(function: "Callable[[Case], Verdict]") -> "Callable[[Case], Verdict]":
        if id in CHECKS:
            raise ValueError(f"two checks are called {id!r}")
        CHECKS[id] = Check(
            id,
            title,
            function,
            tuple(needs),
            false_alarms,
            meaning,
            change,
            elsewhere,
            source,
            tuple(explains),
        )
        return function

    return register
