"""For users' own tests: whole clusters on this machine, and checks of services."""

from pssmr.testing.checker import check
from pssmr.testing.findings import CheckFailed
from pssmr.testing.local_cluster import LocalCluster
from pssmr.testing.snapshots import check_snapshots

__all__ = ["CheckFailed", "LocalCluster", "check", "check_snapshots"]
