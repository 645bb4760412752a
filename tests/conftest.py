"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pssmr.cluster_create import create_cluster
from pssmr.config import ClusterConfig


@pytest.fixture
def cluster_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory with the configuration and keys of four replicas that nobody runs."""
    directory = tmp_path / "cluster"
    create_cluster(directory, address=lambda i: (f"127.0.0.1:{17100 + i}", f"127.0.0.1:{17200 + i}"))
    return directory


@pytest.fixture
def cluster_config(cluster_directory: Path) -> ClusterConfig:
    """The configuration in `cluster_directory`."""
    return ClusterConfig.load(cluster_directory)
