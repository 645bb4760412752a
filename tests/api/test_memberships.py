"""The core's client and memberships: what it knows, and changes that it asks for."""

from __future__ import annotations

from typing import Any

import pytest

import pssmr
from pssmr._core import ClientCore, generate_key, sign_reconfiguration
from pssmr.client_options import ClientOptions
from pssmr.config import ClusterConfig
from tests.api.conftest import StartCluster
from tests.api.ledger import Ledger

CLUSTER = "0123456789abcdef" * 2
ADMINISTRATOR, _ = generate_key()
_, KEY = generate_key()
NEW = (4, KEY, "host:7000", "host:8000")


def sign(change: str = "remove", **arguments: Any) -> bytes:
    return sign_reconfiguration(**{"cluster": CLUSTER, "epoch": 3, "change": change, "key": ADMINISTRATOR} | arguments)


def member(cluster: ClusterConfig, replica: int) -> tuple[int, str, str, str]:
    each = cluster.replicas[replica]
    return (each.id, each.key, each.peers, each.clients)


def connect(members: list[tuple[int, str, str, str]], epoch: int = 0) -> ClientCore:
    return ClientCore(
        cluster=CLUSTER,
        fault_model="bft",
        epoch=epoch,
        members=members,
        key=ADMINISTRATOR,
        for_loop=False,
        timeout=1,
        in_flight_max=1,
        request_bytes_max=100,
        result_bytes_max=100,
    )


def test_a_client_knows_the_membership_that_it_was_given_in_the_order_of_seniority() -> None:
    _, other = generate_key()
    members = [(9, KEY, "a:1", "127.0.0.1:1"), (2, other, "b:1", "127.0.0.1:1")]
    client = connect(members, epoch=5)
    assert client.membership() == (5, members)
    with pytest.raises(pssmr.ConfigError, match="no such replica"):
        client.submit_status(0)
    client.forget([client.submit_status(9)])
    client.close()
    with pytest.raises(pssmr.Closed):
        client.membership()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([], "0 replicas"),
        ([NEW, NEW], "same key"),
        ([(64, KEY, "a:1", "a:2")], "0 to 63"),
        ([(0, "abc", "a:1", "a:2")], "replica 0"),
        ([(0, KEY, "a:1", "")], "address for clients"),
        ([(0, KEY, "a:1", "a" * 300)], "longer than 262"),
    ],
)
def test_a_membership_that_cannot_be_is_refused(members: list[tuple[int, str, str, str]], why: str) -> None:
    with pytest.raises(pssmr.ConfigError, match=why):
        connect(members)


def test_the_signature_is_the_administrators_for_one_change_of_one_epoch() -> None:
    signed = sign(old=1)
    assert signed[:-64] == (3).to_bytes(8, "little") + b"\x02" + (1).to_bytes(2, "little")
    assert signed == sign(old=1)
    other_key, _ = generate_key()
    others = [sign(old=1, key=other_key), sign(old=1, epoch=4), sign(old=2), sign(old=1, cluster="0" * 32)]
    assert len({each[-64:] for each in [signed, *others]}) == 5
    added, replaced = sign("add", new=NEW), sign("replace", old=1, new=NEW)
    assert bytes.fromhex(KEY) in added
    assert b"host:7000" in added
    assert b"host:8000" in replaced


@pytest.mark.parametrize(
    ("change", "arguments", "why"),
    [
        ("swap", {"old": 1}, "add, remove or replace"),
        ("add", {}, "takes the new one"),
        ("add", {"old": 1, "new": NEW}, "no old one"),
        ("remove", {"old": 1, "new": NEW}, "no new one"),
        ("replace", {"old": 1}, "the old one and the new one"),
        ("remove", {"old": 64}, "0 to 63"),
        ("add", {"new": (64, KEY, "a:1", "a:2")}, "0 to 63"),
        ("add", {"new": (4, "abc", "a:1", "a:2")}, "replica 4"),
        ("add", {"new": (4, KEY, "", "a:2")}, "address for replicas"),
        ("add", {"new": (4, KEY, "a:1", "")}, "one for clients"),
        ("remove", {"old": 1, "key": "no key"}, "key"),
        ("remove", {"old": 1, "cluster": "12"}, "32 hexadecimal digits"),
    ],
)
def test_a_change_that_cannot_be_is_not_signed(change: str, arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(pssmr.ConfigError, match=why):
        sign(change, **arguments)


def test_the_replicas_answer_to_a_change_with_the_reason_why_it_is_not_made(start_cluster: StartCluster) -> None:
    cluster = ClusterConfig.load(start_cluster(Ledger))
    client = ClientOptions.load(cluster, None, 60, 16).connect(for_loop=False)
    assert client.membership() == (0, [member(cluster, 0)])
    change = sign_reconfiguration(
        cluster=cluster.id, epoch=0, change="replace", old=0, new=(1, KEY, "a:1", "a:2"), key=ADMINISTRATOR
    )
    answer = client.wait(client.submit_reconfiguration(change))
    assert "administrator" in answer.decode()
    assert client.membership() == (0, [member(cluster, 0)])
    client.close()
