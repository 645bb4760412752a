"""Was every command executed as often as its client was told?"""

from __future__ import annotations

from tests.histories.history import History


def check_exactly_once(history: History, executed: dict[int, int]) -> None:
    """Checks how often the operations of a history were executed, by number: reads are not counted.

    Raises:
        AssertionError: If one with a result was not executed exactly once, one without was more than once, or one that
            nobody sent was at all.
    """
    changes = {each.number: each for each in history.operations if each.action != "read"}
    lost = [n for n, each in changes.items() if each.is_acknowledged and n not in executed]
    assert not lost, f"acknowledged and not executed: {lost[:10]}"
    repeated = {n: count for n, count in executed.items() if count != 1}
    assert not repeated, f"executed more than once: {dict(list(repeated.items())[:10])}"
    invented = executed.keys() - changes.keys()
    assert not invented, f"executed, and not sent, or withdrawn: {sorted(invented)[:10]}"
