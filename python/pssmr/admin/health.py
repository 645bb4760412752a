"""Whether a replica is alive, and whether it does its share of the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from pssmr.config import ClusterConfig


class Check(TypedDict):
    """One condition of being ready."""

    name: str
    ok: bool
    detail: str


def checks(config: ClusterConfig, status: Mapping[str, Any]) -> list[Check]:
    """What a replica has to be, to be one that the cluster can count on.

    Whoever takes replicas down one after the other waits until all of this is true again before the next one.
    """
    linked = 1 + sum(peer["up"] for peer in status["peers"])
    lag, lag_max = status["lag"], config.settings.unexecuted_slots_max

    def check(name: str, ok: bool, well: str, ill: str) -> Check:
        return {"name": name, "ok": ok, "detail": well if ok else ill}

    standing = {
        "learner": "it does not vote: it fetches a state, or does not remember its votes until they no longer matter",
        "retired": "it is not one of the replicas any more: it can be stopped for good",
    }
    return [
        check("running", status["halted"] is None, "it runs", f"it has stopped for good: {status['halted']}"),
        check("view", status["active"], f"it is in view {status['view']}", "a view change is going on"),
        check(
            "votes",
            status["role"] not in standing,
            "it votes",
            standing.get(status["role"], ""),
        ),
        check(
            "quorum",
            linked >= status["quorum"],
            f"it reaches {linked} of {status['replicas']} replicas, itself included",
            f"it reaches {linked} replicas, itself included, and {status['quorum']} are a quorum",
        ),
        check("log", status["log_error"] is None, "it can write", f"it can't write: {status['log_error']}"),
        check("up_to_date", lag <= lag_max, f"{lag} slots behind", f"{lag} slots behind, more than {lag_max}"),
    ]
