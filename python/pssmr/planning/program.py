"""The mapping as a mixed integer program, solved by HiGHS (the extra `planning`)."""

from __future__ import annotations

import importlib
from typing import Any

from pssmr.planning.classes import Conflicts
from pssmr.planning.mapping import MEETING_PRICE, Assignment


def is_installed() -> bool:
    """Whether there is a solver."""
    try:
        importlib.import_module("highspy")
    except ImportError:
        return False
    return True


def solve(conflicts: Conflicts, workers: int, time_limit_s: float) -> tuple[dict[str, Assignment], bool] | None:
    """The best mapping that was found in time, and whether none is better; `None` if none was found.

    For each class `c` and worker `t`: `x[c][t]`, whether the worker is one of the class; `s[c]`, whether the class is
    synchronised; `load[c][t]`, what it makes the worker do. A concurrent class is shared by its workers in the way that
    suits best, so that the program stays linear.
    """
    highspy: Any = importlib.import_module("highspy")
    program = highspy.Highs()
    program.setOptionValue("output_flag", False)
    program.setOptionValue("time_limit", time_limit_s)
    program.setOptionValue("random_seed", 0)
    names, everyone = list(conflicts.weights), range(workers)
    x = {c: [program.addBinary() for _ in everyone] for c in names}
    s = {c: program.addBinary() for c in names}
    load = {c: [program.addVariable(lb=0.0) for _ in everyone] for c in names}
    meetings = {c: program.addVariable(lb=0.0) for c in names}
    makespan = program.addVariable(lb=0.0)

    for c in names:
        weight = conflicts.weights[c]
        program.addConstr(sum(x[c]) >= 1)  # R1
        if conflicts.conflicts_with_itself(c):
            program.addConstr(s[c] >= 1)  # R2
        program.addConstr(sum(load[c]) >= weight)
        program.addConstr(meetings[c] >= sum(x[c]) - workers * (1 - s[c]))
        for t in everyone:
            program.addConstr(load[c][t] <= weight * x[c][t])
            program.addConstr(load[c][t] >= weight * (x[c][t] + s[c] - 1))
    for a, b in conflicts.pairs():
        program.addConstr(s[a] + s[b] >= 1)  # R3
        together = [program.addVariable(lb=0.0, ub=1.0) for _ in everyone]
        for t in everyone:
            program.addConstr(x[a][t] <= x[b][t] + s[a])  # R4
            program.addConstr(x[b][t] <= x[a][t] + s[b])
            program.addConstr(together[t] <= x[a][t])
            program.addConstr(together[t] <= x[b][t])
        # R5. A sum of fractions of 1 is 1 only if one of them is above 0, and then both of its workers are there.
        program.addConstr(sum(together) >= 1)
    for t in everyone:
        program.addConstr(makespan >= sum(load[c][t] for c in names))
    # Workers are interchangeable: the heaviest class has the first ones.
    heaviest = max(names, key=lambda c: conflicts.weights[c])
    for t in range(workers - 1):
        program.addConstr(x[heaviest][t] >= x[heaviest][t + 1])
    program.minimize(makespan + MEETING_PRICE / workers * sum(conflicts.weights[c] * meetings[c] for c in names))
    if program.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    proven = program.getModelStatus() == highspy.HighsModelStatus.kOptimal
    chosen = {c: tuple(t for t in everyone if program.val(x[c][t]) > 0.5) for c in names}
    return {c: Assignment(chosen[c], bool(program.val(s[c]) > 0.5)) for c in names}, proven
