"""`pssmr step-down`, and changes that are signed in one place and made in another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin.conftest import Counters, ThreeReplicas, eventually, three_replicas
from tests.cli.conftest import Pssmr


@pytest.fixture
def three(tmp_path: Path) -> Iterator[ThreeReplicas]:
    with three_replicas(tmp_path / "cluster") as running:
        yield running


def test_step_down_from_the_command_line(three: ThreeReplicas, pssmr: Pssmr) -> None:
    cluster = str(three.running.cluster)
    done = pssmr("step-down", "--cluster", cluster, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["stepped_down"], said["leader"], said["view"]) == (0, 1, 1)
    eventually(lambda: three.leads(1))
    refused = pssmr("step-down", "--cluster", cluster, "--id", 2)
    assert refused.returncode == 1
    assert "ask replica 1" in refused.stderr
    (three.running.cluster.parent / "keys" / "admin-1.token").unlink()
    lacking = pssmr("step-down", "--cluster", cluster)
    assert lacking.returncode == 3
    assert "keys/admin-1.token is not here" in lacking.stderr
    three.running.stop_all()
    assert pssmr("step-down", "--cluster", cluster).returncode == 4


def test_a_change_that_the_administrator_signed_is_made(three: ThreeReplicas, pssmr: Pssmr) -> None:
    with three.client() as client:
        client.call(Counters.add, "ann", 1)
    signed = pssmr("reconfigure", "remove", str(three.running.cluster), 2, "--sign")
    assert signed.returncode == 0, signed.stderr
    assert "POST it to /actions/reconfigure" in signed.stderr
    body = json.loads(signed.stdout)
    done = three.admins[2].act("/actions/reconfigure", body)
    assert (done.status, done.json) == (200, {"made": True}), done.body
    eventually(lambda: three.admins[0].ask("/status").json["epoch"] == 1)
    assert [each["id"] for each in three.admins[0].ask("/status").json["members"]] == [0, 1]
    again = three.admins[0].act("/actions/reconfigure", body)
    assert again.status == 409
    assert again.json["error"]["code"] == "refused"
    assert "epoch" in again.json["error"]["message"]
