"""The other process of `histories.outcome_elsewhere`: commands come on standard input, what they came to goes out."""

from __future__ import annotations

import json
import logging
import sys

from pssmr.cli.services import load_service_class
from pssmr.testing.histories import outcome_of


def main() -> None:
    """Runs the commands that standard input has."""
    task = json.load(sys.stdin)
    # What fails there has failed in the first process, too, and was logged.
    logging.getLogger("pssmr.handler").addHandler(logging.NullHandler())
    logging.getLogger("pssmr.handler").propagate = False
    service = load_service_class(task["application"])()
    outcome = outcome_of(service, [bytes.fromhex(payload) for payload in task["payloads"]])
    snapshot = outcome.snapshot
    told = {
        "replies": [reply.hex() for reply in outcome.replies],
        "digest": outcome.digest.hex(),
        "snapshot": snapshot.hex() if isinstance(snapshot, bytes) else None,
        "obstacle": snapshot if isinstance(snapshot, str) else "",
    }
    sys.stdout.write(f"\n{json.dumps(told)}\n")


if __name__ == "__main__":
    main()
