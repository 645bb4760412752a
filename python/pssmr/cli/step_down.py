"""`pssmr step-down`: has the leader give up its view."""

from __future__ import annotations

import json
import time
from pathlib import Path

from pssmr.cli.admin_requests import UNREACHED, act, ask, those_with_admin
from pssmr.cli.output import messages, results
from pssmr.config import ClusterConfig, ReplicaConfig
from pssmr.errors import ConfigError, Error, NoQuorum, OutcomeUnknown, StepDownRefused
from pssmr.exit_codes import ExitCode

_POLL = 0.005
"""Seconds between two looks whether the next leader leads."""


def step_down(cluster: Path, *, replica_id: int | None, as_json: bool, timeout: float) -> ExitCode:
    """Has a replica step down, or whoever leads, waits until another one leads, and says which.

    Raises:
        ConfigError: If the leader serves no HTTP, or its token is not here.
        NoQuorum: If nobody answers.
        StepDownRefused: If the replica does not lead, or can't step down now.
        OutcomeUnknown: If nobody leads in time.
    """
    config = ClusterConfig.load(cluster)
    asked = those_with_admin(config, replica_id)
    leader = asked[0] if replica_id is not None else _leader(config, asked, timeout)
    before = time.monotonic()
    view, following = _have_it_step_down(config, leader, timeout)
    leads = _wait(leader, view, before + timeout)
    milliseconds = (time.monotonic() - before) * 1000
    if as_json:
        said = {"stepped_down": leader.id, "leader": leads, "view": view, "milliseconds": round(milliseconds, 1)}
        results.print(json.dumps(said))
    else:
        note = "" if leads == following else f" (replica {following} did not)"
        results.print(f"replica {leader.id} has stepped down; replica {leads} leads{note}, {milliseconds:.0f} ms later")
    return ExitCode.OK


def _leader(config: ClusterConfig, asked: list[ReplicaConfig], timeout: float) -> ReplicaConfig:
    """Who leads, as the first replica says that answers."""
    for replica in asked:
        try:
            leader = int(ask(replica, "/status", timeout)["leader"])
        except UNREACHED as error:
            messages.print(f"replica {replica.id} does not answer at {replica.admin}: {error}", markup=False)
            continue
        return those_with_admin(config, leader)[0]
    raise NoQuorum("no replica answers at its admin address: ask on a replica's machine, or through `ssh -L`")


def _have_it_step_down(config: ClusterConfig, replica: ReplicaConfig, timeout: float) -> tuple[int, int]:
    """Has a replica step down: the view that the others leave for, and its leader."""
    token = config.replica_token(replica.id)
    if token is None:
        raise ConfigError(
            f"keys/admin-{replica.id}.token is not here", remedy=f"run it where replica {replica.id} runs, or copy it"
        )
    try:
        status, said = act(replica, "/actions/step-down", token, timeout)
    except UNREACHED as error:
        raise NoQuorum(f"replica {replica.id} does not answer at {replica.admin}: {error}") from None
    if status == 200:
        return int(said["view"]), int(said["leader"])
    refusal = said.get("error", {})
    text = f"{refusal.get('message', f'status {status}')}; {refusal.get('remedy', '')}"
    if status == 409:
        raise StepDownRefused(text, refusal.get("leader"))
    raise Error(text)


def _wait(replica: ReplicaConfig, view: int, deadline: float) -> int:
    """Who leads, once somebody does in this view or a later one."""
    while True:
        try:
            status = ask(replica, "/status", max(0.1, deadline - time.monotonic()))
            if status["view"] >= view and status["active"]:
                return int(status["leader"])
        except UNREACHED:
            pass
        if time.monotonic() > deadline:
            raise OutcomeUnknown(f"replica {replica.id} has stepped down, and nobody was seen to lead in time")
        time.sleep(_POLL)
