"""For users' own tests: whole clusters on this machine."""

from pssmr.testing.local_cluster import LocalCluster

__all__ = ["LocalCluster"]
