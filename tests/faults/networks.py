"""Replicas that each have a network of their own, which can be cut: each way by itself."""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pssmr
from pssmr.cluster_create import create_cluster
from pssmr.cluster_processes import ReplicaProcess, _spawner
from pssmr.config import FaultModel
from pssmr.settings import Settings
from tests.faults.conftest import Replicas

CLONE_NEWNET = 0x40000000
HOST = 254
"""The last byte of the address of this process."""

_numbers = itertools.count()


class Networks:
    """A network namespace for each replica, on one bridge. What is cut is thrown away without a word."""

    def __init__(self, replicas: int) -> None:
        """Needs to be root.

        Raises:
            OSError: If there is no `ip`.
            subprocess.CalledProcessError: If it can't be done here.
        """
        # Two networks of this process or of another one do not meet, most of the time; else it can't be done here.
        number = (os.getpid() * 4 + next(_numbers)) % 254 + 1
        self._prefix = f"198.18.{number}"
        self._bridge = f"pssmr{number}"
        self._names = [f"{self._bridge}-{i}" for i in range(replicas)]
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        _ip(f"link add {self._bridge} type bridge")
        _ip(f"address add {self._prefix}.{HOST}/24 dev {self._bridge}")
        _ip(f"link set {self._bridge} up")
        for i, name in enumerate(self._names):
            _ip(f"netns add {name}")
            _ip(f"link add {name} type veth peer name eth0 netns {name}")
            _ip(f"link set {name} master {self._bridge} up")
            _ip(f"-n {name} address add {self.address(i)}/24 dev eth0")
            _ip(f"-n {name} link set lo up")
            _ip(f"-n {name} link set eth0 up")

    def address(self, replica: int) -> str:
        """Where a replica is."""
        return f"{self._prefix}.{replica + 1}"

    def cut(self, sender: int, receiver: int) -> None:
        """From now on nothing from one comes to the other; the other way things stay as they are."""
        _ip(f"-n {self._names[sender]} route replace blackhole {self.address(receiver)}/32")

    def heal(self) -> None:
        """Ends all cuts."""
        for name in self._names:
            _ip(f"-n {name} route flush type blackhole")

    def enter(self, replica: int) -> int:
        """Takes the calling thread into a replica's network, and returns where it was."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self._names[replica]}", os.O_RDONLY)
        _set_namespace(there)
        return home

    def close(self) -> None:
        """Leaves nothing."""
        for name in self._names:
            _ip(f"netns delete {name}", check=False)
        _ip(f"link delete {self._bridge}", check=False)


class NetworkedReplicas(Replicas):
    """Replicas that are each in a network of its own."""

    def __init__(self, cluster: Path, service: type[pssmr.Service], networks: Networks) -> None:
        super().__init__(cluster, service)
        self.networks = networks

    def launch(self, replica: int) -> ReplicaProcess:
        """Starts one in its network: a process is where the thread was that made it."""
        home = _spawner().submit(self.networks.enter, replica).result()
        try:
            return super().launch(replica)
        finally:
            _spawner().submit(_set_namespace, home).result()


def networked_replicas(
    directory: Path, count: int, fault_model: FaultModel, service: type[pssmr.Service], settings: Settings
) -> Iterator[NetworkedReplicas]:
    """Makes a cluster of which nothing is left; skips the test where that can't be."""
    try:
        networks = Networks(count)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this user can't make networks here: {getattr(error, 'stderr', error)}")
    try:
        create_cluster(
            directory,
            replicas=count,
            fault_model=fault_model,
            address=lambda i: (f"{networks.address(i)}:7000", f"{networks.address(i)}:7001"),
            settings=settings,
        )
        replicas = NetworkedReplicas(directory, service, networks)
        yield replicas
        replicas.kill_all()
        replicas.check_log()
    finally:
        networks.close()


def _ip(arguments: str, *, check: bool = True) -> None:
    subprocess.run(["ip", *arguments.split()], check=check, capture_output=True, text=True)


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
