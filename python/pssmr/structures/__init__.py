"""Ready-made replicated structures: counters, dicts, lists, sets, queues, priority queues, and locks with leases.

Each kind is a service of its own (`Counters`, `Dicts`, ...), which holds any number of structures by name; `Structures`
is all of them in one. A service of yours may derive from any of them beside its own commands. `Counter("visits")`
and the like make commands for one structure, for either client:

```python
visits = structures.Counter("visits")
client.execute(visits.add(1))                  # pssmr.Client
await async_client.execute(visits.add(1))      # pssmr.AsyncClient
```
"""

from __future__ import annotations

from pssmr.structures.counters import Counter, CounterOverflow, Counters
from pssmr.structures.dicts import Dict, Dicts
from pssmr.structures.lists import List, Lists, NoSuchIndex
from pssmr.structures.locks import Lease, LeaseLost, Lock, LockHeld, Locks
from pssmr.structures.priority_queues import PriorityQueue, PriorityQueues
from pssmr.structures.queues import Queue, Queues
from pssmr.structures.sets import Set, Sets
from pssmr.structures.values import Key, Value

__all__ = [
    "Counter",
    "CounterOverflow",
    "Counters",
    "Dict",
    "Dicts",
    "Key",
    "Lease",
    "LeaseLost",
    "List",
    "Lists",
    "Lock",
    "LockHeld",
    "Locks",
    "NoSuchIndex",
    "PriorityQueue",
    "PriorityQueues",
    "Queue",
    "Queues",
    "Set",
    "Sets",
    "Structures",
    "Value",
]


class Structures(Counters, Dicts, Lists, Sets, Queues, PriorityQueues, Locks):
    """All kinds of structures in one service: `pssmr up pssmr.structures:Structures`."""
