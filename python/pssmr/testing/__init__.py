"""For users' own tests: whole clusters on this machine, and checks of services."""

from pssmr.testing.local_cluster import LocalCluster
from pssmr.testing.snapshots import CheckFailed, check_snapshots

__all__ = ["CheckFailed", "LocalCluster", "check_snapshots"]
