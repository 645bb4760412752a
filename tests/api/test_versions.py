"""Versions of a service: new code behaves as the old until the new version is in force."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

import pssmr
from pssmr.executor import Executor
from pssmr.service import Call
from tests.api.banks import first, second

Old, New = first(), second()


def calls(service: Any) -> list[Call[Any]]:
    """Calls of what both versions have, and one of what came with the second."""
    return [
        service.deposit.bind("ann", 5),
        New.close.bind("ann"),
        service.deposit.bind("ann", 7),
        service.book.bind("ann"),
        service.balance.bind("ann"),
        New.is_closed.bind("ann"),
    ]


def test_new_code_behaves_as_the_old_while_the_old_version_is_in_force() -> None:
    with Executor(Old()) as old, Executor(New(), version=1) as new:
        payloads = [call.payload for call in calls(Old)]
        # To the byte: replicas of both kinds answer clients, and compare their states.
        assert new.execute(payloads) == old.execute(payloads)
        assert new.state_digest() == old.state_digest()
        assert new.snapshot() == old.snapshot()
        with Executor(New()) as later:
            later.restore(old.snapshot())
            assert later.run([New.balance.bind("ann"), New.close.bind("ann"), New.is_closed.bind("ann")]) == [
                12,
                12,
                True,
            ]


def test_the_version_in_force_decides_what_a_command_does() -> None:
    with Executor(New()) as executor:
        outcomes = executor.run(calls(New))
    assert outcomes == [4, 4, 6, None, 6, True]


def test_a_command_of_a_later_version_is_refused_and_says_so() -> None:
    with Executor(New(), version=1) as executor:
        (refused,) = executor.run([New.close.bind("ann")])
    assert isinstance(refused, pssmr.VersionNotInForce)
    assert "close came with version 2 of the service, and an older one is in force: `pssmr upgrade`" in str(refused)
    with Executor(Old()) as executor:
        (refused,) = executor.run([New.close.bind("ann")])
    assert isinstance(refused, pssmr.VersionNotInForce), "a replica that runs the old code says the same"


def test_a_plain_call_is_one_of_the_latest_version() -> None:
    bank = New()
    assert bank.deposit("ann", 5) == 4
    assert bank.close("ann") == 4


def test_a_command_of_before_can_not_touch_what_came_later() -> None:
    class Hasty(pssmr.Service):
        later = pssmr.Map[str, int](since=2)

        @pssmr.command
        def put(self, context: pssmr.Context, careful: bool) -> int:
            if not careful or context.version >= 2:
                self.later["x"] = 1
            return context.version

    with Executor(Hasty(), version=1) as executor:
        outcomes = executor.run([Hasty.put.bind(True), Hasty.put.bind(False)])
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], pssmr.HandlerFailed)
    assert outcomes[1].exception == "UndeclaredAccess"
    with Executor(Hasty()) as executor:
        assert executor.run([Hasty.put.bind(False)]) == [2]


def test_the_latest_version_is_that_of_what_came_last_or_what_the_class_says() -> None:
    class Said(New, version=5):  # type: ignore[misc, valid-type, call-arg]
        pass

    class Inherited(Said):
        pass

    assert (Old._version, New._version, Said._version, Inherited._version) == (1, 2, 5, 5)
    with pytest.raises(ValueError, match="version is 6, the service's are 1 to 5"):
        Executor(Said(), version=6)


def test_declarations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(
        pssmr.DeclarationError, match=r"Early\.put declares later\.write, but later came with version 2"
    ):

        class Early(pssmr.Service):
            later = pssmr.Map[str, int](since=2)

            @pssmr.command
            def put(self, key: Annotated[str, later.write]) -> None:
                """Writes what is not there yet."""

    with pytest.raises(pssmr.DeclarationError, match=r"Zero\.put: since is 0, expected 1 to 1000000"):

        class Zero(pssmr.Service):
            @pssmr.command(since=0)
            def put(self) -> None:
                """Came before the beginning."""

    with pytest.raises(pssmr.DeclarationError, match=r"Behind\.put has since=3, but Behind says that its version is 2"):

        class Behind(pssmr.Service, version=2):
            @pssmr.command(since=3)
            def put(self) -> None:
                """Is later than the class."""

    with pytest.raises(pssmr.DeclarationError, match="Text: version is 'two', expected 1 to 1000000"):

        class Text(pssmr.Service, version="two"):  # type: ignore[arg-type]
            pass
