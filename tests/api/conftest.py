"""A small cluster inside of this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pssmr
from pssmr.cluster_create import create_cluster
from pssmr.cluster_ports import free_ports

StartCluster = Callable[..., Path]


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """Starts replicas of a service in this process, and gives the path of their configuration."""
    with contextlib.ExitStack() as running:

        def start(service: type[pssmr.Service], *, replicas: int = 1, run: int | None = None, **settings: int) -> Path:
            """Makes a cluster of so many replicas, and runs the first `run` of them."""
            ports = free_ports(2 * replicas)
            directory = tmp_path / f"cluster-{ports[0]}"
            create_cluster(
                directory,
                replicas=replicas,
                address=lambda i: (f"127.0.0.1:{ports[2 * i]}", f"127.0.0.1:{ports[2 * i + 1]}"),
                settings=pssmr.Settings(**settings),  # type: ignore[arg-type]
            )
            for i in range(replicas if run is None else run):
                running.enter_context(pssmr.Replica(service(), directory, id=i))
            return directory

        yield start
