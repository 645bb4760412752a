"""Which workers run the commands of which class, for early scheduling: computed before anything runs.

```python
readers = ConflictClass("readers", weight=9, conflicts={"writers"})
writers = ConflictClass("writers", weight=1, conflicts={"readers", "writers"})
print(plan([readers, writers], workers=4).mapping)
```

A mapping is the solution of a mixed integer program if the extra `planning` is installed, and else what a greedy
search finds. Either way it is checked by the rules that make it safe.
"""

from __future__ import annotations

from pssmr.planning.classes import ConflictClass, PlanningError
from pssmr.planning.mapping import Assignment, Mapping, RuleBroken, check, cost, loads
from pssmr.planning.planner import Plan, SolverMissing, plan

__all__ = [
    "Assignment",
    "ConflictClass",
    "Mapping",
    "Plan",
    "PlanningError",
    "RuleBroken",
    "SolverMissing",
    "check",
    "cost",
    "loads",
    "plan",
]
