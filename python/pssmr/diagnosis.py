"""What is wrong with a cluster, or could be: what `pssmr doctor` looks at. Changes nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import socket
import stat
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pssmr.cluster_fields import ids_in_words, split_address
from pssmr.config import ClusterConfig, ReplicaConfig
from pssmr.errors import ConfigError, Error
from pssmr.reconfiguration import Statuses

Level = Literal["ok", "note", "warning", "error"]

DESCRIPTORS_MIN = 4096
"""Files that a process should be allowed to have open: a link takes one."""

FREE_BYTES_MIN = 1 << 30
SYNC_SECONDS_MAX = 0.02
SKEW_SECONDS_SHOWN = 0.1
SKEW_SECONDS_NOTED = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look has shown."""

    level: Level
    what: str
    """Which thing was looked at."""
    says: str
    """How it is."""
    remedy: str = ""
    """What to do; empty if there is nothing to do."""


def examine_here(config: ClusterConfig, replicas: list[ReplicaConfig], answering: set[int]) -> Iterator[Finding]:
    """Looks at what these replicas need on this machine.

    Args:
        config: The cluster.
        replicas: Those that are to run here.
        answering: The ids of those that answer: their ports are taken, as they should be.
    """
    for note in config.notes:
        yield Finding("note", "configuration", note)
    yield from _machine(config)
    for replica in replicas:
        yield from _secrets(config, replica)
        yield from _places(replica, runs=replica.id in answering)
        yield from _data(config, replica)


def _machine(config: ClusterConfig) -> Iterator[Finding]:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < DESCRIPTORS_MIN:
        remedy = f"`ulimit -n {DESCRIPTORS_MIN}`, or LimitNOFILE in the systemd unit"
        yield Finding(
            "warning", "open files", f"this shell allows {allowed} (at most {most}), a link takes one", remedy
        )
    else:
        yield Finding("ok", "open files", f"{allowed} allowed")
    cores = os.cpu_count() or 1
    workers = config.settings.workers
    if workers > 2 * max(2, cores):
        remedy = "lower settings.workers, unless handlers wait for something"
        yield Finding("note", "workers", f"{workers} workers on {cores} cores", remedy)


def _secrets(config: ClusterConfig, replica: ReplicaConfig) -> Iterator[Finding]:
    what = f"key of replica {replica.id}"
    try:
        config.replica_key(replica.id)
        yield Finding("ok", what, "there, and its own")
    except ConfigError as error:
        yield Finding("error", what, _problem(error), error.remedy)
    if replica.admin:
        what = f"token of replica {replica.id}"
        try:
            if config.replica_token(replica.id) is None:
                remedy = (
                    f"`pssmr keygen --token keys/admin-{replica.id}.token`, if something is to be changed over HTTP"
                )
                yield Finding("note", what, "there is none: its admin service only shows", remedy)
            else:
                yield Finding("ok", what, "there")
        except ConfigError as error:
            yield Finding("error", what, _problem(error), error.remedy)
    if config.keys is not None and config.keys.is_dir():
        mode = stat.S_IMODE(config.keys.stat().st_mode)
        if mode & 0o022:
            says = f"mode {mode:04o}: others can put files there"
            yield Finding("warning", "directory of keys", says, f"chmod 700 {config.keys}")


def _problem(error: ConfigError) -> str:
    return f"{error.source} {error.problem}" if error.source else error.problem


def _places(replica: ReplicaConfig, *, runs: bool) -> Iterator[Finding]:
    """Whether the replica can listen where it is to."""
    listeners = [("replicas", replica.peers_listener), ("clients", replica.clients_listener)]
    if replica.admin and not replica.admin.endswith(":0"):
        listeners.append(("HTTP", replica.admin))
    for purpose, address in listeners:
        what = f"port of replica {replica.id} for {purpose}"
        if runs:
            yield Finding("ok", what, f"{address}: the replica runs")
            continue
        try:
            _try_to_listen(address)
            yield Finding("ok", what, f"{address} is free")
        except socket.gaierror as error:
            remedy = "write an address of this machine, or mend the name's entry in DNS or /etc/hosts"
            yield Finding("error", what, f"{address}: {error.strerror}", remedy)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                port = split_address(address)[1]
                remedy = f"`ss -ltnp 'sport = :{port}'` shows who has it: end that, or take another port"
            else:
                remedy = "listen_peers and listen_clients say where to listen, if not where others reach it; --id N, if"
                remedy += " it is for another machine"
            yield Finding("error", what, f"{address}: {error.strerror}", remedy)


