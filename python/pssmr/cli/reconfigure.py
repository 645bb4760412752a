"""`pssmr reconfigure`: another membership, and the file that says so."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from pssmr import cluster_files, cluster_keys
from pssmr.cli.output import messages, results
from pssmr.client import Client
from pssmr.cluster_newcomers import free_id, key_file
from pssmr.cluster_rewrite import rewrite, rewritten
from pssmr.config import ClusterConfig, ReplicaConfig
from pssmr.errors import ConfigError, NoQuorum, ReconfigurationRefused
from pssmr.membership import AddReplica, Change, Member, Membership, RemoveReplica, ReplaceReplica
from pssmr.reconfiguration import STATUS_TIMEOUT, sign

_STAND_IN = f"{1:064x}"
"""A key that nobody has, where none is made yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A replica that is to come."""

    peers: str
    clients: str
    id: int | None
    """`None` takes one that is free."""
    key: str | None
    """Its public key; `None` makes one."""
    listen_peers: str = ""
    listen_clients: str = ""
    """Where it listens, if that is somewhere else."""
    admin: str = ""
    """Where it serves HTTP; empty: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to change."""

    goes: int | None
    comes: Newcomer | None


def reconfigure(
    cluster: Path,
    wanted: Wanted,
    *,
    administrator_key: Path | None,
    client_key: str | None,
    timeout: float,
    force: bool,
    ask: bool,
    sign_only: bool,
    as_json: bool,
) -> None:
    """Changes the membership, writes the file anew, and says what to do next; or only signs the change."""
    file = cluster_files.find(cluster)
    known = ClusterConfig.load(file)
    known.administrator_key(administrator_key)
    if sign_only:
        _sign(file, known, wanted, administrator_key)
        return
    with Client(known, key=client_key, timeout=timeout) as client:
        before, statuses = client._look(STATUS_TIMEOUT)
        if before.epoch > known.epoch and _is_made(wanted, known, before):
            messages.print("the change is made already")
            _write(file, known, before, wanted, cluster, as_json=as_json)
            return
        change = _change(known, before, wanted)
        after = before.changed(change)
        if file.suffix == ".toml":
            # What can't be written is better known before anything has changed.
            rewritten(file, _described(known, after, wanted))
        messages.print(f"now:  {_in_words(before)}\nthen: {_in_words(after)}", markup=False)
        if ask and sys.stdin.isatty():
            if not typer.confirm("Change it?", err=True):
                raise ReconfigurationRefused("nothing was changed")
            before, statuses = client._look(STATUS_TIMEOUT)
        change, made = _with_key(known, change, wanted)
        try:
            newest = client._change(before, statuses, change, administrator_key, force=force)
        except ReconfigurationRefused:
            # Only then it is certain that nobody will ever have this key.
            if made is not None:
                made.unlink(missing_ok=True)
            raise
    _write(file, known, newest, wanted, cluster, as_json=as_json)


def _sign(file: Path, known: ClusterConfig, wanted: Wanted, administrator_key: Path | None) -> None:
    """Prints the change as a replica's admin service takes it. No replica is asked."""
    before = known.membership
    change = _change(known, before, wanted)
    after = before.changed(change)
    messages.print(f"now:  {_in_words(before)}\nthen: {_in_words(after)}", markup=False)
    change, _ = _with_key(known, change, wanted)
    signed = sign(known, before, change, known.administrator_key(administrator_key))
    results.print(json.dumps({"change": signed.hex()}), soft_wrap=True)
    messages.print(
        f"POST it to /actions/reconfigure of one replica; then `pssmr reconfigure sync` writes {file.name}. It is for"
        f" epoch {before.epoch} only.",
        markup=False,
    )


def synchronise(cluster: Path, *, client_key: str | None, timeout: float, as_json: bool) -> None:
    """Writes the newest membership into the file."""
    file = cluster_files.find(cluster)
    known = ClusterConfig.load(file)
    with Client(known, key=client_key, timeout=timeout) as client:
        statuses = client.status()
        newest = client.membership()
    if not any(statuses.values()):
        raise NoQuorum(f"no replica of {file} answers, so nobody says whether it is up to date")
    _write(file, known, newest, None, cluster, as_json=as_json)


def _is_made(wanted: Wanted, known: ClusterConfig, newest: Membership) -> bool:
    """Whether this change was made already: since the file was written, the one has gone and the other has come."""
    old = {(each.id, each.key) for each in known.replicas}
    now = {(each.id, each.key) for each in newest.members}
    coming = [each for each in newest.members if (each.id, each.key) not in old]
    has_gone = wanted.goes is None or any(each[0] == wanted.goes for each in old - now)
    has_come = wanted.comes is None or any(
        (each.peers, each.clients) == (wanted.comes.peers, wanted.comes.clients)
        and wanted.comes.id in (None, each.id)
        and wanted.comes.key in (None, each.key)
        for each in coming
    )
    return has_gone and has_come


