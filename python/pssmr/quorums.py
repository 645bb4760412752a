"""How many replicas may be faulty, and how many have to agree."""

from __future__ import annotations

REPLICAS_MAX = 64
"""The most replicas that a cluster can have. Their ids are below it, too."""


def faults_of(fault_model: str, replicas: int) -> int:
    """f: how many of so many replicas may be faulty."""
    return (replicas - 1) // (3 if fault_model == "bft" else 2)


def quorum_of(fault_model: str, replicas: int) -> int:
    """Q: how many of so many replicas have to vote for something to be decided."""
    if fault_model == "bft":
        return (replicas + faults_of(fault_model, replicas)) // 2 + 1
    return replicas // 2 + 1


def smallest_of(fault_model: str) -> int:
    """The fewest replicas that survive a faulty one."""
    return 4 if fault_model == "bft" else 3
