"""What a probe is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pssmr
from pssmr.admin.health import checks
from tests.admin.conftest import Admin, Counters, admin_of

STATUS: dict[str, Any] = {
    "halted": None,
    "active": True,
    "replicas": 4,
    "quorum": 3,
    "view": 3,
    "role": "follower",
    "peers": [{"up": True}, {"up": True}, {"up": False}],
    "log_error": None,
    "lag": 0,
}


def failing(config: pssmr.ClusterConfig, **changes: Any) -> list[str]:
    return [check["name"] for check in checks(config, {**STATUS, **changes}) if not check["ok"]]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"halted": "agreement is broken"}, "running"),
        ({"active": False}, "view"),
        ({"role": "learner"}, "votes"),
        ({"role": "retired"}, "votes"),
        ({"peers": [{"up": True}, {"up": False}, {"up": False}]}, "quorum"),
        ({"log_error": "no space left"}, "log"),
        ({"lag": 257}, "up_to_date"),
    ],
)
def test_a_replica_is_ready_unless_something_is_wrong(
    cluster_config: pssmr.ClusterConfig, changes: dict[str, Any], name: str
) -> None:
    assert failing(cluster_config) == []
    assert failing(cluster_config, **changes) == [name]


def test_a_replica_that_runs_is_alive_and_ready(shared: Admin) -> None:
    assert shared.ask("/livez").json == {"live": True, "halted": None}
    for path in ("/readyz", "/healthz"):
        answer = shared.ask(path)
        assert answer.status == 200
        assert answer.json["ready"]


def test_a_replica_that_has_stopped_for_good_says_so(cluster: Path) -> None:
    with pssmr.Replica(Counters(), cluster, id=0) as replica:
        admin = admin_of(replica, cluster)
        with pssmr.Client(cluster, timeout=1) as client, pytest.raises((pssmr.OutcomeUnknown, pssmr.Unavailable)):
            client.call(Counters.stop)
        live = admin.ask("/livez")
        assert live.status == 503
        assert "MemoryError" in live.json["halted"]
        ready = admin.ask("/readyz")
        assert ready.status == 503
        assert [check["name"] for check in ready.json["checks"] if not check["ok"]] == ["running"]
        assert admin.ask("/status").json["role"] == "halted"
        assert 'pssmr_events_total{event="halted"} 1.0' in admin.ask("/metrics").body.decode()


def test_it_answers_while_a_handler_blocks(shared: Admin) -> None:
    with shared.client() as client, pssmr.Client(shared.cluster, timeout=60) as other:
        token = other._open_core().submit([Counters.block.declared.method.encode_call(())])[0]
        assert Counters.entered.wait(60)
        try:
            status = shared.ask("/status").json
            assert status["execution"]["pending"] >= 1
            assert shared.ask("/livez").status == 200
        finally:
            Counters.gate.set()
        other._open_core().wait(token)
        assert client.call(Counters.add, "bob", 1) == 1