def _try_to_listen(address: str) -> None:
    host, port = split_address(address)
    family, kind, protocol, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
        # Without it two sockets with SO_REUSEADDR could have one port.
        probe.listen(1)


def _data(config: ClusterConfig, replica: ReplicaConfig) -> Iterator[Finding]:
    """Whether the replica can keep what it has to."""
    data = config.replica_data(replica.id)
    if data is None:
        return
    what = f"disk of replica {replica.id}"
    place = next(path for path in (data, *data.parents) if path.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding("error", what, f"{place} can't be written", "give it to the user who runs the replica")
        return
    free = shutil.disk_usage(place).free
    if free < FREE_BYTES_MIN:
        says = f"{free / 1e6:,.0f} MB free at {place}; a replica whose disk is full does not vote"
        yield Finding("warning", what, says, "make room")
    else:
        yield Finding("ok", what, f"{free / 1e9:,.1f} GB free at {place}")
    if config.settings.durability != "sync":
        return
    if _file_system(place) in ("tmpfs", "ramfs"):
        remedy = 'put the data directory on a disk, or say durability = "memory"'
        yield Finding("error", what, f"{place} is in memory, and durability is sync", remedy)
        return
    seconds = _time_of_sync(place)
    level: Level = "warning" if seconds > SYNC_SECONDS_MAX else "ok"
    remedy = "every command waits for two of these: take a disk with power-loss protection" if level != "ok" else ""
    yield Finding(level, what, f"a sync takes {seconds * 1000:.2g} ms", remedy)


def _file_system(place: Path) -> str:
    """The kind of file system that a path is in; empty where that can't be told."""
    best, kind = 0, ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, mount, found, *_ = line.split()
            if place.resolve().is_relative_to(mount) and len(mount) >= best:
                best, kind = len(mount), found
    return kind


def _time_of_sync(place: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(11):
            os.write(file.fileno(), bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def examine_running(config: ClusterConfig, statuses: Statuses, asked: tuple[float, float]) -> Iterator[Finding]:
    """Looks at what the replicas say of themselves.

    Args:
        config: The cluster, with its newest membership.
        statuses: By id; `None` for one that does not answer.
        asked: When they were asked and when they had answered, by this machine's clock.
    """
    votes = sum(each is not None and each["role"] in ("leader", "follower") for each in statuses.values())
    for replica in config.replicas:
        status = statuses.get(replica.id)
        if status is None:
            yield _unreachable(replica)
        else:
            yield from _of_status(config, replica.id, status)
            yield _clock(config, replica.id, status, asked)
    if votes < config.quorum:
        says = f"{votes} replicas can vote, {config.quorum} are needed: commands wait"
        yield Finding("error", "quorum", says, "start those that do not answer")
    else:
        yield Finding("ok", "quorum", f"{votes} of {len(config.replicas)} can vote, {config.quorum} are needed")
    yield from _versions(statuses)


def _unreachable(replica: ReplicaConfig) -> Finding:
    """Why a replica does not answer, as far as can be told from here."""
    what = f"replica {replica.id}"
    host, port = split_address(replica.clients)
    try:
        socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        return Finding("error", what, f"{replica.clients}: {error.strerror}", "mend the name in DNS or /etc/hosts")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except ConnectionRefusedError:
        remedy = f"`pssmr replica APP --cluster ... --id {replica.id}` on its machine; its log says why it ended"
        return Finding("error", what, f"nobody listens at {replica.clients}", remedy)
    except OSError as error:
        remedy = "look whether its machine is up, and what firewalls let through"
        return Finding("error", what, f"{replica.clients}: {error.strerror or error}", remedy)
    remedy = "it may be another cluster's, have another key, or not know this client's: compare both cluster.toml"
    return Finding("error", what, f"somebody listens at {replica.clients}, and is not this replica for us", remedy)


def _of_status(config: ClusterConfig, replica: int, status: Mapping[str, Any]) -> Iterator[Finding]:
    what, well = f"replica {replica}", True
    if status["halted"]:
        well = False
        yield Finding("error", what, f"has stopped for good: {status['halted']}", "docs/operations.md says what to do")
    if status["log_error"]:
        well = False
        yield Finding("error", what, f"can't write its log: {status['log_error']}", "make room: it goes on by itself")
    if status["role"] == "learner":
        well = False
        says = "does not remember its votes: it follows, and votes again when they no longer matter"
        yield Finding("warning", what, says)
    if status["epoch"] != config.epoch:
        well = False
        says = f"is in epoch {status['epoch']}, the cluster in {config.epoch}"
        yield Finding("warning", what, says, "look again in a minute")
    if status["lag"] > config.settings.unexecuted_slots_max:
        well = False
        yield Finding("warning", what, f"is {status['lag']:,} slots behind", "look again in a minute")
    if transfer := status["transfer"]:
        well = False
        done, size = transfer["bytes_done"] / 1e6, transfer["bytes"] / 1e6
        yield Finding("note", what, f"fetches a snapshot from the others: {done:,.1f} of {size:,.1f} MB")
    for peer in status["peers"]:
        if not peer["up"]:
            well = False
            says = f"has no link to replica {peer['id']}: {peer['last_error'] or 'not yet connected'}"
            remedy = "if that one runs: compare both cluster.toml, and what firewalls let through"
            yield Finding("warning", what, says, remedy)
    if well:
        yield Finding("ok", what, f"{status['role']} in view {status['view']}, {status['lag']} slots behind")


def _clock(config: ClusterConfig, replica: int, status: Mapping[str, Any], asked: tuple[float, float]) -> Finding:
    what = f"clock of replica {replica}"
    theirs, (before, after) = status["time_ms"] / 1000, asked
    # What can't be explained by the time that the answer took.
    skew = max(0.0, before - theirs, theirs - after)
    most = config.settings.clock_skew_max_ms / 1000
    ahead = "ahead of" if theirs > after else "behind"
    says = f"{skew:.1f} s {ahead} this machine's" if skew >= SKEW_SECONDS_SHOWN else "agrees with this machine's"
    if skew > most / 2:
        return Finding("error", what, f"{says}; {most:g} s is the most that replicas put up with", "run an NTP client")
    if skew > SKEW_SECONDS_NOTED:
        return Finding("warning", what, says, "run an NTP client")
    return Finding("ok", what, says)


def _versions(statuses: Statuses) -> Iterator[Finding]:
    found: dict[str, list[str]] = {}
    for each in statuses.values():
        if each is not None:
            found.setdefault(each["version"], []).append(str(each["id"]))
    here = version("pssmr")
    says = "; ".join(f"{number}: replicas {', '.join(ids)}" for number, ids in sorted(found.items()))
    if set(found) <= {here}:
        yield Finding("ok", "versions", f"all that answer have {here}, as this machine")
    else:
        yield Finding("warning", "versions", f"{says}; this machine: {here}", "let all have the same")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the replicas answered."""

    newest: ClusterConfig
    """The configuration with the newest membership."""
    statuses: Statuses
    """Empty if they could not be asked."""
    asked: tuple[float, float]
    """When they were asked and when they had answered."""
    why_not: str = ""
    """Why they could not be asked: this machine may have no client's key."""


def ask(config: ClusterConfig, timeout: float) -> Answers:
    """Asks all replicas how they are."""
    from pssmr.client import Client

    before = time.time()
    try:
        with Client(config) as client:
            statuses = client.status(timeout=timeout)
            asked = (before, time.time())
            return Answers(config.with_membership(client.membership()), statuses, asked)
    except Error as error:
        return Answers(config, {}, (before, before), str(error))


def compare_epochs(known: ClusterConfig, newest: ClusterConfig) -> Iterator[Finding]:
    """Looks whether the configuration is that of the newest epoch."""
    if known.epoch != newest.epoch:
        says = f"of epoch {known.epoch}, and the cluster is in {newest.epoch}: the replicas are now "
        says += ids_in_words([each.id for each in newest.replicas])
        remedy = "`pssmr reconfigure sync`, or a copy from where the change was made; until then it serves"
        yield Finding("warning", "configuration", says, remedy)
