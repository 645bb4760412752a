"""Changes of the membership as programs make them: what is done, what is refused, what clients know."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path
from typing import Literal

import pytest

import pssmr
from pssmr.cluster_keys import generate_key
from pssmr.cluster_ports import free_ports
from pssmr.errors import ConfigError
from pssmr.settings import Settings
from pssmr.testing import LocalCluster
from tests.cluster.ledger import Ledger


def three(durability: Literal["sync", "memory"] = "memory") -> LocalCluster:
    """Three replicas, of which one may stop."""
    settings = Settings(durability=durability, workers=2)
    return LocalCluster(Ledger, replicas=3, fault_model="cft", settings=settings, in_process=True)


def all_vote(cluster: LocalCluster) -> None:
    """Waits until the replicas have heard from each other that nothing has begun before."""
    deadline = time.monotonic() + 60
    with cluster.client() as client:
        while any(each is None or each["role"] not in ("leader", "follower") for each in client.status().values()):
            assert time.monotonic() < deadline, client.status()


def newcomer(tmp_path: Path, number: int) -> pssmr.Member:
    """A replica that nobody has started, and nobody will."""
    peers, clients = (f"127.0.0.1:{port}" for port in free_ports(2))
    return pssmr.Member(id=number, key=generate_key(tmp_path / f"{number}.pem"), peers=peers, clients=clients)


def test_replicas_come_and_go_and_the_file_says_so() -> None:
    with three() as cluster, cluster.client(timeout=60) as client:
        before = cluster.config
        assert client.call(Ledger.add, 1) == 1
        assert client.membership() == before.membership
        assert cluster.add_replica() == 3
        assert cluster.replace_replica(0) == 4
        cluster.remove_replica(1)
        assert cluster.running() == [2, 3, 4]
        assert client.call(Ledger.add, 1) == 2
        assert client.membership() == cluster.config.membership
        assert (cluster.config.epoch, cluster.config.membership.ids) == (3, (2, 3, 4))
        assert cluster.leader() in (2, 3, 4)
        assert list(client.status()) == [2, 3, 4]
        with pytest.raises(ConfigError, match="there is no replica 1; the ids are 2 to 4"):
            cluster.remove_replica(1)
        # Whoever knows the first membership only learns the others from the one replica that is left of it.
        with pssmr.Client(before, timeout=60) as late:
            assert list(late.status()) == [2, 3, 4]
            assert late.call(Ledger.add, 1) == 3
            assert late.membership() == cluster.config.membership


def test_a_change_after_which_the_cluster_might_stand_still_is_not_sent(tmp_path: Path) -> None:
    with three() as cluster, cluster.client(timeout=60) as client:
        all_vote(cluster)
        assert client.call(Ledger.add, 1) == 1
        cluster.stop(1)
        with pytest.raises(pssmr.ReconfigurationRefused, match="replica 1 does not answer"):
            client.reconfigure(pssmr.ReplaceReplica(0, newcomer(tmp_path, 4)))
        # The one that is gone may be replaced by one that has nothing yet; then nobody else may go.
        client.reconfigure(pssmr.ReplaceReplica(1, newcomer(tmp_path, 5)))
        with pytest.raises(pssmr.ReconfigurationRefused, match="replica 5 does not answer"):
            client.reconfigure(pssmr.ReplaceReplica(0, newcomer(tmp_path, 6)))
        assert client.call(Ledger.add, 1) == 2


def test_what_can_not_be_is_refused_by_the_client_and_by_the_replicas(tmp_path: Path) -> None:
    with three() as cluster, cluster.client(timeout=60) as client:
        all_vote(cluster)
        with pytest.raises(pssmr.ReconfigurationRefused, match="there is no replica 9; the ids are 0 to 2"):
            client.reconfigure(pssmr.RemoveReplica(9))
        with pytest.raises(ConfigError, match="not the key of the administrator"):
            client.reconfigure(pssmr.RemoveReplica(2), cluster.config.keys / "client.pem")  # type: ignore[operator]
        other = dataclasses.replace(cluster.config, administrator=generate_key(tmp_path / "other.pem"))
        with (
            pssmr.Client(other, timeout=60) as stranger,
            pytest.raises(pssmr.ReconfigurationRefused, match=r"the replicas refuse it: .*administrator"),
        ):
            stranger.reconfigure(pssmr.RemoveReplica(2), tmp_path / "other.pem")
        assert client.call(Ledger.add, 1) == 1
        assert client.membership().epoch == 0


def test_a_cluster_without_an_administrator_stays_as_it_is() -> None:
    with three() as cluster:
        fixed = dataclasses.replace(cluster.config, administrator="")
        with (
            pssmr.Client(fixed, timeout=60) as client,
            pytest.raises(ConfigError, match="the membership of this cluster can't change"),
        ):
            client.reconfigure(pssmr.RemoveReplica(2))


async def test_the_client_for_asyncio_does_the_same(tmp_path: Path) -> None:
    async with three() as cluster, cluster.async_client(timeout=60) as client:
        await asyncio.to_thread(all_vote, cluster)
        assert client.membership() == cluster.config.membership
        with pytest.raises(pssmr.ReconfigurationRefused, match="there is no replica 9"):
            await client.reconfigure(pssmr.RemoveReplica(9))
        first, second = await asyncio.gather(
            *(client.reconfigure(pssmr.RemoveReplica(2)) for _ in range(2)), return_exceptions=True
        )
        assert {type(first), type(second)} == {pssmr.Membership, pssmr.ReconfigurationRefused}, (first, second)
        assert client.membership().ids == (0, 1)
        assert list(await client.status()) == [0, 1]
        with pytest.raises(pssmr.ReconfigurationRefused, match="2 are a quorum of the next 2"):
            await client.reconfigure(pssmr.ReplaceReplica(0, newcomer(tmp_path, 3)))
        forced = await client.reconfigure(pssmr.ReplaceReplica(0, newcomer(tmp_path, 4)), force=True)
        assert forced.ids == (1, 4)


def test_a_removed_replica_says_that_it_is_retired() -> None:
    with three("sync") as cluster, cluster.client(timeout=60) as client:
        old = cluster.config
        assert client.call(Ledger.add, 1) == 1
        cluster.remove_replica(2)
        # It was away when that happened, and has its old configuration.
        with pssmr.Replica(Ledger(), old, id=2) as removed:
            deadline = time.monotonic() + 60
            while removed.status()["role"] != "retired":
                assert time.monotonic() < deadline, removed.status()
                time.sleep(0.02)
            assert removed.status()["epoch"] == 1