def _change(known: ClusterConfig, before: Membership, wanted: Wanted) -> Change:
    """The change, with a stand-in for the key of whoever comes if none is given."""
    if wanted.comes is None:
        assert wanted.goes is not None
        return RemoveReplica(wanted.goes)
    comes = wanted.comes
    number = comes.id if comes.id is not None else free_id(known, before)
    member = Member(id=number, key=comes.key or _STAND_IN, peers=comes.peers, clients=comes.clients)
    return AddReplica(member) if wanted.goes is None else ReplaceReplica(wanted.goes, member)


def _with_key(known: ClusterConfig, change: Change, wanted: Wanted) -> tuple[Change, Path | None]:
    """The change with the key of whoever comes, and the key's file if it was made now."""
    if isinstance(change, RemoveReplica) or (wanted.comes is not None and wanted.comes.key):
        return change, None

    def having(key: str) -> Change:
        return dataclasses.replace(change, member=dataclasses.replace(change.member, key=key))

    file = key_file(known, change.member.id)
    if not file.exists():
        return having(cluster_keys.generate_key(file)), file
    key = cluster_keys.public_key(file)
    if any(each.key == key for each in known.replicas):
        raise ConfigError(
            f"is the key of replica {change.member.id}, and a new replica needs a new one",
            source=str(file),
            remedy="choose another --id, or make a key with `pssmr keygen` elsewhere and give --key",
        )
    messages.print(f"{file} is there already, and is taken", markup=False)
    return having(key), None


def _described(known: ClusterConfig, newest: Membership, wanted: Wanted | None) -> ClusterConfig:
    """The configuration of a membership, with what only the command line says of whoever comes."""
    config = known.with_membership(newest)
    if wanted is None or wanted.comes is None:
        return config
    comes = wanted.comes
    own = {name: getattr(comes, name) for name in ("listen_peers", "listen_clients", "admin")}
    replicas = tuple(
        dataclasses.replace(each, **own) if (each.peers, each.clients) == (comes.peers, comes.clients) else each
        for each in config.replicas
    )
    return dataclasses.replace(config, replicas=replicas)


def _write(
    file: Path, known: ClusterConfig, newest: Membership, wanted: Wanted | None, cluster: Path, *, as_json: bool
) -> None:
    """Writes the file, unless only people can, and says what has changed and what to do."""
    config = _described(known, newest, wanted)
    is_old = config.epoch != known.epoch
    is_written = is_old and file.suffix == ".toml"
    if is_written:
        try:
            rewrite(file, config)
        except ConfigError as error:
            problem = f"{error.problem}; the membership of epoch {config.epoch} is in force, and the file is older"
            remedy = "`pssmr reconfigure sync` writes it when that is mended"
            raise ConfigError(problem, source=error.source, remedy=remedy) from error
    coming = [each for each in config.replicas if each not in known.replicas]
    for each in coming:
        token = key_file(config, each.id).with_name(f"admin-{each.id}.token")
        if each.admin and not token.exists():
            cluster_keys.generate_token(token)
    now = {(each.id, each.key) for each in config.replicas}
    going = [each for each in known.replicas if (each.id, each.key) not in now]
    steps = _next_steps(file, cluster, config, coming, going)
    if as_json:
        said = {
            "epoch": config.epoch,
            "replicas": [dataclasses.asdict(each) for each in newest.members],
            "faults": config.faults,
            "quorum": config.quorum,
            "file": str(file),
            "written": is_written,
            "come": [each.id for each in coming],
            "gone": [each.id for each in going],
            "next": steps if is_old else [],
        }
        results.print(json.dumps(said, indent=2))
        return
    if not is_old:
        results.print(f"{file} is up to date: {_in_words(newest)}")
        return
    results.print(f"{file}{'' if is_written else ' has to be changed'}: {_in_words(newest)}")
    for note in config.notes:
        messages.print(f"note: {note}", markup=False)
    for step in steps:
        messages.print(step, markup=False)


def _next_steps(
    file: Path, cluster: Path, config: ClusterConfig, coming: list[ReplicaConfig], going: list[ReplicaConfig]
) -> list[str]:
    """What is left to people."""
    steps = []
    if file.suffix != ".toml":
        replicas = [repr(each) for each in config.replicas]
        steps.append("\n    ".join([f"Write into {file}: epoch={config.epoch}, and as replicas", *replicas]))
    for each in coming:
        token = f" and keys/admin-{each.id}.token" if each.admin else ""
        steps.append(
            f"Start replica {each.id} where it has {file.name}, keys/replica-{each.id}.pem{token}, and no other key:"
            f" pssmr replica APP --cluster {cluster} --id {each.id}"
        )
    steps += [f"Stop replica {each.id} at {each.clients}: it is retired." for each in going]
    steps.append(
        f"The others and the clients learn of it by themselves. Give them {file.name} when convenient:"
        " who has an old one needs a replica of it that is still there."
    )
    return steps


def _in_words(membership: Membership) -> str:
    ids = ", ".join(map(str, membership.ids))
    return (
        f"epoch {membership.epoch}, {len(membership.members)} replicas ({ids}), survive {membership.faults} faulty,"
        f" quorum {membership.quorum}"
    )
