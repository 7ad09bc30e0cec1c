"""The order of findings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from nelbo.report import Finding, Severity

_RANK = {severity: rank for rank, severity in enumerate(get_args(Severity))}


def ordered(
    findings: list[Finding], explains: Mapping[str, Sequence[str]], *, independent: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """Sort findings by severity, then by cost; each is followed by its consequences and as costly as the costliest.

    Args:
        findings: in any order.
        explains: for the id of a finding, the ids of its possible consequences, or "*" for all others. A finding cannot
            explain a more severe one; one that names another explains it before one that says "*"; of two that explain
            each other, the first in this mapping does.
        independent: ids that "*" does not include.
    """
    everything = [other for other in explains if other not in independent]
    named = {cause: [other for other in effects if other != "*"] for cause, effects in explains.items()}
    broad = {cause: everything for cause, effects in explains.items() if "*" in effects}

    def rank(finding: Finding) -> tuple[int, float]:
        cost = float(finding.cost_nats) if finding.cost_nats is not None else 0.0
        return _RANK[finding.severity], -cost

    by_rank = sorted(findings, key=rank)
    causes: dict[str, str] = {}
    for effects in (named, broad):
        for finding in by_rank:
            for other in by_rank:
                if finding.id in causes or _RANK[other.severity] > _RANK[finding.severity]:
                    continue
                if _explains(other.id, finding.id, effects) and finding.id not in _chain(other.id, causes):
                    causes[finding.id] = other.id
    by_rank = [_softened(finding, causes) for finding in by_rank]
    order: list[Finding] = []

    def place(finding: Finding) -> None:
        order.append(replace(finding, follows_from=causes.get(finding.id)))
        for other in by_rank:
            if causes.get(other.id) == finding.id:
                place(other)

    def costliest(root: Finding) -> tuple[int, float]:
        costs = [rank(finding)[1] for finding in by_rank if root.id in _chain(finding.id, causes)]
        return _RANK[root.severity], min(costs)

    for root in sorted((finding for finding in by_rank if finding.id not in causes), key=costliest):
        place(root)
    return tuple(order)


def _softened(finding: Finding, causes: Mapping[str, str]) -> Finding:
    """At most a warning of what a longer training would mend: only the one finding that says so is severe."""
    unripe = finding.severity == "severe" and _UNRIPE in _chain(finding.id, causes)[1:]
    return replace(finding, severity="warning") if unripe else finding


_UNRIPE = "not-converged"


def _explains(cause: str, effect: str, explains: Mapping[str, Sequence[str]]) -> bool:
    if cause == effect or effect not in explains.get(cause, ()):
        return False
    order = list(explains)
    return cause not in explains.get(effect, ()) or order.index(cause) < order.index(effect)


def _chain(start: str, causes: Mapping[str, str]) -> list[str]:
    """A finding, its cause, that one's cause, ..."""
    chain = [start]
    while chain[-1] in causes:
        chain.append(causes[chain[-1]])
    return chain
