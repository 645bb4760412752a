"""The other process of `histories.outcomes_elsewhere`: commands come on standard input, what they came to goes out."""

from __future__ import annotations

import datetime
import json
import sys
import time

from pssmr.cli.services import load_service_class
from pssmr.testing.histories import Outcome, outcome_of
from pssmr.testing.quiet import handlers_quiet


def main() -> None:
    """Runs the commands that standard input has."""
    task = json.load(sys.stdin)
    if task["clock_days"]:
        _shift_clock(datetime.timedelta(days=task["clock_days"]))
    # After the clock is another one: the module may take functions and classes out of `time` and `datetime`.
    service = load_service_class(task["application"])
    with handlers_quiet():
        outcomes = [outcome_of(service(), [bytes.fromhex(each) for each in history]) for history in task["histories"]]
    sys.stdout.write(f"\n{json.dumps([_told(outcome) for outcome in outcomes])}\n")


def _told(outcome: Outcome) -> dict[str, object]:
    snapshot = outcome.snapshot
    return {
        "replies": [reply.hex() for reply in outcome.replies],
        "digest": outcome.digest.hex(),
        "snapshot": snapshot.hex() if isinstance(snapshot, bytes) else None,
        "obstacle": snapshot if isinstance(snapshot, str) else "",
    }


def _shift_clock(by: datetime.timedelta) -> None:
    """Makes all that Python code asks for the time say a later one."""
    seconds, true_time, true_time_ns = by.total_seconds(), time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + int(seconds) * 1_000_000_000

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Later:
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> Later:
            return cls.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Later:
            return cls.now()

    class LaterDate(datetime.date):
        @classmethod
        def today(cls) -> LaterDate:
            return cls.fromtimestamp(time.time())

    datetime.datetime, datetime.date = Later, LaterDate  # type: ignore[misc]


if __name__ == "__main__":
    main()
