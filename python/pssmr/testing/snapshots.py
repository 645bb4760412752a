"""Whether the snapshots of a service can be compared and brought back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pssmr._core import Stepper
from pssmr.service import Call, Service
from pssmr.snapshots import check_snapshot
from pssmr.testing.findings import CheckFailed
from pssmr.testing.histories import Elsewhere, execute, latest_first, outcomes_elsewhere
from pssmr.testing.local_cluster import application_of

HASH_SEEDS = (1, 2)
"""What `PYTHONHASHSEED` is in the other processes."""

_PICKLE_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")

PICKLE_REMEDY = (
    "its bytes differ between equal states, because they depend on which objects are shared, and on the version of "
    "Python; use pssmr.encode"
)
"""What is wrong with it, and what to do."""

_SHOWN_BYTES = 16


def check_snapshots(service: type[Service], calls: Iterable[Call[Any]], *, other_processes: bool = True) -> None:
    """Checks that the snapshots of a service are canonical, and that it comes back from them.

    The commands are executed; then equal states must give equal bytes: taken twice; of a service that was restored;
    after the same commands in another order that the declarations allow, which fills dicts in another order; and in
    processes with other hash seeds, which order sets in other ways. The restored service must answer like the first.

    ```python
    check_snapshots(Library, [Library.lend.bind(book, "ann") for book in ("one", "two", "three")])
    ```

    Args:
        service: The service class.
        calls: Commands that bring much into the state: several keys of each kind.
        other_processes: Whether other processes run it too. They have to find the class: it stands at the top level of
            its module.

    Raises:
        CheckFailed: If they are not; the message says what differs, and what to do.
        SnapshotError: If the service has no snapshots, or taking one fails.
        ConfigError: If another process can't find the class.
    """
    payloads = [call.payload for call in calls]
    first, restored = Stepper(_new(service)), Stepper(_new(service))
    execute(first, payloads, range(len(payloads)))
    if is_pickle(first.own_state() or b""):
        raise CheckFailed(f"{service.__name__}.snapshot gives a pickle: {PICKLE_REMEDY}")
    snapshot = first.snapshot()
    _compare(
        service,
        snapshot,
        first.snapshot(),
        "two snapshots of one state",
        "snapshot must depend on the state alone: no time, no random numbers, no identities of objects",
    )
    restored.restore(snapshot)
    _compare(
        service,
        snapshot,
        restored.snapshot(),
        "the snapshot of a service and that of another that was restored from it",
        "restore must bring back all that snapshot gives; sort what comes from a dict or a set",
    )
    if first.state_digest() != restored.state_digest():
        raise CheckFailed(f"{service.__name__}: a restored service has another state digest")
    _compare_answers(service, first, restored, payloads)
    other = Stepper(_new(service))
    execute(other, payloads, latest_first(other.conflicts(payloads)))
    _compare(
        service,
        snapshot,
        other.snapshot(),
        "the same commands in another order that their declarations allow",
        "sort what comes from a dict, or declare what the commands touch",
    )
    for seed in HASH_SEEDS if other_processes else ():
        elsewhere = outcomes_elsewhere(application_of(service), [payloads], Elsewhere(seed))[0].snapshot
        if isinstance(elsewhere, str):
            raise CheckFailed(f"{service.__name__}: in another process there is no snapshot: {elsewhere}")
        _compare(
            service,
            snapshot,
            elsewhere,
            f"the same commands in another process, whose hashes have another seed ({seed})",
            "sort what comes from a set, and keep time, random numbers and hash() out of the state",
        )


def _new(service: type[Service]) -> Service:
    made = service()
    check_snapshot(made)
    return made


def _compare(service: type[Service], expected: bytes, got: bytes, what: str, remedy: str) -> None:
    if expected == got:
        return
    at = next(
        (place for place, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), min(len(expected), len(got))
    )
    from_byte = max(at - _SHOWN_BYTES, 0)
    shown = [repr(each[from_byte : at + _SHOWN_BYTES]) for each in (expected, got)]
    raise CheckFailed(
        f"{service.__name__}: {what} differ, from byte {at} of {len(expected)} and {len(got)} on:\n"
        f"  {shown[0]}\n  {shown[1]}\n{remedy}"
    )


def _compare_answers(service: type[Service], first: Stepper, restored: Stepper, payloads: Sequence[bytes]) -> None:
    """Runs all commands again, on both."""
    answers, others = (
        execute(stepper, payloads, range(len(payloads)), first=len(payloads)) for stepper in (first, restored)
    )
    for payload, answer, other in zip(payloads, answers, others, strict=True):
        if answer != other:
            name = payload[1 : 1 + payload[0]].decode()
            raise CheckFailed(
                f"{service.__name__}: a service and another that was restored from it answer differently to {name}: "
                f"{answer!r} and {other!r}; snapshot must give all state that commands look at"
            )
    _compare(
        service,
        first.snapshot(),
        restored.snapshot(),
        "after the same commands, a service and another that was restored from its snapshot",
        "snapshot must give all state that commands look at",
    )


def is_pickle(state: bytes) -> bool:
    """Whether the bytes begin and end as pickle's do."""
    return state[:1] == b"\x80" and state[1:2] in _PICKLE_PROTOCOLS and state[-1:] == b"."
