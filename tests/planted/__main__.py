"""Run the suites of planted faults and print a line for each case: python -m tests.planted [NAME ...] [-v] [--docs].

--wild runs those alone that are written as other projects write them; -v prints every diagnosis; --docs writes the
tables and the figures into docs/.
"""

import sys
import traceback

from tests.planted.suite import Outcome, cases, examine


def main(arguments: list[str]) -> int:
    """Print a line for each case, and the count of found, missed and false alarms."""
    verbose = "-v" in arguments
    outcomes: list[Outcome] = []
    failed: list[str] = []
    names = [a for a in arguments if not a.startswith("-")]
    plain = [] if "--wild" in arguments else cases(names)
    for planted in plain if names else [*plain, *cases(wild=True)]:
        try:
            outcome = examine(planted)
        except Exception:  # one that cannot be diagnosed does not hide what the others show
            failed.append(planted.name)
            print(f"WRONG {planted.name}\n{traceback.format_exc()}", flush=True)
            continue
        outcomes.append(outcome)
        mark = "ok    " if outcome.right else "WRONG "
        expected = planted.finding or "healthy"
        print(
            f"{mark}{planted.name:28} {planted.data:14} {planted.network:6} {expected:24} -> {outcome.said} "
            f"[{outcome.seconds:.1f} s]",
            flush=True,
        )
        if verbose:
            print(outcome.findings)
    faults = [o for o in outcomes if o.planted.finding is not None]
    healthy = [o for o in outcomes if o.planted.finding is None]
    print(f"faults named first: {sum(o.right for o in faults)} of {len(faults)}")
    print(f"healthy models with a false alarm: {sum(not o.right for o in healthy)} of {len(healthy)}")
    if failed:
        print(f"not diagnosed: {', '.join(failed)}")
    elif "--docs" in arguments:
        from tests.planted import pages

        pages.write(outcomes)
    return int(bool(failed) or not all(o.right for o in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
