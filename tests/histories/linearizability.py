"""Is there an order of all operations, true to real time, in which a single copy would have answered the same?

Registers are judged one by one (linearizability is local: Herlihy and Wing, 1990). For each, the orders are searched
as Wing and Gong (1993) do, and no configuration twice, as Lowe (2017) does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tests.histories.history import History, Operation


class NotLinearizable(AssertionError):
    """No order explains what the clients of a register saw."""


def check_linearizable(history: History) -> None:
    """Checks each register of a history.

    Raises:
        NotLinearizable: If there is one that no order explains; the message shows how far the best one gets.
    """
    for key, operations in history.by_key().items():
        _check_register(key, operations)


def _check_register(key: int, operations: list[Operation]) -> None:
    # A read without a result says nothing.
    known = [each for each in operations if each.is_acknowledged or each.action != "read"]
    known.sort(key=lambda each: each.called)
    acknowledged = sum(1 << i for i, each in enumerate(known) if each.is_acknowledged)
    seen: set[tuple[int, int]] = set()
    best: list[int] = []
    # Depth first: the operations done, as bits; the value; what could be next.
    done, value, order = 0, 0, list[int]()
    stack = [(done, value, _next_ones(known, done))]
    while stack:
        done, value, candidates = stack[-1]
        if done & acknowledged == acknowledged:
            return
        for i in candidates:
            after, result = known[i].apply(value)
            if known[i].is_acknowledged and result != known[i].result:
                continue
            configuration = (done | 1 << i, after)
            if configuration not in seen:
                seen.add(configuration)
                order.append(i)
                if len(order) > len(best):
                    best = order.copy()
                stack.append((*configuration, _next_ones(known, configuration[0])))
                break
        else:
            stack.pop()
            if order:
                order.pop()
    raise NotLinearizable(_explain(key, known, best))


def _next_ones(operations: list[Operation], done: int) -> Iterable[int]:
    """The operations that can be next: those that were sent before any other that is not done had returned."""
    earliest = math.inf
    left = ~done & ((1 << len(operations)) - 1)
    found = []
    while left:
        i = (left & -left).bit_length() - 1
        left &= left - 1
        if operations[i].called > earliest:
            break
        earliest = min(earliest, operations[i].returned)
        found.append(i)
    # Those without a result last: most of them have not been executed, or only later.
    found.sort(key=lambda i: operations[i].returned)
    return iter(found)


def _explain(key: int, operations: list[Operation], best: list[int]) -> str:
    value, lines = 0, [f"register {key}: no order explains what its clients saw; the one that gets furthest:"]
    for i in best:
        value, _ = operations[i].apply(value)
        lines.append(f"  {_describe(operations[i])}: now {value}")
    lines.append("and then none of these fits:")
    lines += [f"  {_describe(operations[i])}" for i in _next_ones(operations, sum(1 << i for i in best))]
    return "\n".join(lines[:2] + lines[2:][-40:])


def _describe(operation: Operation) -> str:
    arguments = {
        "read": "",
        "write": f"{operation.argument}",
        "add": f"{operation.argument}",
        "replace": f"{operation.expected}, {operation.argument}",
    }[operation.action]
    outcome = f"= {operation.result}" if operation.is_acknowledged else "without a result"
    span = f"{operation.called:g} to {operation.returned:g}"
    return f"[{span}] client {operation.client}: {operation.action}({arguments}) {outcome}"
