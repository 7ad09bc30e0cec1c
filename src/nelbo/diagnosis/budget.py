"""The time that a diagnosis may take, and how much of a slow model is measured within it."""

import math
import time
from typing import final

from nelbo.evaluation import Evaluation, evaluation_mode

_TIMED = 4, 16, 64  # examples in one call
_FREE, _WHILE, _LONG = 0.05, 0.25, 1.0
"""Seconds of a call: up to which everything fits, beyond which no more examples are timed, and none again."""


@final
class Budget:
    """How many examples, draws or steps fit into a share of the time.

    Where everything fits, nothing depends on the clock. Else counts are powers of two, so that they seldom differ from
    run to run.

    Args:
        seconds: for the whole diagnosis; None is without end.
        pace: seconds that it takes to encode an example and to decode one z.
    """

    def __init__(self, seconds: float | None = None, pace: float = 0.0) -> None:
        self.seconds, self.pace = math.inf if seconds is None else seconds, pace
        self._fewer: dict[str, tuple[int, int]] = {}

    def at_most(self, wanted: int, what: str, *, share: float, pairs: float, least: int = 1) -> int:
        """As many as are wanted, or fewer.

        Args:
            wanted: without a budget.
            what: is counted, as the note about it says.
            share: of the seconds.
            pairs: encodings and decodings of one example that each takes.
            least: so many at any price.
        """
        if self.pace * pairs * wanted <= share * self.seconds:
            return wanted
        fitting = share * self.seconds / (self.pace * pairs)
        allowed = min(wanted, max(least, 1 << int(math.log2(max(fitting, 1.0)))))
        if allowed < wanted:
            self._fewer[what] = (allowed, wanted)
        return allowed

    @property
    def notes(self) -> tuple[str, ...]:
        """What was measured on fewer than without a budget."""
        if not self._fewer:
            return ()
        fewer = ", ".join(f"{allowed:,} of {wanted:,} {what}" for what, (allowed, wanted) in self._fewer.items())
        return (
            f"the model takes {self.pace:.2g} s to encode and decode an example, so that within seconds="
            f"{self.seconds:g} it was measured on {fewer}; seconds=None takes all, and shows smaller faults",
        )


def pace_of(evaluation: Evaluation) -> float:
    """Seconds that the model takes to encode an example and to decode one z; 0 where it fails, which checks explain.

    Of as many examples as take a while: of a few, it is what a call costs by itself. Where many take no time to speak
    of, everything fits, and the pace is 0: nothing is to depend on the clock then.
    """
    taken, part = 0.0, evaluation
    try:
        few, *_, many = _TIMED
        first = _once(evaluation[:1])  # with what happens at a first call only
        if first > _LONG and (one := _once(evaluation[:1])) > _LONG:
            return one
        if many * _once(evaluation[:few]) <= few * _FREE:
            return 0.0
        for few in _TIMED:
            part = evaluation[:few]
            taken = _fastest(part)
            if taken > _WHILE:
                break
    except Exception:  # a model of whatever kind
        return 0.0
    return taken / len(part) if taken > _FREE else 0.0


def _fastest(evaluation: Evaluation) -> float:
    """Seconds of a call: the least of three times, for one may hold what the machine did besides."""
    taken = _once(evaluation)
    return min(taken, *(_once(evaluation) for _ in range(2))) if taken < _LONG else taken


def _once(evaluation: Evaluation) -> float:
    """Seconds of one encoding and decoding of all the examples."""
    with evaluation_mode(evaluation.model, evaluation.seed):
        again = Evaluation(evaluation.model, evaluation.batch, seed=evaluation.seed)
        start = time.perf_counter()
        float(again.log_px.sum())  # waits for an accelerator
        return time.perf_counter() - start
