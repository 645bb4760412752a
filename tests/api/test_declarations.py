"""What a service class may declare, and what is refused where the class is made, with the place and a remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest

import pssmr


@dataclasses.dataclass(frozen=True)
class Transfer:
    source: str
    target: str
    amount: int


@dataclasses.dataclass(frozen=True)
class Envelope:
    note: str
    transfer: Transfer


def test_a_service_has_its_commands_in_the_order_of_declaration_bases_first() -> None:
    class Base(pssmr.Service):
        accounts = pssmr.Map[str, int]()

        @pssmr.command
        def second(self) -> None: ...

        @pssmr.query
        def first(self) -> None: ...

    class Derived(Base):
        @pssmr.command
        def third(self, owner: Annotated[str, Base.accounts.write]) -> None:
            self.accounts[owner] = 1

    assert Derived._interface.commands == ["second", "first", "third"]
    assert isinstance(Derived.first, pssmr.Query)
    assert not isinstance(Derived.third, pssmr.Query)
    derived = Derived()
    derived.third("ann")
    assert derived.accounts["ann"] == 1


def test_every_way_to_declare_is_accepted() -> None:
    class Everything(pssmr.Service):
        accounts = pssmr.Map[str, int]()
        notes = pssmr.Map[tuple[str, int], str]()
        books = pssmr.Resource[int]()

        @pssmr.command
        def undeclared(self) -> None: ...

        @pssmr.command()
        def also_undeclared(self) -> None: ...

        @pssmr.command(exclusive=True)
        def exclusive(self, owner: str) -> None: ...

        @pssmr.command(reads=[accounts], writes=[notes, books])
        def whole(self) -> None: ...

        @pssmr.command
        def fields(
            self,
            transfer: Annotated[Transfer, accounts.write("source"), accounts.write("target")],
            envelope: Annotated[Envelope, accounts.read("transfer.source")],
            book: Annotated[int, books.write] = 7,
            *,
            note: Annotated[tuple[str, int], notes.read] = ("", 0),
        ) -> None: ...

        @pssmr.command
        def counted(self, owner: Annotated[str, accounts.commute]) -> None:
            self.accounts.add(owner, 1)

        @pssmr.command(conflicts=lambda service, owners: [service.accounts.write[owner] for owner in owners])
        def many(self, owners: list[str]) -> None:
            for owner in owners:
                self.accounts[owner] = 1

        @pssmr.command
        def each(self, owners: Annotated[list[str], accounts.write], sets: Annotated[set[str], accounts.read]) -> None:
            for owner in owners:
                self.accounts[owner] = 1 + sum(self.accounts.get(other, 0) for other in sets)

        @pssmr.query(conflicts=lambda service: [service.accounts.read])
        def total(self) -> int:
            return sum(self.accounts.values())

        @pssmr.query
        def with_context(self, context: pssmr.Context, owner: Annotated[str, accounts.read]) -> int:
            return context.position

    service = Everything()
    service.counted("ann")
    service.many(["bob", "eve"])
    assert service.total() == 3
    assert service.with_context("ann") == 4
    service.each(["zoe"], {"ann", "bob"})
    assert service.accounts["zoe"] == 3
    with pytest.raises(pssmr.CommandError, match="too many keys"):
        service.each([str(i) for i in range(5000)], set())


Define = Callable[[], type]


def missing_annotation() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, owner) -> None: ...  # type: ignore[no-untyped-def]

    return Bad


def missing_result() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, owner: str): ...  # type: ignore[no-untyped-def]

    return Bad


def variable_arguments() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, *owners: str) -> None: ...

    return Bad


def variable_keywords() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, **owners: str) -> None: ...

    return Bad


def asynchronous() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        async def act(self) -> None: ...

    return Bad


def generator() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self) -> Iterator[int]:
            yield 1

    return Bad


def static_method() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        @staticmethod
        def act() -> None: ...

    return Bad


def no_self() -> type:
    class Bad(pssmr.Service):
        @pssmr.command  # type: ignore[arg-type]
        def act() -> None: ...  # type: ignore[misc]

    return Bad


def unknown_type() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, value: complex) -> None: ...

    return Bad


def unknown_result() -> type:
    class Bad(pssmr.Service):
        @pssmr.query
        def act(self) -> Any: ...

    return Bad


def unknown_name() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, value: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821

    return Bad


def wrong_default() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, value: int = "5") -> None: ...  # type: ignore[assignment]

    return Bad


def default_not_last() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, first: int = 1, *, second: int) -> None: ...

    return Bad


def late_context() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, value: int, context: pssmr.Context) -> None: ...

    return Bad


def other_key_type() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, int]()

        @pssmr.command
        def act(self, owner: Annotated[int, accounts.write]) -> None: ...

    return Bad


def optional_key() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, int]()

        @pssmr.command
        def act(self, owner: Annotated[str | None, accounts.write] = None) -> None: ...

    return Bad


def unknown_field() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, int]()

        @pssmr.command
        def act(self, envelope: Annotated[Envelope, accounts.write("transfer.sauce")]) -> None: ...

    return Bad


def inner_key() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, int]()

        @pssmr.command
        def act(self, owners: list[Annotated[str, accounts.write]]) -> None: ...

    return Bad


def map_without_mode() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, int]()

        @pssmr.command
        def act(self, owner: Annotated[str, accounts]) -> None: ...

    return Bad


def writing_query() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, int]()

        @pssmr.query
        def act(self, owner: Annotated[str, accounts.write]) -> None: ...

    return Bad


def other_class() -> type:
    class Other(pssmr.Service):
        accounts = pssmr.Map[str, int]()

    class Bad(pssmr.Service):
        @pssmr.command
        def act(self, owner: Annotated[str, Other.accounts.write]) -> None: ...

    return Bad


def untyped_map() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map()  # type: ignore[var-annotated]

    return Bad


def bad_key_type() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[float, int]()

    return Bad


def bad_value_type() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, list]()  # type: ignore[type-arg]

    return Bad


def one_map_twice() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, int]()
        same = accounts

    return Bad


def reads_no_list() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, int]()

        @pssmr.command(reads=accounts)  # type: ignore[call-overload]
        def act(self) -> None: ...

    return Bad


def reads_a_string() -> type:
    class Bad(pssmr.Service):
        @pssmr.command(reads=["accounts"])  # type: ignore[list-item]
        def act(self) -> None: ...

    return Bad


def exclusive_and_more() -> type:
    class Bad(pssmr.Service):
        accounts = pssmr.Map[str, int]()

        @pssmr.command(exclusive=True, reads=[accounts])
        def act(self) -> None: ...

    return Bad


def commute_without_int() -> type:
    class Bad(pssmr.Service):
        names = pssmr.Map[str, str]()

        @pssmr.command
        def act(self, owner: Annotated[str, names.commute]) -> None: ...

    return Bad


def reserved_name() -> type:
    class Bad(pssmr.Service):
        @pssmr.command
        def snapshot(self) -> bytes: ...

    return Bad


def no_restore() -> type:
    class Bad(pssmr.Service):
        def snapshot(self) -> bytes: ...  # type: ignore[empty-body]

    return Bad


def no_snapshot() -> type:
    class Bad(pssmr.Service):
        def restore(self, state: bytes) -> None: ...

    return Bad


def restore_without_state() -> type:
    class Bad(pssmr.Service):
        def snapshot(self) -> bytes: ...  # type: ignore[empty-body]
        def restore(self) -> None: ...

    return Bad


def asynchronous_snapshot() -> type:
    class Bad(pssmr.Service):
        async def snapshot(self) -> bytes: ...  # type: ignore[empty-body]
        def restore(self, state: bytes) -> None: ...

    return Bad


def map_with_a_reserved_name() -> type:
    class Bad(pssmr.Service):
        snapshot = pssmr.Map[str, int]()

        def restore(self, state: bytes) -> None: ...

    return Bad


def hidden_command() -> type:
    class Base(pssmr.Service):
        @pssmr.command
        def act(self) -> None: ...

    class Bad(Base):
        def act(self) -> None: ...  # type: ignore[override]

    return Bad


REFUSED: list[tuple[Define, str]] = [
    (missing_annotation, "Bad.act: argument 'owner' has no annotation, so that it can't be checked; add its type"),
    (missing_result, "Bad.act: the result has no annotation; write -> None if there is none"),
    (variable_arguments, "Bad.act: argument 'owners': *args and **kwargs can't be checked; use a list or a dict"),
    (variable_keywords, "Bad.act: argument 'owners': *args and **kwargs can't be checked; use a list or a dict"),
    (asynchronous, "Bad.act is async, but replicas run commands to their end, in order; write a plain def"),
    (generator, "Bad.act is a generator; return a list"),
    (static_method, "Bad.act: @pssmr.command needs a plain method, and comes before other decorators"),
    (no_self, "Bad.act has no parameters; the first one is self"),
    (unknown_type, "Bad.act: argument 'value': complex can't be encoded; supported are None, bool"),
    (unknown_result, "Bad.act: the result: Any can't be encoded because replicas could not check it"),
    (unknown_name, "Bad.act: an annotation can't be read: name 'Nowhere' is not defined"),
    (wrong_default, "Bad.act: the default of 'value': expected int, got str"),
    (default_not_last, 'Bad.act: argument "second" has no default but follows one that has'),
    (late_context, "Bad.act: argument 'context': a context is the first parameter after self"),
    (other_key_type, "Bad.act: argument 'owner' is int, but accounts has keys of str; make the types the same"),
    (optional_key, "Bad.act: argument 'owner' is str | None, but accounts has keys of str"),
    (unknown_field, "Bad.act: argument 'envelope'.transfer: Transfer is no dataclass with a field 'sauce'"),
    (
        inner_key,
        "Bad.act: argument 'owners': the key is declared inside of list[str]; declare it outside, as in Annotated[",
    ),
    (map_without_mode, "Bad.act: argument 'owner': says which map but not how; write accounts.read or .write"),
    (writing_query, "Bad.act: argument 'owner': accounts.write: a query only reads; make it a @pssmr.command"),
    (other_class, "Bad.act: accounts is not a map of Bad; declare it in the class"),
    (untyped_map, "Bad.accounts: its types are missing; write pssmr.Map[str, int]()"),
    (bad_key_type, "Bad.accounts: float can't be a key; use None, bool, int, str, bytes"),
    (bad_value_type, "Bad.accounts: list needs the types of its elements"),
    (one_map_twice, "Bad.same is accounts again; make a map of its own"),
    (reads_no_list, "Bad.act: reads= takes a list; write reads=[accounts]"),
    (reads_a_string, "Bad.act: reads= takes maps, other state and resources, not 'accounts'"),
    (exclusive_and_more, "exclusive=True means everything already; leave one of them out"),
    (
        commute_without_int,
        "Bad.act: argument 'owner': names.commute: only a counter, and a map with int values, have a commuting change",
    ),
    (reserved_name, "Bad.snapshot: the name is reserved; choose another"),
    (
        no_restore,
        "Bad defines snapshot but not restore: a state that is frozen has to come back; "
        "define restore(self, state: bytes) -> None",
    ),
    (no_snapshot, "Bad defines restore but not snapshot"),
    (restore_without_state, "Bad.restore: the name is reserved for the method restore(self, state: bytes) -> None"),
    (asynchronous_snapshot, "Bad.snapshot: the name is reserved for the method snapshot(self) -> bytes"),
    (map_with_a_reserved_name, "Bad.snapshot: the name is reserved for the method snapshot(self) -> bytes"),
    (hidden_command, "Bad.act hides a command of a base class without being one; decorate it"),
]


@pytest.mark.parametrize(("define", "message"), REFUSED, ids=[define.__name__ for define, _ in REFUSED])
def test_a_declaration_that_makes_no_sense_is_refused_at_the_class(define: Define, message: str) -> None:
    with pytest.raises(pssmr.DeclarationError) as caught:
        define()
    assert message in str(caught.value)


def test_a_command_outside_of_a_service_is_refused_when_it_is_used() -> None:
    class NoService:
        @pssmr.command
        def act(self) -> None: ...

    with pytest.raises(pssmr.DeclarationError, match=r"commands are methods of a pssmr.Service"):
        NoService.act.bind()


def test_a_command_is_not_called_on_the_class() -> None:
    class Bank(pssmr.Service):
        @pssmr.command
        def act(self) -> None: ...

    with pytest.raises(TypeError, match=r"call it on an instance, or as client.call"):
        Bank.act()
    with pytest.raises(TypeError, match="make a subclass with commands"):
        pssmr.Service()
