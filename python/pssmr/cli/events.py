"""`pssmr events`: what has happened at replicas, and what happens."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from rich.text import Text

from pssmr.cli.admin_requests import UNREACHED, ask, connection, those_with_admin
from pssmr.cli.output import interruptible, messages, results
from pssmr.config import ClusterConfig, ReplicaConfig
from pssmr.event_feed import Event
from pssmr.exit_codes import ExitCode

_STYLES = {
    "misbehaviour": "red",
    "disk_full": "red",
    "halted": "red",
    "beyond_retention": "red",
    "peer_down": "yellow",
    "leader_suspected": "yellow",
    "epoch_entered": "cyan",
    "service_upgraded": "cyan",
    "retired": "yellow",
    "forgotten": "yellow",
    "snapshot_failed": "yellow",
    "recording_ended": "yellow",
}


def show_events(cluster: Path, *, replica_id: int | None, follow: bool, as_json: bool, timeout: float) -> ExitCode:
    """Prints the latest events of one replica or of all, the oldest first; with `follow`, also what comes, for ever."""
    asked = those_with_admin(ClusterConfig.load(cluster), replica_id)
    told: list[tuple[Event, int]] = []
    reached: list[ReplicaConfig] = []
    for replica in asked:
        try:
            told += [(event, replica.id) for event in ask(replica, "/events", timeout)]
            reached.append(replica)
        except UNREACHED as error:
            messages.print(f"replica {replica.id} does not answer at {replica.admin}: {error}", markup=False)
    for event, replica_of in sorted(told, key=lambda each: each[0]["time"]):
        _print(replica_of, event, as_json)
    if follow and reached:
        last = {each.id: max((e["number"] for e, of in told if of == each.id), default=0) for each in reached}
        interruptible()
        try:
            _follow(reached, last, as_json)
        except KeyboardInterrupt:
            return ExitCode.OK
    return ExitCode.OK if reached else ExitCode.UNREACHABLE


def _follow(replicas: Sequence[ReplicaConfig], last: dict[int, int], as_json: bool) -> None:
    """Prints what happens from now on, until all replicas are gone."""
    told: queue.SimpleQueue[tuple[int, Event | None]] = queue.SimpleQueue()

    def listen(replica: ReplicaConfig) -> None:
        try:
            for event in _stream(replica):
                told.put((replica.id, event))
        except UNREACHED:
            pass
        told.put((replica.id, None))

    for replica in replicas:
        threading.Thread(target=listen, args=(replica,), daemon=True).start()
    left = len(replicas)
    while left:
        replica_id, event = told.get()
        if event is None:
            left -= 1
            messages.print(f"replica {replica_id} has ended", markup=False)
        elif event["number"] > last[replica_id]:
            _print(replica_id, event, as_json)


def _stream(replica: ReplicaConfig) -> Iterator[Event]:
    # A stream says something every 15 s.
    with closing(connection(replica, 60.0)) as stream:
        stream.request("GET", "/events")
        answer = stream.getresponse()
        while line := answer.readline():
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


def _print(replica_id: int, event: Event, as_json: bool) -> None:
    if as_json:
        results.print(json.dumps({"at": replica_id, **event}))
        return
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
    details = " ".join(f"{k}={v}" for k, v in event.items() if k not in ("event", "number", "time"))
    style = _STYLES.get(event["event"], "")
    results.print(
        Text.assemble(f"{clock} replica {replica_id} ", (event["event"].replace("_", " "), style), f" {details}")
    )
