"""What a replica's admin service can have all replicas do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pssmr
from pssmr.cluster_keys import generate_key
from pssmr.errors import StepDownRefused
from pssmr.reconfiguration import sign
from tests.admin.conftest import Admin, Counters, ThreeReplicas, eventually, three_replicas


@pytest.fixture
def three(tmp_path: Path) -> Iterator[ThreeReplicas]:
    with three_replicas(tmp_path / "cluster") as running:
        yield running


def test_the_leader_steps_down_and_others_say_who_leads(three: ThreeReplicas) -> None:
    with three.client() as client:
        client.call(Counters.add, "ann", 1)
        refused = three.admins[2].act("/actions/step-down", {})
        assert refused.status == 409
        assert refused.json["error"]["code"] == "not_leading"
        assert refused.json["error"]["leader"] == 0
        assert "ask replica 0" in refused.json["error"]["remedy"]
        done = three.admins[0].act("/actions/step-down", {})
        assert (done.status, done.json) == (200, {"view": 1, "leader": 1})
        eventually(lambda: three.leads(1))
        assert client.call(Counters.add, "ann", 1) == 2
    assert three.admins[0].ask("/events", Accept="application/json").body.count(b'"stepping_down"') == 1


def test_a_replica_steps_down_for_the_program_that_it_runs_in(three: ThreeReplicas) -> None:
    replicas = three.running._replicas
    with three.client() as client:
        # Before a cluster has begun, nobody gives up anything.
        client.call(Counters.add, "ann", 1)
    with pytest.raises(StepDownRefused, match="it does not lead") as refused:
        replicas[1].step_down()
    assert refused.value.leader == 0
    assert replicas[0].step_down() == 1


def test_a_checkpoint_is_taken_by_all_at_the_wish_of_one(three: ThreeReplicas) -> None:
    with three.client() as client:
        client.call(Counters.add, "ann", 1)
        answer = three.admins[2].ask("/actions/checkpoint", "POST", Authorization=f"Bearer {three.admins[2].token}")
        assert answer.status == 200, answer.body
        digests = answer.json["state_digests"]
        assert digests == {str(replica): digest.hex() for replica, digest in client.state_digests().items()}
    # Only one replica's key was used, and none of a client.
    eventually(lambda: three.admins[0].ask("/status").json["clients"]["links"] == 0)


def test_a_change_that_somebody_else_signed_is_refused(three: ThreeReplicas, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    generate_key(other)
    change = sign(three.config, three.config.membership, pssmr.RemoveReplica(2), other.read_text())
    refused = three.admins[0].act("/actions/reconfigure", {"change": change.hex()})
    assert refused.status == 409
    assert three.admins[0].ask("/status").json["epoch"] == 0


@pytest.mark.parametrize(
    ("path", "value", "status", "says"),
    [
        ("/actions/reconfigure", {}, 400, "--sign"),
        ("/actions/reconfigure", {"change": "remove 2"}, 400, "hexadecimal"),
        ("/actions/reconfigure", {"change": "00" * 3000}, 413, "4096 bytes"),
        ("/actions/checkpoint", {"slot": 3}, 400, "'slot'"),
        ("/actions/step-down", {}, 409, "only replica"),
    ],
)
def test_what_can_not_be_done_says_why(admin: Admin, path: str, value: object, status: int, says: str) -> None:
    answer = admin.act(path, value)
    assert answer.status == status
    assert says in answer.json["error"]["message"] + answer.json["error"]["remedy"]


def test_what_all_replicas_have_to_do_is_asked_for_rarely(admin: Admin) -> None:
    answers = [admin.act("/actions/step-down", {}) for _ in range(20)]
    refused = [each for each in answers if each.status == 429]
    assert len(refused) >= 10
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert admin.act("/actions/log-level", {"level": "warning"}).status == 200, "others are not kept from it"
