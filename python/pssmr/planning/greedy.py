"""A mapping without a solver: not the best, but safe, and there at once."""

from __future__ import annotations

from pssmr.planning.classes import Conflicts
from pssmr.planning.mapping import Assignment, cost_of

Assignments = dict[str, Assignment]


def search(conflicts: Conflicts, workers: int) -> Assignments:
    """Tries which classes to synchronise, one change after the other, for as long as that helps."""
    synchronised = _least_synchronised(conflicts)
    best = _assign(conflicts, workers, synchronised)
    improved = True
    while improved:
        improved = False
        for name in conflicts.weights:
            changed = synchronised ^ {name}
            if not _covers(conflicts, changed):
                continue
            candidate = _assign(conflicts, workers, changed)
            if cost_of(conflicts, candidate, workers) < cost_of(conflicts, best, workers) - 1e-9:
                best, synchronised, improved = candidate, changed, True
    return best


def _covers(conflicts: Conflicts, synchronised: frozenset[str]) -> bool:
    """Whether what has to be is synchronised: by R2 what conflicts with itself, by R3 one of two that conflict."""
    alone = all(name in synchronised for name in conflicts.weights if conflicts.conflicts_with_itself(name))
    return alone and all(a in synchronised or b in synchronised for a, b in conflicts.pairs())


def _least_synchronised(conflicts: Conflicts) -> frozenset[str]:
    chosen = {name for name in conflicts.weights if conflicts.conflicts_with_itself(name)}
    while open_pairs := [pair for pair in conflicts.pairs() if not chosen & set(pair)]:
        candidates = {name for pair in open_pairs for name in pair}

        def price(name: str, open_pairs: list[tuple[str, str]] = open_pairs) -> tuple[float, str]:
            return conflicts.weights[name] / sum(name in pair for pair in open_pairs), name

        chosen.add(min(candidates, key=price))
    return frozenset(chosen)


def _assign(conflicts: Conflicts, workers: int, synchronised: frozenset[str]) -> Assignments:
    """Workers for concurrent classes by their weights; for a synchronised one those that the rules demand."""
    loads = [0.0] * workers
    chosen: dict[str, set[int]] = {}
    concurrent = [name for name in conflicts.weights if name not in synchronised]
    total = sum(conflicts.weights[name] for name in concurrent)
    for name in sorted(concurrent, key=lambda name: -conflicts.weights[name]):
        share = conflicts.weights[name] / total
        count = max(1, min(workers, round(share * workers)))
        chosen[name] = _least_loaded(loads, range(workers), count)
        for worker in chosen[name]:
            loads[worker] += conflicts.weights[name] / count
    for name in sorted(synchronised, key=lambda name: -conflicts.weights[name]):
        # R4: it stops whatever runs concurrently.
        needed = set().union(*(chosen[other] for other in conflicts.neighbours[name] if other not in synchronised))
        chosen[name] = needed or _least_loaded(loads, range(workers), 1)
        for worker in chosen[name]:
            loads[worker] += conflicts.weights[name]
    for pair in conflicts.pairs():
        if synchronised.issuperset(pair) and not chosen[pair[0]] & chosen[pair[1]]:
            # R5: the lighter one comes to the heavier.
            lighter, heavier = sorted(pair, key=lambda name: (conflicts.weights[name], name))
            chosen[lighter] |= _least_loaded(loads, sorted(chosen[heavier]), 1)
    return {name: Assignment(tuple(sorted(chosen[name])), name in synchronised) for name in conflicts.weights}


def _least_loaded(loads: list[float], among: range | list[int], count: int) -> set[int]:
    return set(sorted(among, key=lambda worker: loads[worker])[:count])
