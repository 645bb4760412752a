"""Memberships, their changes, when a change is safe, and how one gets into the file of a configuration."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from pssmr import AddReplica, ConfigError, Member, ReconfigurationRefused, RemoveReplica, ReplaceReplica
from pssmr.cluster_create import create_cluster
from pssmr.cluster_rewrite import rewrite
from pssmr.config import ClusterConfig
from pssmr.membership import Change
from pssmr.reconfiguration import check_safe
from pssmr.settings import Settings


def member(number: int, **fields: Any) -> Member:
    """Somebody who is in no membership of these tests yet."""
    peers, clients = f"new-{number}.example:1", f"new-{number}.example:2"
    return Member(**{"id": number, "key": f"{number + 100:064x}", "peers": peers, "clients": clients, **fields})


# Memberships


def test_whoever_comes_is_the_last_and_a_change_is_one_epoch(cluster_config: ClusterConfig) -> None:
    first = cluster_config.membership
    assert (first.epoch, first.ids, first.faults, first.quorum) == (0, (0, 1, 2, 3), 1, 3)
    bigger = first.changed(AddReplica(member(9)))
    assert (bigger.epoch, bigger.ids, bigger.faults, bigger.quorum) == (1, (0, 1, 2, 3, 9), 1, 4)
    replaced = bigger.changed(ReplaceReplica(1, member(1)))
    assert (replaced.epoch, replaced.ids) == (2, (0, 2, 3, 9, 1))
    assert replaced.changed(RemoveReplica(0)).ids == (2, 3, 9, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (RemoveReplica(7), "there is no replica 7; the ids are 0 to 3"),
        (ReplaceReplica(7, member(7)), "there is no replica 7"),
        (AddReplica(member(2)), "there is a replica 2 already"),
        (ReplaceReplica(1, member(2)), "there is a replica 2 already"),
        (AddReplica(member(4, peers="127.0.0.1:17102")), "127.0.0.1:17102 is where replica 2 is reached"),
        (AddReplica(member(4, clients="localhost:17102")), "localhost:17102 is where replica 2 is reached"),
        (AddReplica(member(4, clients="new-4.example:1")), "can't be for both"),
    ],
)
def test_a_change_that_can_not_be_is_refused(cluster_config: ClusterConfig, change: Change, words: str) -> None:
    with pytest.raises(ReconfigurationRefused, match=words):
        cluster_config.membership.changed(change)


def test_a_key_is_never_used_twice(cluster_config: ClusterConfig) -> None:
    key = cluster_config.replicas[1].key
    comes = member(4, key=key)
    for change in (AddReplica(comes), ReplaceReplica(0, comes), ReplaceReplica(1, comes)):
        with pytest.raises(ReconfigurationRefused, match="replica 1 has this key already"):
            cluster_config.membership.changed(change)


def test_a_new_replica_may_be_where_the_old_one_was(cluster_config: ClusterConfig) -> None:
    old = cluster_config.replicas[1]
    after = cluster_config.membership.changed(ReplaceReplica(1, member(1, peers=old.peers, clients=old.clients)))
    assert after.members[-1].peers == old.peers


# Whether it is safe

WELL = {"role": "follower", "halted": None, "epoch": 0, "log_error": None, "decided": 1000, "executed": 1000}


@pytest.mark.parametrize(
    ("ill", "why"),
    [
        (None, "does not answer"),
        ({"halted": "it has diverged", "role": "halted"}, "has stopped for good: it has diverged"),
        ({"epoch": 3}, "is in epoch 3, not yet in 0"),
        ({"role": "learner"}, "has no vote yet"),
        ({"role": "retired"}, "has no vote yet"),
        ({"log_error": "No space left"}, "can't write its log: No space left"),
        ({"executed": 899}, "is 101 slots behind"),
    ],
)
def test_the_replicas_that_stay_have_to_be_a_quorum_of_the_next_membership(
    cluster_config: ClusterConfig, ill: dict[str, Any] | None, why: str
) -> None:
    membership = cluster_config.membership
    statuses: dict[int, dict[str, Any] | None] = dict.fromkeys(range(4), WELL)
    for change in (AddReplica(member(4)), ReplaceReplica(2, member(4)), RemoveReplica(2)):
        check_safe(membership, change, statuses, 100)
    statuses[2] = None if ill is None else {**WELL, **ill}
    # Whoever goes may be as ill as can be; whoever has to be counted on may not.
    check_safe(membership, ReplaceReplica(2, member(4)), statuses, 100)
    for change in (AddReplica(member(4)), ReplaceReplica(1, member(4))):
        with pytest.raises(ReconfigurationRefused, match=f"until the new one has the state: .*; replica 2 {why}"):
            check_safe(membership, change, statuses, 100)
    # Three of four are left, of which two are a quorum.
    check_safe(membership, RemoveReplica(1), statuses, 100)


def test_one_replica_alone_does_not_say_how_far_the_others_have_to_be(cluster_config: ClusterConfig) -> None:
    statuses: dict[int, dict[str, Any] | None] = dict.fromkeys(range(4), WELL)
    statuses[3] = {**WELL, "decided": 1 << 60, "executed": 1 << 60}
    check_safe(cluster_config.membership, AddReplica(member(4)), statuses, 100)


# The file


def changed(directory: Path, *changes: Change) -> ClusterConfig:
    """The configuration after these changes, written."""
    config = ClusterConfig.load(directory)
    membership = config.membership
    for change in changes:
        membership = membership.changed(change)
    after = config.with_membership(membership)
    rewrite(directory / "cluster.toml", after)
    assert ClusterConfig.load(directory) == after
    return after


@pytest.mark.parametrize(
    "changes",
    [
        (AddReplica(member(4)),),
        (RemoveReplica(0),),
        (RemoveReplica(3),),
        (ReplaceReplica(3, member(3)),),
        (ReplaceReplica(0, member(63)), ReplaceReplica(3, member(0)), AddReplica(member(3)), RemoveReplica(1)),
        tuple(ReplaceReplica(i, member(i)) for i in range(4)),
    ],
)
def test_a_change_is_written_and_everything_else_stays(cluster_directory: Path, changes: tuple[Change, ...]) -> None:
    file = cluster_directory / "cluster.toml"
    text = file.read_text().replace('peers = "127.0.0.1:17102"', 'peers = "127.0.0.1:17102"  # the one in the cellar')
    file.write_text(text.replace("# window = ", "window = 7  # window = "))
    head = text[: text.index("epoch")]
    tail = file.read_text()[file.read_text().index("# Whoever may send") :]
    config = changed(cluster_directory, *changes)
    assert config.epoch == len(changes)
    assert config.settings == dataclasses.replace(Settings(), window=7)
    after = file.read_text()
    assert after.startswith(f"{head}epoch = {len(changes)}\n")
    assert after.endswith(f"\n\n{tail}")
    assert "\n\n\n" not in after
    old = ClusterConfig.load(cluster_directory).replicas[0]
    assert ("the one in the cellar" in after) == any(each.peers == "127.0.0.1:17102" for each in config.replicas)
    assert old in config.replicas


def test_what_only_the_file_knows_of_a_replica_stays_with_it(tmp_path: Path) -> None:
    create_cluster(
        tmp_path / "c",
        replicas=3,
        fault_model="cft",
        address=lambda i: (f"node-{i}.example:1", f"node-{i}.example:2"),
        admin=lambda i: f"127.0.0.1:{7000 + i}",
    )
    config = changed(tmp_path / "c", ReplaceReplica(0, member(0)), AddReplica(member(7)))
    assert [(each.id, each.admin) for each in config.replicas] == [
        (1, "127.0.0.1:7001"),
        (2, "127.0.0.1:7002"),
        (0, ""),
        (7, ""),
    ]


def test_a_file_without_an_epoch_gets_one(cluster_directory: Path) -> None:
    file = cluster_directory / "cluster.toml"
    file.write_text(
        "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("epoch"))
    )
    assert changed(cluster_directory, RemoveReplica(2)).epoch == 1


def test_the_file_is_replaced_as_a_whole_and_keeps_its_mode(cluster_directory: Path) -> None:
    file = cluster_directory / "cluster.toml"
    file.chmod(0o640)
    aside = cluster_directory / "aside.toml"
    os.link(file, aside)
    before = aside.read_text()
    changed(cluster_directory, RemoveReplica(2))
    assert aside.read_text() == before, "the old file was written to"
    assert file.stat().st_mode & 0o777 == 0o640
    assert {each.name for each in cluster_directory.iterdir()} == {"aside.toml", "cluster.toml", "keys"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("epoch = 0", 'epoch = 0\nplan = """\n[[replicas]]\n"""'),
        lambda text: text.replace("epoch = 0", '"epoch" = 0'),
        lambda text: text.replace("[[replicas]]\nid = 0", "[['replicas']]\nid = 0"),
    ],
)
def test_a_file_that_is_written_in_another_way_is_left_alone(cluster_directory: Path, spoil: Any) -> None:
    config = ClusterConfig.load(cluster_directory)
    after = config.with_membership(config.membership.changed(RemoveReplica(0)))
    file = cluster_directory / "cluster.toml"
    file.write_text(spoil(file.read_text()))
    before = file.read_text()
    with pytest.raises(ConfigError, match="is written in a way that"):
        rewrite(file, after)
    assert file.read_text() == before


def test_a_python_file_is_nobody_elses_to_change(tmp_path: Path, cluster_config: ClusterConfig) -> None:
    (tmp_path / "cluster.py").write_text("cluster = ...")
    with pytest.raises(ConfigError, match="only you can change it"):
        rewrite(tmp_path / "cluster.py", cluster_config)
