"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from pssmr.cluster_create import create_cluster
from pssmr.config import ClusterConfig

# A change is judged by the change, not by the draw of the day: `HYPOTHESIS_PROFILE=search make test` looks further.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


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
